"""Where an attack goes at each step, and how far: by a schedule, or as its progress says."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

FIRST_CHECKPOINT = 0.22
SHORTER = 0.03
SHORTEST = 0.06
"""Lengths of the stretches between two checkpoints of an adaptive walk, as shares of its steps: the
first, by how much each is shorter than the one before, and the shortest [Croce2020]."""


class Walk(ABC):
    """One run of an attack through the ball. Every image of the batch goes its own way."""

    def follow(self, gradient: Tensor) -> Tensor:
        """What is followed in place of a gradient, shape (N, 3, H, W): itself, unless overridden.

        Called once for every gradient whose direction is taken.
        """
        return gradient

    @abstractmethod
    def move(self, x: Tensor, direction: Tensor, values: Tensor | None) -> Tensor:
        """The next images.

        Args:
            x: images as they are now, shape (N, 3, H, W).
            direction: the step of size 1 along which the objective rises most, the same shape.
            values: the objective there, as the coder would have it, shape (N,); None where the
                rule does not ask for them.
        """

    @abstractmethod
    def keep(self, images: Tensor) -> None:
        """Go on with some of the images only, by their places, int64 of shape (M,)."""


class StepRule(ABC):
    """Makes a walk for every run.

    Attributes:
        needs_values: whether its walks ask for the objective.
        sums_gradients: whether its walks follow what the gradients of several steps add up to, so
            that every step must have one gradient.
    """

    needs_values = False
    sums_gradients = False

    @abstractmethod
    def walk(self, epsilon: float, steps: int, project: Callable[[Tensor], Tensor]) -> Walk:
        """A new walk.

        Args:
            epsilon: radius of the ball, in units of pixel values in [0, 1].
            steps: number of steps to come.
            project: the nearest images inside the ball and in [0, 1].
        """


class StepSize(StepRule):
    """A schedule of step sizes in units of pixel values in [0, 1]."""

    @abstractmethod
    def __call__(self, step: int, steps: int, epsilon: float) -> float:
        """Size of step number ``step``, from 0 to ``steps`` - 1."""

    def sizes(self, steps: int, epsilon: float) -> list[float]:
        """Of every step."""
        return [self(step, steps, epsilon) for step in range(steps)]

    def walk(self, epsilon: float, steps: int, project: Callable[[Tensor], Tensor]) -> Walk:
        return _ScheduledWalk(self.sizes(steps, epsilon), project)


@dataclass(frozen=True)
class CosineStep(StepSize):
    """Half a cosine from ``peak`` * epsilon down to nearly 0."""

    peak: float = 0.5

    def __call__(self, step: int, steps: int, epsilon: float) -> float:
        return self.peak * epsilon * 0.5 * (1 + math.cos(math.pi * step / steps))


@dataclass(frozen=True)
class ConstantStep(StepSize):
    """``size`` * epsilon at every step."""

    size: float = 0.1

    def __call__(self, step: int, steps: int, epsilon: float) -> float:
        return self.size * epsilon


@dataclass(frozen=True)
class AbsoluteStep(StepSize):
    """``size`` at every step, whatever epsilon is: the published step is 0.1, or 25.5/255."""

    size: float = 0.1

    def __call__(self, step: int, steps: int, epsilon: float) -> float:
        return self.size


class _ScheduledWalk(Walk):
    def __init__(self, sizes: list[float], project: Callable[[Tensor], Tensor]) -> None:
        self.sizes = iter(sizes)
        self.project = project

    def move(self, x: Tensor, direction: Tensor, values: Tensor | None) -> Tensor:
        return self.project(x + next(self.sizes) * direction)

    def keep(self, images: Tensor) -> None:
        pass  # all images take the same steps


@dataclass(frozen=True)
class MomentumStep(CosineStep):
    """Sizes as of :class:`CosineStep`, along what the gradients add up to (MI-FGSM [Dong2018]).

    ::

        m <- momentum * m + gradient / (mean of its absolute values)

    Gradients that are taken with noise differ from step to step; what they have in common is what
    leads further. Averages over about 1 / (1 - ``momentum``) steps, for nothing.

    [Dong2018] Dong et al.: Boosting adversarial attacks with momentum, CVPR.

    Attributes:
        peak: size of the first step in units of epsilon, > 0.
        momentum: what is left of the sum at the next step, in [0, 1).

    Raises:
        ValueError: if a value is out of range.
    """

    momentum: float = 0.9
    sums_gradients = True

    def __post_init__(self) -> None:
        if self.peak <= 0:
            raise ValueError(f"peak must be > 0, got {self.peak}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must be in [0, 1), got {self.momentum}")

    def walk(self, epsilon: float, steps: int, project: Callable[[Tensor], Tensor]) -> Walk:
        return _MomentumWalk(self.sizes(steps, epsilon), project, self.momentum)


class _MomentumWalk(_ScheduledWalk):
    def __init__(
        self, sizes: list[float], project: Callable[[Tensor], Tensor], momentum: float
    ) -> None:
        super().__init__(sizes, project)
        self.momentum = momentum
        self.sum: Tensor | None = None

    def follow(self, gradient: Tensor) -> Tensor:
        size = gradient.abs().mean((1, 2, 3), keepdim=True)
        gradient = gradient / size.clamp(min=torch.finfo(gradient.dtype).tiny)
        self.sum = gradient if self.sum is None else self.momentum * self.sum + gradient
        return self.sum

    def keep(self, images: Tensor) -> None:
        if self.sum is not None:
            self.sum = self.sum[images]


@dataclass(frozen=True)
class AdaptiveStep(StepRule):
    """Auto-PGD: a step with momentum, halved for an image where progress stalls [Croce2020].

    At checkpoints that come ever closer, an image's step is halved, and it goes back to the best
    place it has seen, if the objective rose in less than ``rises`` of the steps since the last one,
    or if neither step nor best value has changed since. Here the objective that is watched is the
    rounded one, which has no noise in it.

    [Croce2020] Croce, Hein: Reliable evaluation of adversarial robustness with an ensemble of
    diverse parameter-free attacks, ICML.

    Attributes:
        first: size of the first steps in units of epsilon.
        momentum: share of the new direction in a step; the rest repeats the step before.
        rises: share of steps on which the objective has to rise.
    """

    first: float = 2.0
    momentum: float = 0.75
    rises: float = 0.75
    needs_values = True

    def walk(self, epsilon: float, steps: int, project: Callable[[Tensor], Tensor]) -> Walk:
        return _AdaptiveWalk(self, epsilon, steps, project)


class _AdaptiveWalk(Walk):
    def __init__(
        self, rule: AdaptiveStep, epsilon: float, steps: int, project: Callable[[Tensor], Tensor]
    ) -> None:
        self.rule = rule
        self.size = rule.first * epsilon  # a number per image from the first step on
        self.project = project
        self.checkpoints = checkpoints(steps)
        self.step = 0
        self.last_checkpoint = 0
        self.before: Tensor | None = None
        self.value_before: Tensor | None = None

    def move(self, x: Tensor, direction: Tensor, values: Tensor | None) -> Tensor:
        assert values is not None
        if self.before is None:
            self._begin(x, direction, values)
        else:
            assert self.value_before is not None
            self.risen += values > self.value_before
            self._remember(x, direction, values)
            if self.step in self.checkpoints:
                x, direction = self._look_back(x, direction)
        self.value_before = values
        moved = self.project(x + self.sizes[:, None, None, None] * direction)
        if self.step:  # the first step has none before it to go on with
            assert self.before is not None
            share = self.rule.momentum
            moved = self.project(x + share * (moved - x) + (1 - share) * (x - self.before))
        self.before = x
        self.step += 1
        return moved

    def keep(self, images: Tensor) -> None:
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(self, name, value[images])

    def _begin(self, x: Tensor, direction: Tensor, values: Tensor) -> None:
        self.sizes = torch.full_like(values, self.size)
        self.risen = torch.zeros_like(values, dtype=torch.int64)
        self.best, self.best_direction, self.best_value = x, direction, values
        self.best_at_checkpoint = values
        self.halved = torch.zeros_like(values, dtype=torch.bool)

    def _remember(self, x: Tensor, direction: Tensor, values: Tensor) -> None:
        better = values > self.best_value
        self.best = torch.where(better[:, None, None, None], x, self.best)
        self.best_direction = torch.where(
            better[:, None, None, None], direction, self.best_direction
        )
        self.best_value = torch.where(better, values, self.best_value)

    def _look_back(self, x: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
        """At a checkpoint: halve the steps that stall, and send their images back to their best."""
        passed = self.step - self.last_checkpoint
        stalls = self.risen < self.rule.rises * passed
        stalls |= ~self.halved & (self.best_value <= self.best_at_checkpoint)
        self.sizes = torch.where(stalls, self.sizes / 2, self.sizes)
        self.halved = stalls
        self.best_at_checkpoint = self.best_value
        self.last_checkpoint = self.step
        self.risen = torch.zeros_like(self.risen)
        back = stalls[:, None, None, None]
        return torch.where(back, self.best, x), torch.where(back, self.best_direction, direction)


def checkpoints(steps: int) -> frozenset[int]:
    """The steps before which an adaptive walk of so many looks back."""
    places = []
    place, stretch = 0.0, FIRST_CHECKPOINT
    while (place := place + stretch) < 1:
        places.append(math.ceil(round(place * steps, 6)))  # 0.57 * 100 is a little more than 57
        stretch = max(stretch - SHORTER, SHORTEST)
    return frozenset(places)
