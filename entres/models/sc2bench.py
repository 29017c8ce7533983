"""Import of the students that sc2-benchmark published [Matsubara2023].

Only the names differ: what is computed, and the bytes that travel, stay the same::

    sc2-benchmark                                      entres
    bottleneck_layer.encoder, .decoder (FP)        ──► codec.g_a, .g_s
    bottleneck_layer.g_a, .g_s, .h_a, .h_s (MSHP)  ──► codec.g_a, .g_s, .h_a, .h_s
    bottleneck_layer.entropy_bottleneck            ──► codec.entropy_bottleneck
    bottleneck_layer.gaussian_conditional (MSHP)   ──► codec.gaussian_conditional
    layer2 .. layer4, fc (ResNet)                  ──► tail.model.layer2 .. layer4, .fc
    s2 .. s4, head (RegNet)                        ──► tail.model.s2 .. s4, .head

[Matsubara2023] Matsubara, Yang, Levorato, Mandt: SC2 Benchmark: Supervised compression for split
computing, TMLR 2023.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from compressai.models import get_scale_table
from torch import Tensor

from entres.card import StudentCard
from entres.errors import WeightsError
from entres.models import layers
from entres.models.backbones import build_backbone
from entres.models.checkpoints import read_state
from entres.models.codec import Codec
from entres.models.codecs import FactorizedPrior, MeanScaleHyperprior
from entres.models.student import EntropicStudent, load_into

RECIPE = "frozen-encoder"
"""How the published students were trained."""
DATASET = "ImageNet-1k"
"""What students whose file name begins with ``ilsvrc2012-`` were trained on."""

PUBLISHED_BACKBONES = {
    "resnet50": "resnet50.tv_in1k",
    "resnet101": "resnet101.tv_in1k",
    "regnety6.4gf": "regnety_064.pycls_in1k",
}
"""timm names of the backbones, by the names in the published files."""

_FILE_NAME = re.compile(
    r"(?P<dataset>ilsvrc2012-)?splittable_(?P<backbone>[a-z0-9.]+)-(?P<codec>[a-z]+)"
    r"-beta(?P<beta>\d+(\.\d+)?)_from_(?P<teacher>[a-z0-9.]+)\.pt"
)
_BOTTLENECK = "bottleneck_layer."
_STAGE_3_BLOCKS = {6: "resnet50", 23: "resnet101"}
_LEGACY = re.compile(r"entropy_bottleneck\._(matrix|bias|factor)(\d+)$")
_PLURALS = {"matrix": "matrices", "bias": "biases", "factor": "factors"}


class _Published(NamedTuple):
    """What the name of a published file says."""

    backbone: str
    codec: str
    beta: float
    dataset: str | None


def import_sc2bench(
    path: str | Path,
    beta: float | None = None,
    backbone: str | None = None,
    dataset: str | None = None,
) -> tuple[EntropicStudent, StudentCard]:
    """A published student, ready to code, in evaluation mode.

    Backbone, codec and beta are read from the file's name where it has kept it, and checked against
    the tensors. Tables are taken as they are, so that the streams stay the published ones byte for
    byte; a file saved before its tables were made gets them here.

    Args:
        path: a checkpoint such as
            ``ilsvrc2012-splittable_resnet50-mshp-beta0.08_from_resnet50.pt``.
        beta: weight of the rate in its training, > 0; needed if the file's name does not say it.
        backbone: timm name of the backbone; if None, the one of :data:`PUBLISHED_BACKBONES` that
            the tensors are of.
        dataset: what it was trained on; if None, what the file's name says.

    Raises:
        WeightsError: if the file cannot be read, is no such student, contradicts its name or the
            arguments, or beta is not known.
        ValueError: if timm does not know the backbone.
    """
    path = Path(path)
    state = read_state(path)
    codec = import_codec(_without_prefix(state, _BOTTLENECK), path)
    tail_state = {k: v for k, v in state.items() if not k.startswith(_BOTTLENECK)}
    tail_name = _published_backbone(tail_state)
    named = _parse_name(path)
    if named is not None:
        for what, said, found in (
            ("backbone", named.backbone, tail_name),
            ("codec", named.codec, codec.short_name),
        ):
            if said != found:
                raise WeightsError(
                    f"{path} is named after {what} {said}, its tensors are of {found or 'another'}"
                )
    if backbone is None:
        if tail_name is None:
            raise WeightsError(
                f"{path} has the tail of none of {', '.join(PUBLISHED_BACKBONES)}: give the timm "
                "name of its backbone as backbone=..."
            )
        backbone = PUBLISHED_BACKBONES[tail_name]
    card = StudentCard(
        backbone=backbone,
        codec=codec.short_name,
        beta=_beta(beta, named, path),
        recipe=RECIPE,
        num_classes=_num_classes(tail_state, path),
        analysis_widths=codec.analysis_widths,
        synthesis_widths=codec.synthesis_widths,
        dataset=dataset if dataset is not None or named is None else named.dataset,
    )
    whole = build_backbone(card.backbone, card.num_classes)
    if card.synthesis_widths[-1] != whole.split.channels:
        raise WeightsError(
            f"{path}: its codec ends with {card.synthesis_widths[-1]} channels, {card.backbone} "
            f"takes {whole.split.channels} after {whole.split.module}"
        )
    student = EntropicStudent(codec, whole.tail, whole.mean, whole.std)
    own = {k: v for k, v in student.state_dict().items() if not k.startswith("tail.")}
    load_into(student, own | {f"tail.model.{k}": v for k, v in tail_state.items()}, path)
    return student.eval(), card


def import_codec(
    state: Mapping[str, Tensor], source: str | Path
) -> FactorizedPrior | MeanScaleHyperprior:
    """The codec of a published bottleneck, ready to code.

    Args:
        state: the state of sc2-benchmark's ``FPBasedResNetBottleneck`` or
            ``MSHPBasedResNetBottleneck``, under today's or the old names.
        source: where it comes from, for the error's message.

    Raises:
        WeightsError: if it is the state of neither, or its tables cannot be used.
    """
    if not state:
        raise WeightsError(
            f"{source} is no student of sc2-benchmark: none of its tensors is named {_BOTTLENECK}*"
        )
    cls = _codec_class(state, source)
    state = {_LEGACY.sub(_modern, _codec_name(k, cls)): v for k, v in state.items()}
    analysis, synthesis = (_widths(state, name, source) for name in ("g_a", "g_s"))
    if cls is MeanScaleHyperprior:
        _check_hyper_transforms(state, analysis[-1], source)
    try:
        codec = cls(synthesis[-1], analysis, synthesis)
        own = codec.state_dict()
        codec.load_state_dict(state | {k: own[k] for k in ("output_scale", "output_shift")})
        # Both leave tables alone that are there. codec.update() would also move the quantiles, and
        # with them what the published student computes.
        codec.entropy_bottleneck.update()
        if isinstance(codec, MeanScaleHyperprior):
            codec.gaussian_conditional.update_scale_table(get_scale_table().tolist())
        codec.accept_tables()
        codec.coders()
    except (ValueError, RuntimeError) as error:
        raise WeightsError(f"{source} holds no codec that can be used: {error}") from error
    return codec


# --- names ---------------------------------------------------------------------------------------


def _parse_name(path: Path) -> _Published | None:
    match = _FILE_NAME.fullmatch(path.name)
    if match is None:
        return None
    return _Published(
        match["backbone"],
        match["codec"],
        float(match["beta"]),
        DATASET if match["dataset"] else None,
    )


def _beta(given: float | None, named: _Published | None, path: Path) -> float:
    if named is not None:
        if given is not None and given != named.beta:
            raise WeightsError(f"{path} is named after beta {named.beta:g}, got beta {given:g}")
        return named.beta
    if given is None:
        raise WeightsError(f"{path} does not say its beta in its name: give it as beta=...")
    if not given > 0:
        raise WeightsError(f"beta must be > 0, got {given:g}")
    return given


def _modern(match: re.Match[str]) -> str:
    """Today's name of a parameter of compressai's entropy bottleneck."""
    return f"entropy_bottleneck.{_PLURALS[match[1]]}.{match[2]}"


def _codec_name(key: str, codec: type[Codec]) -> str:
    if codec is FactorizedPrior:
        return re.sub(r"^encoder\.", "g_a.", re.sub(r"^decoder\.", "g_s.", key))
    return key


def _without_prefix(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


# --- what the tensors are ------------------------------------------------------------------------


def _codec_class(
    codec_state: Mapping[str, Tensor], path: str | Path
) -> type[FactorizedPrior] | type[MeanScaleHyperprior]:
    parts = {key.partition(".")[0] for key in codec_state}
    if parts == {"encoder", "decoder", "entropy_bottleneck"}:
        return FactorizedPrior
    if parts == {"g_a", "g_s", "h_a", "h_s", "entropy_bottleneck", "gaussian_conditional"}:
        return MeanScaleHyperprior
    raise WeightsError(
        f"{path} has a bottleneck of neither the factorized prior nor the mean-scale hyperprior; "
        f"its parts: {', '.join(sorted(parts))}"
    )


def _widths(
    codec_state: Mapping[str, Tensor], transform: str, path: str | Path
) -> tuple[int, int, int, int]:
    """The four channel counts of ``g_a`` or ``g_s``, from its three convolutions."""
    shapes = []
    for layer, kernel in zip(
        (0, 2, 4), (5, 5, 2) if transform == "g_a" else (2, 2, 2), strict=True
    ):
        weight = codec_state.get(f"{transform}.{layer}.weight")
        if weight is None or weight.ndim != 4 or weight.shape[2:] != (kernel, kernel):
            raise WeightsError(
                f"{path}: layer {layer} of its {transform} must be a {kernel} x {kernel} "
                f"convolution, got {'nothing' if weight is None else tuple(weight.shape)}"
            )
        shapes.append(weight.shape)
    if shapes[0][0] != shapes[1][1] or shapes[1][0] != shapes[2][1]:
        raise WeightsError(
            f"{path}: the convolutions of its {transform} do not follow on each other: "
            f"{[tuple(s) for s in shapes]}"
        )
    return (shapes[0][1], shapes[0][0], shapes[1][0], shapes[2][0])


def _check_hyper_transforms(
    codec_state: Mapping[str, Tensor], latent: int, path: str | Path
) -> None:
    last = codec_state.get("h_s.4.weight")
    if last is None or last.shape[0] != 2 * latent:
        raise WeightsError(
            f"{path}: its hyper-synthesis must give scales and means, {2 * latent} channels, got "
            f"{'nothing' if last is None else last.shape[0]} (a scale hyperprior has no means and "
            "is not supported)"
        )
    quantiles = codec_state.get("entropy_bottleneck.quantiles")
    if quantiles is None or len(quantiles) != layers.HYPER_CHANNELS:
        raise WeightsError(
            f"{path}: its hyper-latent must have {layers.HYPER_CHANNELS} channels, got "
            f"{'none' if quantiles is None else len(quantiles)}"
        )


def _published_backbone(state: Mapping[str, Tensor]) -> str | None:
    """The name in :data:`PUBLISHED_BACKBONES` whose tail these tensors may be; None if of none.

    Whether they are is found out by loading them.
    """
    if any(key.startswith("s2.b1.") for key in state):
        return "regnety6.4gf"
    blocks = {key.split(".")[1] for key in state if key.startswith("layer3.")}
    return _STAGE_3_BLOCKS.get(len(blocks))


def _num_classes(state: Mapping[str, Tensor], path: Path) -> int:
    for name in ("fc.weight", "head.fc.weight"):
        if name in state:
            return len(state[name])
    raise WeightsError(f"{path} has no classifier: neither fc.weight nor head.fc.weight is there")
