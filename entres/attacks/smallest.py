"""How little an attack needs to make a stream pass a budget, image by image."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from entres.attacks.around import AroundAttack
from entres.attacks.base import Attack, AttackResult
from entres.attacks.victim import Victim, sized
from entres.bitstream import KIB
from entres.condition_names import SMALLEST_EPSILON, over_name
from entres.models.randomness import Randomness, part_of


class SmallestEpsilon(AroundAttack):
    """The smallest radius at which another attack makes a stream pass a budget, by bisection.

    ::

        the whole radius ──► over the budget? ──no──► none is found
                                   │yes
             ┌─► half way between the last radius that passes and the last that does not ─┐
             └───────────── as often as asked, from the images that passed ◄──────────────┘

    Every image has its own radius; what is compared are real bytes. An attack at a smaller radius
    begins with the perturbation that passed, made smaller by as much, so that each of them goes on
    where the one before has ended. What is found is an upper bound: a longer attack may do with
    less.

    The attacked image is the one at the smallest radius that passed; the clean one, if that passes;
    that of the whole radius, if none does. The health is that of the attack that made it (of a
    clean one, at the whole radius), and ``smallest_epsilon_255``, the radius in units of 1/255: 0
    for a clean image that passes, infinite where nothing does. It has no curve: its attacks go on
    from one another.

    Args:
        attack: the other attack; its epsilon is the whole radius, norm and preset are its own.
        budget_kib: what a stream may have, in KiB, > 0.
        halvings: how often the radius is halved, >= 1: with 6 it is found to 1/64 of the whole.

    Raises:
        ValueError: if a value is out of range.
    """

    def __init__(self, attack: Attack, budget_kib: float, halvings: int = 6) -> None:
        super().__init__(attack)
        if not (budget_kib > 0 and math.isfinite(budget_kib)):
            raise ValueError(f"budget_kib must be > 0, got {budget_kib:g}")
        if halvings < 1:
            raise ValueError(f"halvings must be >= 1, got {halvings}")
        self.budget_kib = budget_kib
        self.halvings = halvings
        self.condition = over_name(attack.condition, budget_kib)

    def perturb(
        self,
        victim: Victim,
        images: Tensor,
        labels: Tensor | None,
        generator: Randomness,
        health: bool,
    ) -> AttackResult:
        heard = sized(victim, type(self).__name__)

        def passes(attacked: Tensor) -> Tensor:
            return heard.stream_bytes(attacked) > self.budget_kib * KIB

        found = self.attack.perturb(victim, images, labels, generator, health)
        worst, figures = found.images.clone(), dict(found.health)
        by_itself, at_all = passes(images), passes(worst)
        # In double precision, as the radius of an attack is.
        high = torch.full((len(images),), self.epsilon_255, dtype=torch.float64)
        low = torch.zeros_like(high)
        open_ = (at_all & ~by_itself).nonzero()[:, 0].cpu()
        for number in range(self.halvings):
            middle = (low + high) / 2
            for radius in sorted(set(middle[open_].tolist())):
                of_radius = open_[middle[open_] == radius]
                places = of_radius.to(images.device)
                shrunk = (radius / high[of_radius]).to(images)[:, None, None, None]
                start = images[places] + (worst[places] - images[places]) * shrunk
                tried = self.attack.at(radius).starting_at(start)
                result = tried.perturb(
                    victim,
                    images[places],
                    None if labels is None else labels[places],
                    part_of(generator, places, number),
                    health,
                )
                over = passes(result.images)
                kept, is_over = places[over], over.cpu()
                worst[kept] = result.images[over]
                for name, values in result.health.items():
                    figures[name][kept] = values[over]
                high[of_radius[is_over]] = radius
                low[of_radius[~is_over]] = radius
        worst[by_itself] = images[by_itself]
        if not health:
            return AttackResult(worst)
        smallest = high.float().to(images.device)
        smallest = smallest.masked_fill(~at_all, torch.inf).masked_fill(by_itself, 0)
        return AttackResult(worst, {**figures, SMALLEST_EPSILON: smallest})
