"""What changes over a run, as functions of its progress from 0 to 1.

Progress, not epochs or steps: the same schedule then serves a demo and ImageNet.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class LearningRateSchedule(Protocol):
    """Multiplies the learning rate."""

    def __call__(self, progress: float) -> float:
        """The factor at ``progress`` in [0, 1]."""
        ...


@dataclass
class MultiStep:
    """Multiply by ``factor`` at each milestone.

    Attributes:
        milestones: in the order of the run, each in (0, 1).
        factor: what the rate is multiplied by there.
    """

    milestones: Sequence[float]
    factor: float = 0.1

    def __post_init__(self) -> None:
        if not all(0 < m < 1 for m in self.milestones):
            raise ValueError(f"milestones are shares of the run in (0, 1), got {self.milestones}")

    def __call__(self, progress: float) -> float:
        return self.factor ** sum(progress >= m for m in self.milestones)


@dataclass
class Cosine:
    """A linear warm-up, then a half cosine down to ``final``.

    Attributes:
        warmup: share of the run, in [0, 1).
        final: factor at the end.
    """

    warmup: float = 0.02
    final: float = 0.01

    def __post_init__(self) -> None:
        if not 0 <= self.warmup < 1:
            raise ValueError(f"warmup is a share of the run in [0, 1), got {self.warmup}")

    def __call__(self, progress: float) -> float:
        if progress < self.warmup:
            return max(progress / self.warmup, 1e-3)
        done = (min(progress, 1.0) - self.warmup) / (1 - self.warmup)
        return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * done))


def linear_warmup(progress: float, share: float) -> float:
    """0 at the start, 1 from ``share`` of the run on."""
    return 1.0 if share <= 0 else min(1.0, progress / share)
