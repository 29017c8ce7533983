"""The template of defenses that leave ordinary images alone."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from entres.defenses.base import Defended, Defense
from entres.models import EntropicStudent, Quantization


class Selective(Defense):
    """Hands those images to another defense that are too large; the rest stays as it is.

    Attributes:
        defense: what is done to an image that is too large; it makes its mask of those alone.
    """

    defense: Defense

    @abstractmethod
    def too_large(self, student: EntropicStudent, images: Tensor) -> Tensor:
        """Which images are defended, bool, shape (N,); there is at least one, and no gradient."""

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
        with torch.no_grad():
            large = self.too_large(student, images)
        defended = images.clone()
        if large.any():
            defended[large] = self.defense.protect(student, images[large], quantization).images
        return Defended(defended, None, large)
