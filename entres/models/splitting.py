"""Where a classifier is split, and its two parts.

A timm classifier is split at the last module that its ``feature_info`` lists at reduction 4
(``layer1`` of a ResNet, ``s1`` of a RegNet, ``blocks.1`` of an EfficientNet). The modules listed
after it are the distillation points. Of any other network the caller names them. No model is known
by name: the part before the split and the axes of the features are found by watching one image
pass, and the result is checked against the whole.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from entres.models.classifier import Classifier, captured_outputs

SPLIT_REDUCTION = 4
"""The split lies where the features have a quarter of the image's sides."""
DEFAULT_SIDE = 224
"""Side in px of the image that tries a network which does not say its own size."""
WIDER = 32
"""How much wider than high that image is, in px, where the network allows it."""


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


def split_classifier(
    model: nn.Module,
    split: str,
    points: Sequence[str] = (),
    mean: Sequence[float] = (0.0, 0.0, 0.0),
    std: Sequence[float] = (1.0, 1.0, 1.0),
    input_size: tuple[int, int] | None = None,
) -> Backbone:
    """Split a classifier of one's own, which need not be timm's.

    It must take normalized images of shape (N, 3, H, W) and give logits of shape (N, classes); the
    part after the split must compute the logits from the split's output alone; and that output must
    have a quarter of the image's sides, rounded up, in four axes.

    Args:
        model: the network; it becomes the teacher's, as it is, in evaluation mode. The tail gets a
            copy.
        split: name of the last module of the head, as in ``model.named_modules()``.
        points: names of deeper modules whose outputs the distillation compares, in their order.
        mean: per-channel mean that the network wants removed from images in [0, 1].
        std: per-channel deviation that it wants them divided by.
        input_size: height and width in px of images it takes, where it does not take any; the
            split is tried with one such image.

    Raises:
        ValueError: if it has no such modules, or cannot be split there.
    """
    modules = dict(model.named_modules())
    unknown = [name for name in (split, *points) if name not in modules]
    if unknown:
        raise ValueError(
            f"{type(model).__name__} has no module {unknown[0]!r}: its modules are "
            f"{', '.join(name for name, _ in model.named_children())} and what is in them, see "
            "model.named_modules()"
        )
    if len(mean) != 3 or len(std) != 3 or not all(value > 0 for value in std):
        raise ValueError(
            "mean and std have a value for each of three channels, those of std > 0, got "
            f"{tuple(mean)} and {tuple(std)}"
        )
    sizes = [input_size or (DEFAULT_SIDE, DEFAULT_SIDE + WIDER)]
    return split_at(model, Split(split, 0, tuple(points)), tuple(mean), tuple(std), sizes)


def split_at(
    model: nn.Module,
    split: Split,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    sizes: Sequence[tuple[int, int]],
) -> Backbone:
    """Both roles of a classifier.

    Args:
        model: the classifier.
        split: where; 0 channels if it is not known how many there are.
        mean: its normalization.
        std: likewise.
        sizes: height and width of images to try it with, until one passes.

    Raises:
        ValueError: if it cannot be split there.
    """
    model.eval()
    points = (split.module, *split.points)
    size, logits, outputs, finished = _try(model, points, sizes)
    at_split = outputs[split.module]
    last = _split_is_channels_last(model, split, at_split, size)
    channels = at_split.shape[3] if last else at_split.shape[1]
    deeper = [n for n in split.points if _is_channels_last(outputs[n].shape, size, unsure=last)]
    channels_last = [split.module, *deeper] if last else deeper
    classes = logits.shape[1]
    teacher = Classifier(model, points, classes, mean, std, channels_last).eval()
    teacher.to(at_split.device)
    cut = copy.deepcopy(model)
    try:
        with torch.no_grad():
            for name in _outermost_up_to(split.module, finished):
                cut.set_submodule(name, nn.Identity())
            tail = Classifier(cut, split.points, classes, None, None, channels_last, last).eval()
            tail.to(at_split.device)
            alone = tail(at_split.permute(0, 3, 1, 2) if last else at_split)
    except Exception as error:  # whatever a network does when it is cut in two
        raise ValueError(
            f"{type(model).__name__} cannot be split at {split.module}: {error}"
        ) from error
    if alone.logits.shape != logits.shape or not torch.allclose(
        alone.logits, logits, rtol=1e-4, atol=1e-4
    ):
        raise ValueError(
            f"{type(model).__name__} cannot be split at {split.module}: the part after it, run "
            "alone, gives other logits"
        )
    return Backbone(teacher, tail, split._replace(channels=channels), mean, std)


