"""How an attack estimates and follows its gradient: right by default, or as it was published."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Literal

from entres.attacks.norms import Norm
from entres.models import Quantization
from entres.models.quantization import MixedQuantization


class StepSize(ABC):
    """Size of a step in units of pixel values in [0, 1]."""

    @abstractmethod
    def __call__(self, step: int, steps: int, epsilon: float) -> float:
        """Size of step number ``step``, from 0 to ``steps`` - 1."""


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


@dataclass(frozen=True)
class Relaxation:
    """What stands for rounding while a gradient is taken.

    Attributes:
        bottleneck: of what the entropy bottleneck codes (y of FP, z of MSHP).
        conditional: of what the Gaussians code (y of MSHP).
        samples: draws of the noise per step (expectation over transformation).
    """

    bottleneck: Quantization = "noise"
    conditional: Quantization = "noise"
    samples: int = 4

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise ValueError(f"samples must be >= 1, got {self.samples}")

    @property
    def quantization(self) -> MixedQuantization:
        """For a codec."""
        return MixedQuantization(self.bottleneck, self.conditional)

    @property
    def draws(self) -> int:
        """Samples, where they can differ."""
        return self.samples if "noise" in self.quantization else 1


STRAIGHT_THROUGH = Relaxation("straight_through", "straight_through", 1)


@dataclass(frozen=True)
class Preset:
    """How the gradient of an attack comes about. The defaults are ``strong``.

    ``configs/preset/`` holds one file per preset.

    Attributes:
        name: what stands in the results.
        rate: relaxation under objectives of the rate.
        accuracy: relaxation under objectives of the accuracy.
        average: ``gradients`` averages over the draws, then takes the direction; ``directions``
            takes the direction of each draw's gradient and averages these.
        step_size: size of the steps.
        latents: names of the latents whose bits count; None for everything that travels.
        filter_frequencies: whether a low-frequency attack filters anything.
        norms: names of the balls that it is for; None for every one.
    """

    name: str = "strong"
    rate: Relaxation = field(default_factory=Relaxation)
    accuracy: Relaxation = STRAIGHT_THROUGH
    average: Literal["gradients", "directions"] = "gradients"
    step_size: StepSize = field(default_factory=CosineStep)
    latents: tuple[str, ...] | None = None
    filter_frequencies: bool = True
    norms: tuple[str, ...] | None = None

    def check_norm(self, norm: Norm) -> None:
        """Check that the preset is for a ball.

        Raises:
            ValueError: if it is not.
        """
        if self.norms is not None and norm.name not in self.norms:
            raise ValueError(
                f"preset {self.name} is for the norm {' and '.join(self.norms)} only, got "
                f"{norm.name}: take that norm, or another preset"
            )
