"""How little an attack needs to make a stream pass a budget, image by image."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from entres.attacks.around import AroundAttack
from entres.attacks.base import Attack, AttackResult
from entres.attacks.victim import Victim, sized
from entres.bitstream import KIB
from entres.condition_names import SMALLEST_EPSILON, budget_of, over_name
from entres.models.randomness import Randomness, part_of


class SmallestEpsilon(AroundAttack):
    """The smallest radius at which another attack makes a stream pass a budget, by bisection.

    ::

        the whole radius ──► over the budget? ──no──► none is found
                                   │yes
             ┌─► half way between the last radius that passes and the last that does not ─┐
             └───────────── as often as asked, from the images that passed ◄──────────────┘
        then one step of the finest halving less, as long as that passes

    Every image has its own radius; what is compared are real bytes. An attack with a gradient
    begins, at a smaller radius, with the perturbation that passed, made smaller by as much, so that
    each of them goes on where the one before has ended; where that passes as it is, it is kept.
    What is found is an upper bound: a longer attack may do with less.

    The attacked image is the one at the smallest radius that passed; the clean one, if that passes;
    that of the whole radius, if none does. The health is that of the attack that made it (of a
    clean one, at the whole radius), and ``smallest_epsilon_255``, the radius in units of 1/255: 0
    for a clean image that passes, infinite where nothing does. It has no curve: its attacks go on
    from one another.

    Args:
        attack: the other attack; its epsilon is the whole radius, norm and preset are its own.
        budget_kib: what a stream may have, in KiB, > 0, of six digits at most: results are called
            by it.
        halvings: how often the radius is halved, >= 1: with 6 it is found to 1/64 of the whole.

    Raises:
        ValueError: if a value is out of range.
    """

    def __init__(self, attack: Attack, budget_kib: float, halvings: int = 6) -> None:
        super().__init__(attack)
        if not (budget_kib > 0 and math.isfinite(budget_kib)):
            raise ValueError(f"budget_kib must be > 0, got {budget_kib:g}")
        self.condition = over_name(attack.condition, budget_kib)
        if budget_of(self.condition) != budget_kib:
            raise ValueError(f"budget_kib has six digits at most, got {budget_kib}")
        if halvings < 1:
            raise ValueError(f"halvings must be >= 1, got {halvings}")
        self.budget_kib = budget_kib
        self.halvings = halvings

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

        def attempt(radii: Tensor, some: Tensor, number: int) -> Tensor:
            """Attack some images at smaller radii, shape (N,); whether they passed, shape (M,)."""
            for radius in sorted(set(radii[some].tolist())):
                of_radius = some[radii[some] == radius]
                places = of_radius.to(images.device)
                clean, attack = images[places], self.attack.at(radius)
                shrunk = (radius / high[of_radius]).to(images)[:, None, None, None]
                start = attack.project(clean + (worst[places] - clean) * shrunk, clean)
                truth = None if labels is None else labels[places]
                noise = part_of(generator, places, number)
                result = attack.starting_at(start).perturb(victim, clean, truth, noise, health)
                longer = passes(result.images)
                attacked = torch.where(longer[:, None, None, None], result.images, start)
                over = longer | passes(start)
                kept, is_over = places[over], over.cpu()
                worst[kept] = attacked[over]
                for name, values in result.health.items():
                    figures[name][kept] = values[over]
                high[of_radius[is_over]] = radius
                low[of_radius[~is_over]] = radius
            return high[some] == radii[some]

        left = (at_all & ~by_itself).nonzero()[:, 0].cpu()
        for number in range(self.halvings):
            attempt((low + high) / 2, left, number)
        # What failed early had fewer steps behind it than what is tried now.
        step = self.epsilon_255 / 2**self.halvings
        while len(left := left[high[left] > step]):
            number += 1
            left = left[attempt(high - step, left, number)]
        worst[by_itself] = images[by_itself]
        if not health:
            return AttackResult(worst)
        smallest = high.to(images.device).masked_fill(~at_all, torch.inf)
        figures[SMALLEST_EPSILON] = smallest.masked_fill(by_itself, 0)
        return AttackResult(worst, figures)
