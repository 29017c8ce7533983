"""Several attacks on the accuracy, of which each image gets the worst."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from entres.attacks.base import Attack, AttackResult
from entres.attacks.noise import SignNoise
from entres.attacks.norms import Norm
from entres.attacks.objectives import Margin, TargetedMargin
from entres.attacks.pgd import PGDAcc
from entres.attacks.presets import Preset
from entres.attacks.victim import Victim
from entres.models.randomness import Randomness, part_of


class AccuracyEnsemble(Attack):
    """PGD-Acc with several objectives, one after the other, on the images that are still right.

    ::

        cross-entropy ──► margin ──► margin towards the 1st, 2nd, ... most likely other class
            every image       the images that no part before has lost

    An image is done at the step that loses it, and costs nothing from then on. Of one that none
    loses, the attacked image is kept that lies nearest to another class: the one with the largest
    gap between the best other logit and the label's. The parts are the gradient attacks of
    AutoAttack [Croce2020] but for FAB; what is left right is an upper bound of the accuracy,
    tighter than that of any part.

    Hook to override: :meth:`parts`.

    Health, per image: that gap as ``objective_clean``, ``objective_end`` and ``objective_noise``
    (and, after half of the parts and after the last, as ``objective_middle`` and
    ``objective_last``); ``zero_gradient`` of the part that saw most of a gradient,
    ``masked_gradient``, and ``late_gain`` of the part whose image was kept (see
    :class:`entres.attacks.PGD`). It has no curve: its parts take their steps one after the other,
    each on fewer images.

    [Croce2020] Croce, Hein: Reliable evaluation of adversarial robustness with an ensemble of
    diverse parameter-free attacks, ICML.

    Args:
        epsilon_255: radius of the ball in units of 1/255.
        steps: gradient steps of every part, >= 1; the preset's if None.
        preset: of every part.
        norm: the ball; l_inf if None.
        targets: how many of the other classes have a part of their own, >= 0. A network needs four
            classes for any.

    Raises:
        ValueError: if a value is out of range.
    """

    condition = "acc_ensemble"
    preset: Preset

    def __init__(
        self,
        epsilon_255: float = 8.0,
        steps: int | None = None,
        preset: Preset | None = None,
        norm: Norm | None = None,
        targets: int = 3,
    ) -> None:
        super().__init__(epsilon_255, norm)
        if targets < 0:
            raise ValueError(f"targets must be >= 0, got {targets}")
        self.asked_steps = steps
        self.preset = preset or Preset()
        self.targets = targets
        self.parts()  # checks the steps and the preset

    def parts(self) -> list[Attack]:
        """The attacks, in their order."""
        objectives = [None, Margin(), *map(TargetedMargin, range(1, self.targets + 1))]
        return [
            PGDAcc(
                self.epsilon_255,
                self.asked_steps,
                self.preset,
                self.norm,
                early_stop=True,
                objective=objective,
            )
            for objective in objectives
        ]

    def perturb(
        self,
        victim: Victim,
        images: Tensor,
        labels: Tensor | None,
        generator: Randomness,
        health: bool,
    ) -> AttackResult:
        if labels is None:
            raise ValueError(f"{type(self).__name__} attacks the accuracy: give labels")
        clean = _standing(victim, images, labels)
        worst, gap, right = images.clone(), clean.gap.clone(), clean.right.clone()
        gaps = [clean.gap]
        figures: dict[str, Tensor] = {}
        for number, part in enumerate(self.parts()):
            # The first one attacks what is wrong already, too, as PGD-Acc does.
            left = right.nonzero()[:, 0] if number else torch.arange(len(images))
            if len(left):
                left = left.to(images.device)
                if self.begin is not None:  # every part begins there
                    part = part.starting_at(self.begin.to(images)[left])
                result = part.perturb(
                    victim, images[left], labels[left], part_of(generator, left, number), health
                )
                found = _standing(victim, result.images, labels[left])
                # A wrong image is worse than a right one; of two alike, that with the larger gap.
                worse = torch.where(found.right == right[left], found.gap > gap[left], right[left])
                kept = left[worse]
                worst[kept] = result.images[worse]
                gap[kept], right[kept] = found.gap[worse], found.right[worse]
                _merge(figures, result.health, left, worse)
            gaps.append(gap.clone())
        if not health:
            return AttackResult(worst)
        noise = SignNoise(self.epsilon_255).perturb(victim, images, None, generator, False).images
        figures |= {
            "objective_clean": clean.gap,
            "objective_end": gap,
            "objective_noise": _standing(victim, noise, labels).gap,
            "objective_middle": gaps[len(gaps) // 2],
            "objective_last": gap,
        }
        return AttackResult(worst, figures)


class _Standing(NamedTuple):
    """How images stand, each of shape (N,).

    Attributes:
        gap: the best other logit less the label's; of several networks, the mean.
        right: whether the network names the label; of several, whether any does.
    """

    gap: Tensor
    right: Tensor


@torch.no_grad()
def _standing(victim: Victim, images: Tensor, labels: Tensor) -> _Standing:
    gaps, right = [], []
    for part in victim.respond(victim.analyse(images), "round").parts:
        logits = part.logits.float()
        at_label = logits.gather(1, labels[:, None])[:, 0]
        gaps.append(logits.scatter(1, labels[:, None], -torch.inf).amax(1) - at_label)
        right.append(logits.argmax(1) == labels)
    return _Standing(torch.stack(gaps).mean(0), torch.stack(right).any(0))


def _merge(
    figures: dict[str, Tensor], of_part: dict[str, Tensor], left: Tensor, worse: Tensor
) -> None:
    """Take what a part says of its own health into that of all.

    Args:
        figures: of all images; filled by the first part, which attacks all of them.
        of_part: of the images ``left``.
        left: places of the images that the part attacked, shape (M,).
        worse: which of these it made the worst so far, shape (M,).
    """
    if not of_part:
        return
    if not figures:
        figures |= {n: of_part[n] for n in ("zero_gradient", "masked_gradient", "late_gain")}
        return
    least = torch.minimum(figures["zero_gradient"][left], of_part["zero_gradient"])
    figures["zero_gradient"][left] = least
    figures["late_gain"][left[worse]] = of_part["late_gain"][worse]
