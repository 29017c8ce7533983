"""Random noise: what an attack has to beat."""

from __future__ import annotations

from torch import Tensor

from entres.attacks.base import Attack, AttackResult
from entres.attacks.victim import Victim
from entres.models.randomness import Randomness, uniform


class SignNoise(Attack):
    """Every value moves by epsilon, up or down at random (the paper's baseline).

    The sign of a Gaussian is such noise. It lies on the corners of the l_inf ball, and on the
    sphere of the l_2 ball of the same epsilon.
    """

    condition = "noise"

    def perturb(
        self,
        victim: Victim,
        images: Tensor,
        labels: Tensor | None,
        generator: Randomness,
        health: bool,
    ) -> AttackResult:
        signs = (uniform(images, generator) < 0.5).to(images.dtype) * 2 - 1
        return AttackResult(self.project(images + self.epsilon * signs, images))
