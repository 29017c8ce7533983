"""Projected gradient ascent, the one loop of all gradient attacks."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from entres.attacks.base import Attack, AttackResult
from entres.attacks.health import health_of
from entres.attacks.noise import SignNoise
from entres.attacks.norms import Norm
from entres.attacks.objectives import CrossEntropy, CrossEntropyAndRate, Objective, Rate
from entres.attacks.presets import STRAIGHT_THROUGH, Preset
from entres.attacks.runs import Measured, Run, Step, Worst
from entres.attacks.several import objective_against
from entres.attacks.steps import Walk
from entres.attacks.victim import Response, Victim
from entres.models.randomness import NoisePerImage, Randomness


class PGD(Attack):
    """Follow the gradient of an objective through the ball (Eq. 5).

    ::

        for every step:
            y = victim.analyse(x)                                once
            for every draw:  objective(victim.respond(y, relaxation))   ──► gradient at y
            gradient at x  ──► transform ──► step rule ──► direction ──► step rule ──► project

    Hooks to override: :meth:`start`, :meth:`transform` (of the gradient); the objective, the norm
    and the preset are arguments.

    Health, per image: ``zero_gradient`` (share of the steps at which its gradient was zero),
    ``masked_gradient`` (1 where the attack's own model rounds a latent, which hides its gradient),
    ``objective_clean``, ``objective_end`` and ``objective_noise`` (of the clean image, the attacked
    one and random signs of the same epsilon, all on the ``round`` path, everything that travels
    counted), ``objective_middle`` and ``objective_last`` (what the attack itself saw, relaxed, at
    half of its steps and at its last), and ``late_gain`` (what the last quarter of the steps still
    gained, see :func:`entres.attacks.health.late_gain`). Of several restarts, figures and curve are
    those of the run whose image was kept.

    Args:
        epsilon_255: radius of the ball in units of 1/255.
        steps: gradient steps, >= 1; the preset's if None.
        preset: how the gradient comes about, and what is done with it.
        norm: the ball; l_inf if None.
        random_start: start anywhere in the ball instead of at the clean image.
        restarts: runs of which the worst image is kept, per image, by the objective on the
            ``round`` path. More than one needs ``random_start``.
        early_stop: leave an image alone once the objective is reached (a label lost); the steps
            that are left cost the other images only.
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
        steps: int | None = None,
        preset: Preset | None = None,
        norm: Norm | None = None,
        random_start: bool = False,
        restarts: int = 1,
        early_stop: bool = False,
        objective: Objective | None = None,
    ) -> None:
        super().__init__(epsilon_255, norm)
        if (steps is not None and steps < 1) or restarts < 1:
            raise ValueError(f"steps and restarts must be >= 1, got {steps} and {restarts}")
        if restarts > 1 and not random_start:
            raise ValueError(f"{restarts} restarts from the same image are one: set random_start")
        self.objective = objective or self.default_objective()
        if early_stop and not self.objective.can_be_reached:
            raise ValueError(
                f"{type(self.objective).__name__} is never reached: early_stop must be false"
            )
        self.asked_steps = steps
        self.preset = preset or Preset()
        self.preset.check_norm(self.norm)
        self.random_start = random_start
        self.restarts = restarts
        self.early_stop = early_stop

    @property
    def steps(self) -> int:
        """Gradient steps of a run."""
        return self.asked_steps or self.preset.steps

    # --- hooks -----------------------------------------------------------------------------------

    def start(self, images: Tensor, generator: Randomness) -> Tensor:
        """Where a run begins."""
        if self.begin is not None:
            return self.project(self.begin.to(images), images)
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
        objective = objective_against(self.objective, victim, images)
        reference = _rounded(victim, images) if objective.needs_reference else None
        aim = _Aim(victim, objective, labels, reference)
        worst = Worst(images)
        runs = [
            self._run(aim, images, generator, worst, number, health)
            for number in range(self.restarts)
        ]
        one_end = self.preset.keep == "last" and self.restarts == 1
        attacked = runs[0].images if one_end else worst.images
        if not health:
            return AttackResult(attacked)
        noise = SignNoise(self.epsilon_255).perturb(victim, images, None, generator, False).images
        keeps_worst = self.preset.keep == "worst"
        figures, curve = health_of(runs, worst.run, keeps_worst, aim.objective.can_be_reached)
        figures["objective_clean"] = aim.measure(images).value
        figures["objective_noise"] = aim.measure(noise).value
        return AttackResult(attacked, figures, curve)

    def _run(
        self,
        aim: _Aim,
        images: Tensor,
        generator: Randomness,
        worst: Worst,
        number: int,
        health: bool,
    ) -> Run:
        """One run from its start to its end; what counts of it is offered to ``worst``."""
        preset = self.preset
        keeps_worst = preset.keep == "worst"
        rule = preset.step_rule(self.objective.of_accuracy)
        measures = keeps_worst or health or self.early_stop or rule.needs_values
        x = self.start(images, generator)
        ends, everyone = x.clone(), aim
        left = torch.arange(len(x), device=x.device)
        if self.early_stop and isinstance(generator, NoisePerImage):
            # How often a batch's noise is drawn would depend on who is lost in it, and when.
            generator = generator.of(left, number)
        clean = images
        walk = rule.walk(self.epsilon, self.steps, lambda moved: self.project(moved, clean))
        steps: list[Step] = []
        for _ in range(self.steps):
            direction, step = self._ascend(aim, x, walk, generator, measures)
            steps.append(step.among(steps[-1], left) if steps else step)
            if keeps_worst:
                assert step.measured is not None
                worst.offer(x, step.measured, number, left)
            values = step.measured.value if step.measured else None
            if self.early_stop:
                assert step.measured is not None
                goes_on = (~step.measured.reached).nonzero()[:, 0]
                if len(goes_on) < len(left):
                    ends[left] = x
                    if not len(goes_on):
                        break
                    left, clean, x = left[goes_on], clean[goes_on], x[goes_on]
                    direction, values = direction[goes_on], step.measured.value[goes_on]
                    aim = aim.only(goes_on)
                    walk.keep(goes_on)
                    if isinstance(generator, NoisePerImage):
                        generator = generator.only(goes_on)
            x = walk.move(x, direction, values)
        ends[left] = x
        steps += steps[-1:] * (self.steps - len(steps))
        end = None
        if keeps_worst or health or self.restarts > 1:
            end = everyone.measure(ends)
            worst.offer(ends, end, number)
        return Run(ends, steps, end)

    def _ascend(
        self, aim: _Aim, x: Tensor, walk: Walk, generator: Randomness, measures: bool
    ) -> tuple[Tensor, Step]:
        """The direction in which the objective rises, as the preset sees it, and what was seen."""
        preset, victim, objective = self.preset, aim.victim, aim.objective
        relaxation = preset.relaxation(objective.of_accuracy)
        x = x.detach().requires_grad_()
        y = victim.analyse(x)
        reference = aim.reference
        # Straight through the rounding, the values are those of the coder already.
        same = relaxation == STRAIGHT_THROUGH and preset.latents is None
        rounded_response = None
        if objective.recompute or (measures and not same):
            rounded_response = _respond(victim, y)
        if objective.recompute:
            # What the runs are compared by stays that of the clean images.
            reference = rounded_response
        gradients: list[Tensor] = []
        values: list[Tensor] = []
        rounded = frozenset[str]()
        for _ in range(relaxation.draws):
            leaf = y.detach().requires_grad_()
            response = victim.respond(leaf, relaxation.quantization, generator)
            response = response.only(preset.latents)
            value = objective(response, aim.labels, reference)
            # What does not depend on the latents has a gradient of zero, and shows up as such.
            gradients += torch.autograd.grad(value.sum(), leaf, materialize_grads=True)
            values.append(value.detach())
            rounded = response.rounded
        measured = aim.judge(rounded_response or response) if measures else None
        if preset.average == "gradients":
            gradients = [torch.stack(gradients).mean(0)]
        at_x = [self.transform(_pull_back(y, x, gradient)) for gradient in gradients]
        directions = [self.norm.direction(walk.follow(gradient)) for gradient in at_x]
        return torch.stack(directions).mean(0), Step(
            torch.stack([~gradient.flatten(1).any(1) for gradient in at_x]).all(0),
            torch.stack(values).mean(0),
            rounded,
            measured,
        )


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


