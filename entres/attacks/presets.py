"""How an attack estimates and follows its gradient: right by default, or as it was published."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from entres.attacks.norms import Norm
from entres.attacks.steps import AdaptiveStep, CosineStep, MomentumStep, StepRule
from entres.models import Quantization
from entres.models.quantization import MixedQuantization


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
    samples: int = 1

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


STRAIGHT_THROUGH = Relaxation("straight_through", "straight_through")


@dataclass(frozen=True)
class Preset:
    """How an attack gets its gradient and makes its steps. The defaults are ``strong``.

    ``configs/preset/`` holds one file per preset.

    Attributes:
        name: what stands in the results.
        steps: gradient steps, where the attack does not say.
        rate: relaxation under objectives of the rate.
        accuracy: relaxation under objectives of the accuracy.
        average: ``gradients`` averages over the draws, then takes the direction; ``directions``
            takes the direction of each draw's gradient and averages these.
        rate_step_rule: where each step goes, and how far, under objectives of the rate, and of rate
            and accuracy at once.
        accuracy_step_rule: the same under objectives of the accuracy.
        keep: ``last`` image of a run, or the ``worst`` one seen, per image, by the objective on the
            ``round`` path; under an objective that can be reached, one that is lost comes first.
        latents: names of the latents whose bits count; None for everything that travels.
        filter_frequencies: whether a low-frequency attack filters anything.
        norms: names of the balls that it is for; None for every one.

    Raises:
        ValueError: if the steps are fewer than 1, or gradients of several draws were to be added up
            one by one.
    """

    name: str = "strong"
    steps: int = 100
    rate: Relaxation = field(default_factory=Relaxation)
    accuracy: Relaxation = STRAIGHT_THROUGH
    average: Literal["gradients", "directions"] = "gradients"
    rate_step_rule: StepRule = field(default_factory=MomentumStep)
    accuracy_step_rule: StepRule = field(default_factory=AdaptiveStep)
    keep: Literal["last", "worst"] = "worst"
    latents: tuple[str, ...] | None = None
    filter_frequencies: bool = True
    norms: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be >= 1, got {self.steps}")
        for of_accuracy in (True, False):
            rule, draws = self.step_rule(of_accuracy), self.relaxation(of_accuracy).draws
            if self.average == "directions" and draws > 1 and rule.sums_gradients:
                raise ValueError(
                    f"{type(rule).__name__} adds up one gradient a step: average must be gradients "
                    f"with {draws} draws"
                )

    def step_rule(self, of_accuracy: bool) -> StepRule:
        """The rule under an objective of the accuracy, or of the rate."""
        return self.accuracy_step_rule if of_accuracy else self.rate_step_rule

    def relaxation(self, of_accuracy: bool) -> Relaxation:
        """The relaxation under an objective of the accuracy, or of the rate."""
        return self.accuracy if of_accuracy else self.rate

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


QUICK = Preset(
    "quick",
    20,
    Relaxation(samples=4),
    rate_step_rule=CosineStep(),
    accuracy_step_rule=CosineStep(),
    keep="last",
)
"""``configs/preset/quick.yaml``: a third of the time of ``strong``, and not converged."""
