"""A defense that leaves ordinary images alone."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from entres.bitstream import KIB
from entres.defenses.base import Defended, Defense
from entres.functional import bits_from_likelihoods
from entres.models import EntropicStudent, Quantization


class Automatic(Defense):
    """Defends an image only if its predicted size passes a threshold set on clean data.

    The prediction is the entropy model's own, so that it costs one pass of the head, which an
    undefended image needs anyway.

    Args:
        defense: what is done to an image that is too large.
        threshold_kib: predicted size in KiB above which an image is defended, > 0. ``entres
            threshold`` takes it from the records of a clean evaluation.

    Raises:
        ValueError: if the threshold is out of range.
    """

    def __init__(self, defense: Defense, threshold_kib: float) -> None:
        if not threshold_kib > 0:
            raise ValueError(f"threshold_kib must be > 0, got {threshold_kib}")
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

    def denoise(self, images: Tensor, mask: Tensor | None) -> Tensor:
        return self.defense.denoise(images, mask)

    def protect(
        self,
        student: EntropicStudent,
        images: Tensor,
        quantization: Quantization = "round",
        mask: Tensor | None = None,
    ) -> Defended:
        if not len(images):
            return Defended(images.clone(), None, images.new_zeros(0, dtype=torch.bool))
        # The wrapped defense makes its mask, of the large images alone.
        with torch.no_grad():
            latent = student.codec.analyse(student.normalize(images))
            _, likelihoods = student.codec.latents(latent, "round")
            bits = bits_from_likelihoods(likelihoods.values())
        large = bits > self.threshold_kib * 8 * KIB
        defended = images.clone()
        if large.any():
            defended[large] = self.defense.protect(student, images[large], quantization).images
        return Defended(defended, None, large)
