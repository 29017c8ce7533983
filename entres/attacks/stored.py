"""An attack as a camera's file would hold it: of 8 bits, and perhaps through JPEG."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from entres.attacks.around import AroundAttack
from entres.attacks.base import Attack, AttackResult
from entres.attacks.norms import Linf
from entres.attacks.victim import Victim
from entres.condition_names import budget_of, stored_name
from entres.corruptions import jpeg
from entres.models.randomness import Randomness

LEVELS = 255
SLACK = 1e-3
"""Of a level: what float32 may have lost on a value that is meant to be one."""


class Stored(AroundAttack):
    """Another attack, whose images are stored before the student sees them.

    Every attack here may use any number in [0, 1]; a file holds whole levels of 1/255. The nearest
    level inside the ball is taken (under l_2: the next one towards the clean image), so that images
    which were themselves of 8 bits stay inside. Of others, a ball that is smaller than half a level
    may hold no level at all: then they leave it by less than half of one.

    **With ``jpeg_quality`` the images leave the ball**: JPEG changes what it likes. It shows what
    of an attack survives it, not what an attack inside the ball can do.

    The health and the curve are those of the other attack, before its images were stored.

    Args:
        attack: the other attack; epsilon, norm and preset are its own.
        jpeg_quality: 1 to 95, of libjpeg's scale; None: no JPEG.

    Raises:
        ValueError: if the quality is out of range, or the attack seeks a smallest epsilon.
    """

    def __init__(self, attack: Attack, jpeg_quality: int | None = None) -> None:
        super().__init__(attack)
        if budget_of(attack.condition) is not None:
            raise ValueError(
                f"{attack.condition} goes just far enough, which storing undoes: put the stored "
                "attack into SmallestEpsilon"
            )
        if jpeg_quality is not None and not 1 <= jpeg_quality <= 95:
            raise ValueError(f"jpeg_quality must be from 1 to 95 or null, got {jpeg_quality}")
        self.jpeg_quality = jpeg_quality
        self.condition = stored_name(attack.condition, jpeg_quality)

    def perturb(
        self,
        victim: Victim,
        images: Tensor,
        labels: Tensor | None,
        generator: Randomness,
        health: bool,
    ) -> AttackResult:
        result = self.attack.perturb(victim, images, labels, generator, health)
        stored = self._rounded(result.images.detach(), images)
        if self.jpeg_quality is not None:
            stored = jpeg(stored, self.jpeg_quality)
        return replace(result, images=stored)

    def _rounded(self, attacked: Tensor, images: Tensor) -> Tensor:
        """Of 8 bits, inside the ball."""
        levels = attacked * LEVELS
        if not isinstance(self.norm, Linf):
            up, down = (levels - SLACK).ceil(), (levels + SLACK).floor()
            return torch.where(attacked > images, down, up) / LEVELS
        low = ((images - self.epsilon) * LEVELS - SLACK).ceil()
        high = ((images + self.epsilon) * LEVELS + SLACK).floor()
        none_inside = low > high
        nearest = torch.where(none_inside, images * LEVELS, levels).round()
        inside = torch.minimum(torch.maximum(nearest, low), high)
        return torch.where(none_inside, nearest, inside).clamp(0, LEVELS) / LEVELS
