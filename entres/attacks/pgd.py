"""Projected gradient ascent, the one loop of all gradient attacks."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from entres.attacks.base import Attack, AttackResult
from entres.attacks.noise import SignNoise
from entres.attacks.norms import Norm
from entres.attacks.objectives import CrossEntropy, CrossEntropyAndRate, Objective, Rate
from entres.attacks.presets import Preset
from entres.attacks.victim import Response, Victim
from entres.models.quantization import Randomness


class PGD(Attack):
    """x <- project(x + step * direction(gradient of the objective)) (Eq. 5).

    ::

        for every step:
            y = victim.analyse(x)                                once
            for every draw:  objective(victim.respond(y, relaxation))   ──► gradient at y
            gradient at x  ──► transform ──► direction ──► step ──► project

    Hooks to override: :meth:`start`, :meth:`transform` (of the gradient); the objective, the norm
    and the preset are arguments.

    Health, per image: ``zero_gradient`` (share of the steps at which its gradient was zero),
    ``masked_gradient`` (1 where the attack's own model rounds a latent, which hides its gradient),
    ``objective_clean``, ``objective_end`` and ``objective_noise`` (of the clean image, the attacked
    one and random signs of the same epsilon, all on the ``round`` path, everything that travels
    counted), ``objective_middle`` and ``objective_last`` (what the attack itself saw, relaxed, at
    half of its steps and at its last).

    Args:
        epsilon_255: radius of the ball in units of 1/255.
        steps: gradient steps, >= 1.
        preset: how the gradient comes about.
        norm: the ball; l_inf if None.
        random_start: start anywhere in the ball instead of at the clean image.
        restarts: runs of which the worst image is kept, per image, by the objective on the
            ``round`` path. More than one needs ``random_start``.
        keep: ``last`` image of a run, or the ``worst`` one seen, by the same measure.
        early_stop: leave an image alone once the objective is reached (a label lost).
        objective: what is to rise; the class's own if None.

    Raises:
        ValueError: if a value is out of range.
    """

    condition: str
    preset: Preset
    default_objective: type[Objective]

    def __init__(
        self,
        epsilon_255: float = 8.0,
        steps: int = 20,
        preset: Preset | None = None,
        norm: Norm | None = None,
        random_start: bool = False,
        restarts: int = 1,
        keep: Literal["last", "worst"] = "last",
        early_stop: bool = False,
        objective: Objective | None = None,
    ) -> None:
        super().__init__(epsilon_255, norm)
        if steps < 1 or restarts < 1:
            raise ValueError(f"steps and restarts must be >= 1, got {steps} and {restarts}")
        if restarts > 1 and not random_start:
            raise ValueError(f"{restarts} restarts from the same image are one: set random_start")
        self.objective = objective or self.default_objective()
        if early_stop and not self.objective.can_be_reached:
            raise ValueError(
                f"{type(self.objective).__name__} is never reached: early_stop must be false"
            )
        self.steps = steps
        self.preset = preset or Preset()
        self.preset.check_norm(self.norm)
        self.random_start = random_start
        self.restarts = restarts
        self.keep = keep
        self.early_stop = early_stop

    # --- hooks -----------------------------------------------------------------------------------

    def start(self, images: Tensor, generator: Randomness) -> Tensor:
        """Where a run begins."""
        if not self.random_start:
            return images
        return self.project(images + self.norm.random(images, self.epsilon, generator), images)

    def transform(self, gradient: Tensor) -> Tensor:
        """What happens to a gradient before its direction is taken."""
        return gradient

    # --- the loop --------------------------------------------------------------------------------

    def perturb(
        self,
        victim: Victim,
        images: Tensor,
        labels: Tensor | None,
        generator: Randomness,
        health: bool,
    ) -> AttackResult:
        if self.objective.needs_labels and labels is None:
            raise ValueError(f"{type(self).__name__} attacks the accuracy: give labels")
        reference = _rounded(victim, images) if self.objective.needs_reference else None
        worst = _Worst(images)
        for _ in range(self.restarts):
            x = self.start(images, generator)
            ascents = []
            for step in range(self.steps):
                # What the runs are compared by stays that of the clean images.
                seen = _rounded(victim, x) if self.objective.recompute else reference
                ascent = self._ascend(victim, x, labels, seen, generator)
                size = self.preset.step_size(step, self.steps, self.epsilon)
                moved = self.project(x + size * ascent.direction, images)
                if self.early_stop:
                    lost = self.objective.reached(_rounded(victim, x), labels)
                    moved = torch.where(lost[:, None, None, None], x, moved)
                x = moved
                ascents.append(ascent)
                if self.keep == "worst" and step < self.steps - 1:
                    worst.offer(x, self._measure(victim, x, labels, reference))
            if self.keep == "worst" or self.restarts > 1:
                x = worst.offer(x, self._measure(victim, x, labels, reference))
        if not health:
            return AttackResult(x)
        noise = SignNoise(self.epsilon_255).perturb(victim, images, None, generator, False).images
        rounded = {
            f"objective_{name}": self._measure(victim, at, labels, reference)
            for name, at in (("clean", images), ("end", x), ("noise", noise))
        }
        zeros = torch.stack([ascent.zero for ascent in ascents]).float().mean(0)
        masked = torch.full_like(zeros, bool(ascents[-1].rounded))
        return AttackResult(
            x,
            {
                "zero_gradient": zeros,
                "masked_gradient": masked,
                **rounded,
                "objective_middle": ascents[self.steps // 2].value,
                "objective_last": ascents[-1].value,
            },
        )

    def _ascend(
        self,
        victim: Victim,
        x: Tensor,
        labels: Tensor | None,
        reference: Response | None,
        generator: Randomness,
    ) -> _Ascent:
        """Where the objective rises, as the preset sees it."""
        preset = self.preset
        relaxation = preset.accuracy if self.objective.of_accuracy else preset.rate
        x = x.detach().requires_grad_()
        y = victim.analyse(x)
        gradients: list[Tensor] = []
        values: list[Tensor] = []
        rounded = frozenset[str]()
        for _ in range(relaxation.draws):
            leaf = y.detach().requires_grad_()
            response = victim.respond(leaf, relaxation.quantization, generator)
            response = response.only(preset.latents)
            value = self.objective(response, labels, reference)
            # What does not depend on the latents has a gradient of zero, and shows up as such.
            gradients += torch.autograd.grad(value.sum(), leaf, materialize_grads=True)
            values.append(value.detach())
            rounded = response.rounded
        if preset.average == "gradients":
            gradients = [torch.stack(gradients).mean(0)]
        at_x = [self.transform(_pull_back(y, x, gradient)) for gradient in gradients]
        return _Ascent(
            torch.stack([self.norm.direction(gradient) for gradient in at_x]).mean(0),
            torch.stack([~gradient.flatten(1).any(1) for gradient in at_x]).all(0),
            torch.stack(values).mean(0),
            rounded,
        )

    @torch.no_grad()
    def _measure(
        self, victim: Victim, x: Tensor, labels: Tensor | None, reference: Response | None
    ) -> Tensor:
        """The objective as it is when the latents are rounded, shape (N,)."""
        return self.objective(_rounded(victim, x), labels, reference)


class PGDAcc(PGD):
    """PGD on the cross-entropy, the attack on accuracy (PGD-Acc)."""

    condition = "pgd_acc"
    default_objective = CrossEntropy


class PGDE(PGD):
    """PGD on the rate, the attack on the size of the stream (PGD-E, Eq. 7)."""

    condition = "pgd_e"
    default_objective = Rate


class PGDJoint(PGD):
    """PGD on accuracy and rate at once."""

    condition = "pgd_joint"
    default_objective = CrossEntropyAndRate


class _Ascent(NamedTuple):
    """One step's view of the objective.

    Attributes:
        direction: of the step, shape of the images.
        zero: whether an image's gradient is zero, shape (N,).
        value: the objective, relaxed, shape (N,).
        rounded: names of the latents whose gradient was rounded away.
    """

    direction: Tensor
    zero: Tensor
    value: Tensor
    rounded: frozenset[str]


class _Worst:
    """The image with the largest value seen, per image."""

    def __init__(self, images: Tensor) -> None:
        self.images = images
        self.values = torch.full((len(images),), -torch.inf, device=images.device)

    def offer(self, images: Tensor, values: Tensor) -> Tensor:
        """Take what is worse than anything before; returns the worst images so far."""
        worse = values > self.values
        self.images = torch.where(worse[:, None, None, None], images, self.images)
        self.values = torch.where(worse, values, self.values)
        return self.images


@torch.no_grad()
def _rounded(victim: Victim, x: Tensor) -> Response:
    """The response as the coder would have it."""
    return victim.respond(victim.analyse(x), "round")


def _pull_back(y: Tensor, x: Tensor, gradient: Tensor) -> Tensor:
    """The gradient at x, given that at y = analyse(x)."""
    # Kept for the next draw; it goes with the step.
    (at_x,) = torch.autograd.grad(y, x, gradient, retain_graph=True)
    return at_x
