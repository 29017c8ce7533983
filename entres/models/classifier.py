"""A classifier that also gives its features: the teacher when whole, the tail when cut."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn


class TailOutput(NamedTuple):
    """Logits, shape (N, classes), and the features at the distillation points, the split first."""

    logits: Tensor
    features: list[Tensor]


class Classifier(nn.Module):
    """A classifier that also gives its features; the teacher when whole, the tail when cut.

    Whatever the order of axes inside of the network, features are (N, channels, H, W) here.

    Args:
        model: the network, or what is left of it behind the cut.
        points: names of the modules whose outputs are the features.
        num_classes: width of the logits.
        mean: normalization of the images, three channels; None where the input is features.
        std: likewise.
        channels_last: those of the points whose outputs are (N, H, W, channels) in the network.
        turn_input: whether the network wants its input as (N, H, W, channels), which only a tail
            may.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        model: nn.Module,
        points: Sequence[str],
        num_classes: int,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        channels_last: Collection[str] = (),
        turn_input: bool = False,
    ) -> None:
        super().__init__()
        self.model = model
        self.points = tuple(points)
        self.num_classes = num_classes
        self.channels_last = frozenset(channels_last)
        self.turn_input = turn_input
        self.register_buffer("mean", torch.tensor(mean or [0.0]).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std or [1.0]).view(-1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> TailOutput:
        """Logits and features.

        Args:
            x: the teacher takes images in [0, 1], shape (N, 3, H, W); the tail takes features,
                shape (N, channels, H, W).
        """
        x = (x - self.mean) / self.std
        if self.turn_input:
            x = x.permute(0, 2, 3, 1).contiguous()
        with captured_outputs(self.model, self.points) as captured:
            logits = self.model(x)
        return TailOutput(logits, [self._features(captured, name) for name in self.points])

    def _features(self, captured: Mapping[str, Tensor], name: str) -> Tensor:
        features = captured[name]
        return features.permute(0, 3, 1, 2) if name in self.channels_last else features


@contextmanager
def captured_outputs(model: nn.Module, points: Sequence[str]) -> Iterator[dict[str, Tensor]]:
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
