"""Attacks that make use of another one."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from torch import Tensor

from entres.attacks.base import Attack
from entres.attacks.presets import Preset

if TYPE_CHECKING:
    from typing_extensions import Self


class AroundAttack(Attack):
    """What is made around another attack: epsilon, norm, preset and steps are that one's.

    Args:
        attack: the other one.
    """

    def __init__(self, attack: Attack) -> None:
        super().__init__(attack.epsilon_255, attack.norm)
        self._take(attack)

    def around(self, attack: Attack) -> Self:
        """The same around another attack."""
        other = copy.copy(self)
        other._take(attack)
        return other

    def at(self, epsilon_255: float) -> Self:
        return self.around(self.attack.at(epsilon_255))

    def with_preset(self, preset: Preset) -> Self:
        return self.around(self.attack.with_preset(preset))

    def starting_at(self, images: Tensor) -> Self:
        return self.around(self.attack.starting_at(images))

    def _take(self, attack: Attack) -> None:
        self.attack = attack
        self.epsilon_255, self.norm = attack.epsilon_255, attack.norm
        self.preset, self.asked_steps = attack.preset, attack.asked_steps