class _Trial(NamedTuple):
    """How an image fared in a network.

    Attributes:
        size: its height and width in px.
        logits: shape (1, classes).
        outputs: of the modules asked for, by name.
        finished: names of all modules in the order in which they had run.
    """

    size: tuple[int, int]
    logits: Tensor
    outputs: dict[str, Tensor]
    finished: list[str]


@torch.no_grad()
def _try(model: nn.Module, points: Sequence[str], sizes: Sequence[tuple[int, int]]) -> _Trial:
    """How the first image fares that passes."""
    like = next(model.parameters(), torch.empty(0))
    failures = []
    for height, width in sizes:
        probe = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))
        probe = probe.to(like.device, like.dtype)
        try:
            with captured_outputs(model, points) as outputs, _watched(model) as finished:
                logits = model(probe)
        except Exception as error:  # whatever a network does with an image that it does not take
            failures.append(f"an image of {height} x {width} px fails in it ({error})")
            continue
        break
    else:
        raise ValueError(
            f"{type(model).__name__} cannot be split at {points[0]}: {'; '.join(failures)}"
        )
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        raise ValueError(
            f"{type(model).__name__} must give logits of shape (N, classes), got "
            f"{_shape_of(logits)}: wrap it in a module that does"
        )
    if not logits.isfinite().all():
        raise ValueError(
            f"{type(model).__name__} gives logits that are not finite for an image in [0, 1]: its "
            "training diverged, so take earlier weights or train it again"
        )
    for name in points:
        if not isinstance(outputs.get(name), Tensor):
            raise ValueError(
                f"{type(model).__name__} cannot be split at {points[0]}: {name} must give one "
                f"tensor, got {_shape_of(outputs.get(name))}"
            )
    return _Trial((height, width), logits, outputs, finished)


def _split_is_channels_last(
    model: nn.Module, split: Split, features: Tensor, size: tuple[int, int]
) -> bool:
    """Whether the features at the split are (N, H, W, channels) and not (N, channels, H, W).

    Raises:
        ValueError: if they are neither with a quarter of the image's sides, or may be both.
    """
    shape = tuple(features.shape)
    quarter = tuple(-(-side // SPLIT_REDUCTION) for side in size)
    # By the sides, and by the channels where the network announces them: 0 is none.
    first = len(shape) == 4 and shape[2:] == quarter and split.channels in (0, shape[1])
    last = len(shape) == 4 and shape[1:3] == quarter and split.channels in (0, shape[3])
    name = f"{type(model).__name__} cannot be split at {split.module}"
    announced = f"the {split.channels} channels that it announces" if split.channels else "channels"
    if not first and not last:
        raise ValueError(
            f"{name}: an image of {size[0]} x {size[1]} px becomes {shape} there, wanted are "
            f"{quarter[0]} x {quarter[1]} positions with {announced}"
        )
    if first and last:
        raise ValueError(
            f"{name}: {shape} there does not tell its axes apart; give it a network that takes "
            "images which are not square"
        )
    return last


def _is_channels_last(shape: Sequence[int], size: tuple[int, int], unsure: bool) -> bool:
    """Whether a map deeper in the network has the channels as its last axis.

    Its two axes of space have about the image's proportions.

    Args:
        shape: of the map.
        size: height and width of the image.
        unsure: what holds if the shape does not say.
    """
    if len(shape) != 4:
        return False
    _, a, b, c = shape
    first = abs(b * size[1] - c * size[0]) / (c * size[0])
    last = abs(a * size[1] - b * size[0]) / (b * size[0])
    return unsure if first == last else last < first


def _shape_of(output: object) -> str:
    return str(tuple(output.shape)) if isinstance(output, Tensor) else type(output).__name__


@contextmanager
def _watched(model: nn.Module) -> Iterator[list[str]]:
    """Collect the names of modules as they finish while the model runs."""
    finished: list[str] = []

    def watch(name: str) -> Any:
        return lambda *_: finished.append(name)

    named = [(name, module) for name, module in model.named_modules() if name]
    handles = [module.register_forward_hook(watch(name)) for name, module in named]
    try:
        yield finished
    finally:
        for handle in handles:
            handle.remove()


def _outermost_up_to(split: str, finished: Sequence[str]) -> list[str]:
    """Names of the outermost modules that have run when the split's module has."""
    before = finished[: finished.index(split) + 1]
    return sorted(n for n in set(before) if not any(n.startswith(f"{other}.") for other in before))
