"""The cheapest of several views of an image, any of which the server classifies alike."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from entres.defenses.base import Defended, Defense
from entres.models import EntropicStudent, Quantization

SHIFT = 2
"""px by which a view is shifted: half of the head's stride, the furthest from its grid."""
MOST = 8


class SmallestView(Defense):
    """Sends that of several views of an image whose stream is smallest.

    ::

        as received, mirrored, shifted down, both, shifted right, ... ──► exact size of each ──► min

    The views are the image and its mirror image, each also shifted by 2 px down, right, and both:
    a classifier takes one for the other, so that the receiver needs nothing new. An attack on one
    view is no attack on its mirror image. It costs one pass of the head for every view.

    The choice has no gradient; one passes the chosen view.

    Args:
        strength: number of views, from 1 (as received) to 8.

    Raises:
        ValueError: if there is no such number of views.
    """

    name = "smallest_view"

    def __init__(self, strength: float = 2.0) -> None:
        super().__init__(strength)

    def _check_strength(self) -> None:
        if self.strength not in range(1, MOST + 1):
            raise ValueError(
                f"strength of {self.name} is a number of views from 1 to {MOST}, got "
                f"{self.strength}"
            )

    def denoise(self, images: Tensor, mask: Tensor | None) -> Tensor:
        raise ValueError(f"{self.name} needs a student, whose streams it compares: call defend()")

    def protect(
        self,
        student: EntropicStudent,
        images: Tensor,
        quantization: Quantization = "round",
        mask: Tensor | None = None,
    ) -> Defended:
        if not len(images):
            return Defended(images.clone(), None, images.new_zeros(0, dtype=torch.bool))
        seen = torch.stack([view(images, number) for number in range(int(self.strength))])
        with torch.no_grad():
            plans = (student.codec.plan(student.normalize(each)) for each in seen)
            sizes = torch.stack([student.codec.stream_sizes(plan).stream for plan in plans])
            chosen = sizes.argmin(0).to(images.device)
        each = torch.arange(len(images), device=images.device)
        return Defended(seen[chosen, each], None, chosen > 0)


def view(images: Tensor, number: int) -> Tensor:
    """View number 0 to 7 of images, the same shape; 0 are the images themselves."""
    if number % 2:
        images = images.flip(-1)
    down, right = (SHIFT if number & bit else 0 for bit in (2, 4))
    if not (down or right):
        return images
    height, width = images.shape[-2:]
    # What comes in at the edges repeats them.
    return F.pad(images, (right, 0, down, 0), mode="replicate")[..., :height, :width]