class _Aim(NamedTuple):
    """What is attacked, and what for.

    Attributes:
        reference: response to the clean images, where the objective asks for it.
    """

    victim: Victim
    objective: Objective
    labels: Tensor | None
    reference: Response | None

    def only(self, images: Tensor) -> _Aim:
        """For some of the images, by their places, shape (M,)."""
        # The objective holds nothing of an image: over several students, only one in bits does,
        # which is never reached, so that no image of it is left out.
        labels = None if self.labels is None else self.labels[images]
        reference = None if self.reference is None else self.reference.of(images)
        return self._replace(labels=labels, reference=reference)

    def measure(self, x: Tensor) -> Measured:
        """The objective of images."""
        return self.judge(_rounded(self.victim, x))

    @torch.no_grad()
    def judge(self, response: Response) -> Measured:
        """The objective of a response on the ``round`` path."""
        value = self.objective(response, self.labels, self.reference)
        if not self.objective.can_be_reached:
            return Measured(value, torch.zeros_like(value, dtype=torch.bool))
        return Measured(value, self.objective.reached(response, self.labels))


@torch.no_grad()
def _rounded(victim: Victim, x: Tensor) -> Response:
    """The response as the coder would have it."""
    return _respond(victim, victim.analyse(x))


@torch.no_grad()
def _respond(victim: Victim, y: Tensor) -> Response:
    return victim.respond(y.detach(), "round")


def _pull_back(y: Tensor, x: Tensor, gradient: Tensor) -> Tensor:
    """The gradient at x, given that at y = analyse(x)."""
    # Kept for the next draw; it goes with the step.
    (at_x,) = torch.autograd.grad(y, x, gradient, retain_graph=True)
    return at_x
