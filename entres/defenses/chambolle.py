"""The exact minimum of the denoising objective, from its dual."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from entres.defenses.base import Defense, image_by_image, wants_gradient
from entres.defenses.masks import Everywhere, LikelihoodMask, Mask
from entres.functional import differences, differences_transposed


class MaskedChambolle(Defense):
    """The exact minimum of Eq. 9, the total variation weighted with the mask, edge by edge.

    ::

        min over x of 1/2 ||x - x'||^2 + lambda * sum over edges of m * |difference|

    The dual is a projection onto a box, done by projected gradient steps [Chambolle2004] with
    momentum [Beck2009]; the difference to the optimum falls with the square of the steps. An edge's
    weight is the smaller mask of its two pixels, so that the mask says how strong the denoising is
    (in Eq. 11 it says how fast), and a pixel whose mask is 0 stays as it is.

    [Chambolle2004] Chambolle: An algorithm for total variation minimization and applications, JMIV.
    [Beck2009] Beck, Teboulle: Fast gradient-based algorithms for constrained total variation image
    denoising and deblurring problems, IEEE TIP.

    Args:
        strength: lambda, the weight of the total variation; pixels lie in [0, 1].
        mask: see :class:`Defense`; its own spares the tenth of the positions that costs most bits.
            Mask and strength were chosen on training photos (docs/defense.md).
        steps: of the dual iteration, >= 1.
        isotropic: take the length of the gradient at each pixel (as scikit-image does) in place of
            the sum of its parts (Eq. 8).

    Raises:
        ValueError: if a value is out of range.
    """

    name = "masked_chambolle"

    def __init__(
        self,
        strength: float = 0.1,
        mask: Mask | None = None,
        steps: int = 30,
        isotropic: bool = False,
    ) -> None:
        super().__init__(strength, mask)
        if steps < 1:
            raise ValueError(f"steps must be >= 1, got {steps}")
        self.steps = steps
        self.isotropic = isotropic

    @classmethod
    def default_mask(cls) -> Mask:
        return LikelihoodMask(smooth=1.0, spared=0.1, full=0.1, interpolation="bilinear")

    def denoise(self, images: Tensor, mask: Tensor | None) -> Tensor:
        if wants_gradient(images, mask):
            return self._minimum(images, mask)
        return image_by_image(self._minimum, images, mask)

    def _minimum(self, images: Tensor, mask: Tensor | None) -> Tensor:
        return (images - differences_transposed(*self.dual(images, mask))).clamp(0, 1)

    def dual(self, images: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The dual variables, in units of pixel values: x = images - differences_transposed(p)."""
        # Memory that a gradient still needs is not used again.
        again = not wants_gradient(images, mask)
        weights = self._weights(images, mask)
        point = [torch.zeros_like(d) for d in differences(images)]
        old = [torch.zeros_like(p) for p in point]
        x = torch.empty_like(images)
        momentum = 1.0
        for _ in range(self.steps):
            x = x.copy_(images) if again else images.clone()
            x[..., 1:, :].sub_(point[0])
            x[..., :-1, :].add_(point[0])
            x[..., :, 1:].sub_(point[1])
            x[..., :, :-1].add_(point[1])
            # 1/8 is the inverse of the largest eigenvalue of differences after their transpose.
            point[0].add_(x[..., 1:, :], alpha=1 / 8).sub_(x[..., :-1, :], alpha=1 / 8)
            point[1].add_(x[..., :, 1:], alpha=1 / 8).sub_(x[..., :, :-1], alpha=1 / 8)
            new = self._project(point, weights, again)
            following = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
            ahead = (momentum - 1) / following
            for n, o in zip(new, old, strict=True):
                o.mul_(-ahead).add_(n, alpha=1 + ahead)
            # What was old is now the point ahead.
            point, old, momentum = old, new, following
        return old[0], old[1]

    def _weights(self, images: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        if mask is None:
            mask = torch.ones_like(images[:, :1])
        down = torch.minimum(mask[..., 1:, :], mask[..., :-1, :])
        right = torch.minimum(mask[..., :, 1:], mask[..., :, :-1])
        if self.isotropic:
            # One weight for the two edges of a pixel: of a vector whose parts have weights of
            # their own, scaling is no projection.
            least = torch.minimum(
                torch.nn.functional.pad(down, (0, 0, 0, 1), value=math.inf),
                torch.nn.functional.pad(right, (0, 1), value=math.inf),
            )
            down, right = least[..., :-1, :], least[..., :, :-1]
        return self.strength * down, self.strength * right

    def _project(
        self, point: list[Tensor], weights: tuple[Tensor, Tensor], in_place: bool
    ) -> list[Tensor]:
        """Onto \\|p\\| <= weight, for each edge or for the two edges of a pixel together."""
        if not self.isotropic:
            return [
                torch.clamp(p, -w, w, out=p if in_place else None)
                for p, w in zip(point, weights, strict=True)
            ]
        down, right = point
        # A pixel of the last row or column has one edge only.
        vertical = torch.nn.functional.pad(down, (0, 0, 0, 1))
        horizontal = torch.nn.functional.pad(right, (0, 1))
        length = (vertical.square() + horizontal.square()).clamp(min=1e-20).sqrt()
        ends = length[..., :-1, :], length[..., :, :-1]
        return [
            p * (w / torch.maximum(end, w)).nan_to_num(0)
            for p, w, end in zip(point, weights, ends, strict=True)
        ]


class PlainChambolle(MaskedChambolle):
    """The exact minimum of Eq. 9 without a mask: what a mask is to be compared with.

    Args:
        strength: lambda; at 0.03 clean training photos have the size that they have behind
            :class:`MaskedChambolle` (docs/defense.md).
        steps, isotropic: see :class:`MaskedChambolle`.

    Raises:
        ValueError: if a value is out of range.
    """

    name = "plain_chambolle"

    def __init__(self, strength: float = 0.03, steps: int = 30, isotropic: bool = False) -> None:
        super().__init__(strength, None, steps, isotropic)

    @classmethod
    def default_mask(cls) -> Mask:
        return Everywhere()
