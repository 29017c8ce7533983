"""What is seen of the runs of a gradient attack, and the worst image among all of it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Measured(NamedTuple):
    """The objective as the coder would have it.

    Attributes:
        value: shape (N,).
        reached: which images are lost for good, shape (N,); none of an objective without an end.
    """

    value: Tensor
    reached: Tensor

    def among(self, others: Measured, places: Tensor) -> Measured:
        """These values at their places among older ones of more images."""
        return Measured(
            others.value.index_copy(0, places, self.value),
            others.reached.index_copy(0, places, self.reached),
        )


class Step(NamedTuple):
    """What was seen of the objective at one step.

    Attributes:
        zero: whether an image's gradient is zero, shape (N,).
        value: the objective, relaxed, shape (N,).
        rounded: names of the latents whose gradient was rounded away.
        measured: the objective on the ``round`` path, where it was asked for.
    """

    zero: Tensor
    value: Tensor
    rounded: frozenset[str]
    measured: Measured | None

    def among(self, before: Step, places: Tensor) -> Step:
        """A step at its images' places; of those that were left alone, what was before."""
        measured = None
        if self.measured is not None and before.measured is not None:
            measured = self.measured.among(before.measured, places)
        return Step(
            before.zero.index_copy(0, places, self.zero),
            before.value.index_copy(0, places, self.value),
            self.rounded,
            measured,
        )


class Run(NamedTuple):
    """One run.

    Attributes:
        images: where it ended.
        steps: what was seen before each of them.
        end: the objective at the end, where it was asked for.
    """

    images: Tensor
    steps: list[Step]
    end: Measured | None


class Worst:
    """The worst image seen, per image: a lost one first, then that with the larger value."""

    def __init__(self, images: Tensor) -> None:
        self.images = images.clone()
        self.values = torch.full((len(images),), -torch.inf, device=images.device)
        self.reached = torch.zeros_like(self.values, dtype=torch.bool)
        self.run = torch.zeros_like(self.values, dtype=torch.int64)

    def offer(
        self, images: Tensor, measured: Measured, run: int, places: Tensor | None = None
    ) -> None:
        """Take what is worse than anything before, and from which run it is.

        Args:
            images: shape (M, 3, H, W).
            measured: of these.
            run: its number.
            places: of the images in the batch, shape (M,); None: all of them.
        """
        at = torch.arange(len(images), device=images.device) if places is None else places
        # The cross-entropy may rise while a lost label comes back.
        worse = torch.where(
            measured.reached == self.reached[at],
            measured.value > self.values[at],
            measured.reached,
        )
        # Chosen where they lie: to pick the worse ones out would wait for the device at every step.
        self.images[at] = torch.where(worse[:, None, None, None], images, self.images[at])
        self.values[at] = torch.where(worse, measured.value.to(self.values), self.values[at])
        self.reached[at] |= measured.reached
        self.run[at] = torch.where(worse, run, self.run[at])
