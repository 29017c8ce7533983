"""Descent on the total variation: as the paper describes it, and as it was published."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from entres.defenses.base import Defense, image_by_image, wants_gradient
from entres.defenses.masks import LikelihoodMask, Mask
from entres.functional import differences, total_variation_subgradient


class MaskedTV(Defense):
    """x <- x - alpha * m * ((x - x') + lambda * g(x)), g a subgradient of Eq. 8 (Eq. 10 and 11).

    The mask of Eq. 11 is a step size for each pixel: where it is not 0 it changes how fast the
    minimum is reached, not which. After many steps only pixels whose mask is all but 0 are spared.

    The subgradient is made of signs, whose derivative is 0: differentiated as it stands, the whole
    iteration is the identity. A gradient here passes each sign as that of d / sqrt(d^2 + s^2), with
    s = 8 alpha lambda, the least at which no step of the backward pass can grow. The images
    themselves do not depend on that.

    Args:
        strength: lambda, the weight of the total variation; pixels lie in [0, 1].
        mask: see :class:`Defense`; its own is the paper's, the likelihood as it is.
        alpha: size of the steps, in (0, 1].
        steps: their number, >= 1.

    Raises:
        ValueError: if a value is out of range.
    """

    name = "masked_tv"

    def __init__(
        self,
        strength: float = 0.02,
        mask: Mask | None = None,
        alpha: float = 0.15,
        steps: int = 100,
    ) -> None:
        super().__init__(strength, mask)
        if not 0 < alpha <= 1 or steps < 1:
            raise ValueError(f"alpha must be in (0, 1] and steps >= 1, got {alpha} and {steps}")
        self.alpha = alpha
        self.steps = steps

    @classmethod
    def default_mask(cls) -> Mask:
        return LikelihoodMask()

    def denoise(self, images: Tensor, mask: Tensor | None) -> Tensor:
        if not wants_gradient(images, mask):
            return image_by_image(self._in_place, images, mask)
        step = self._step(images, mask)
        width = 8 * self.alpha * self.strength

        def sign(differences: Tensor) -> Tensor:
            signs: Tensor = _PassedSign.apply(differences, width)
            return signs

        x = images
        for _ in range(self.steps):
            x = x - step * ((x - images) + self.strength * total_variation_subgradient(x, sign))
        return x.clamp(0, 1)

    def _step(self, images: Tensor, mask: Tensor | None) -> Tensor:
        return images.new_tensor(self.alpha) if mask is None else self.alpha * mask

    def _in_place(self, images: Tensor, mask: Tensor | None) -> Tensor:
        """The same, bit for bit, in memory that is used again: twice as fast."""
        x, step = images.clone(), self._step(images, mask)
        change, fidelity = torch.empty_like(x), torch.empty_like(x)
        down, right = (torch.empty_like(d) for d in differences(x))
        for _ in range(self.steps):
            torch.sub(x[..., 1:, :], x[..., :-1, :], out=down).sign_()
            torch.sub(x[..., :, 1:], x[..., :, :-1], out=right).sign_()
            change.zero_()
            change[..., 1:, :].add_(down)
            change[..., :-1, :].sub_(down)
            change[..., :, 1:].add_(right)
            change[..., :, :-1].sub_(right)
            torch.sub(x, images, out=fidelity)
            x.sub_(change.mul_(self.strength).add_(fidelity).mul_(step))
        return x.clamp_(0, 1)


class PublishedDenoising(Defense):
    """What the published code computes, bit for bit; only what it received stays as it was.

    Its x and x' are one memory, so that the fidelity term is always 0; and in place of a
    subgradient it adds plain forward differences. Both together move the image by about one pixel
    and blur it.

    Args:
        strength: lambda; published 0.1.
        mask: see :class:`Defense`; its own is the paper's, as in the published code.
        alpha: size of the steps; published 0.15.
        steps: their number; published 100.
    """

    name = "published"

    def __init__(
        self,
        strength: float = 0.1,
        mask: Mask | None = None,
        alpha: float = 0.15,
        steps: int = 100,
    ) -> None:
        super().__init__(strength, mask)
        self.alpha = alpha
        self.steps = steps

    @classmethod
    def default_mask(cls) -> Mask:
        return LikelihoodMask()

    def denoise(self, images: Tensor, mask: Tensor | None) -> Tensor:
        if not wants_gradient(images, mask):
            return image_by_image(self._in_place, images, mask)
        x = images
        for _ in range(self.steps):
            down, right = differences(x)
            summed = torch.nn.functional.pad(down, (0, 0, 0, 1))
            summed = summed + torch.nn.functional.pad(right, (0, 1))
            update = self.alpha * (self.strength * summed)
            x = x + (update if mask is None else update * mask)
        return x

    def _in_place(self, images: Tensor, mask: Tensor | None) -> Tensor:
        """The same, bit for bit, in memory that is used again: twice as fast."""
        x = images.clone()
        change = torch.zeros_like(x)
        right = torch.empty_like(x[..., :, 1:])
        for _ in range(self.steps):
            change[..., -1, :].zero_()
            torch.sub(x[..., 1:, :], x[..., :-1, :], out=change[..., :-1, :])
            torch.sub(x[..., :, 1:], x[..., :, :-1], out=right)
            change[..., :, :-1].add_(right)
            change.mul_(self.strength).mul_(self.alpha)
            x.add_(change if mask is None else change.mul_(mask))
        return x


class _PassedSign(torch.autograd.Function):
    """The sign, with the derivative of d / sqrt(d^2 + width^2)."""

    @staticmethod
    def forward(ctx: Any, differences: Tensor, width: float) -> Tensor:
        ctx.save_for_backward(differences)
        ctx.width = width
        return differences.sign()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (differences,) = ctx.saved_tensors
        slope = ctx.width**2 * (differences.square() + ctx.width**2).pow(-1.5)
        return gradient * slope, None
