"""A defense that leaves ordinary images alone."""

from __future__ import annotations

import copy

from torch import Tensor

from entres.bitstream import KIB
from entres.defenses.base import Defense
from entres.defenses.selective import Selective
from entres.functional import bits_from_likelihoods
from entres.models import EntropicStudent


class Automatic(Selective):
    """Defends an image only if its predicted size passes a threshold set on clean data.

    The prediction is the entropy model's own, so that it costs one pass of the head, which an
    undefended image needs anyway.

    Args:
        defense: what is done to an image that is too large.
        threshold_kib: predicted size in KiB above which an image is defended, > 0. ``entres
            threshold`` takes it from the records of a clean evaluation.

    Raises:
        ValueError: if the threshold is out of range, or the defense is a cap, which would not cap
            what is below the threshold.
    """

    def __init__(self, defense: Defense, threshold_kib: float) -> None:
        if not threshold_kib > 0:
            raise ValueError(f"threshold_kib must be > 0, got {threshold_kib}")
        if defense.limits_symbols:
            raise ValueError(
                f"{defense.name} leaves alone what is small enough by itself: give it no threshold"
            )
        self.defense = defense
        self.threshold_kib = threshold_kib
        self.name = f"auto_{defense.name}"
        self.differentiable = defense.differentiable
        super().__init__(defense.strength)

    def at(self, strength: float) -> Defense:
        other = copy.copy(self)
        other.defense = self.defense.at(strength)
        other.strength = strength
        return other

    def too_large(self, student: EntropicStudent, images: Tensor) -> Tensor:
        latent = student.codec.analyse(student.normalize(images))
        _, likelihoods = student.codec.latents(latent, "round")
        bits = bits_from_likelihoods(likelihoods.values())
        return bits > self.threshold_kib * 8 * KIB
