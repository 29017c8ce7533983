"""The template of all defenses."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from entres.defenses.masks import Everywhere, Mask
from entres.images import Images, checked_images
from entres.models import Codec, CodingPlan, EntropicStudent, Quantization


class Defended(NamedTuple):
    """What a defense made of a batch.

    Attributes:
        images: what the head gets, shape of what was received.
        mask: where and how much was denoised, in [0, 1], shape (N, 1, H, W); None for everywhere.
        applied: whether an image was defended at all, shape (N,), bool.
    """

    images: Tensor
    mask: Tensor | None
    applied: Tensor


class Defense(ABC):
    """Takes out of an image, on the device and before it is coded, what costs bits needlessly.

    ::

        received x' ──► mask (from the head's entropy model) ──► denoise(x', mask) ──► head

    Batched, on the device where the images are; what was received is never changed in place.
    Calling it, :meth:`defend` and :meth:`make_mask` look at the images; :meth:`protect` is the
    inside of :meth:`defend`, for who has looked.

    Attributes:
        name: what the results call it.
        differentiable: whether a gradient passes it; if not, an attacker has to approximate it.
        limits_symbols: whether :meth:`limit` may change what is sent.

    Args:
        strength: the one number that trades size for accuracy, > 0; each class says what it is.
        mask: makes the mask; None is the class's own (:meth:`default_mask`), and
            :class:`entres.defenses.Everywhere` denoises everywhere alike.

    Raises:
        ValueError: if the strength is out of range.
    """

    name: str
    differentiable = True
    limits_symbols = False

    def __init__(self, strength: float, mask: Mask | None = None) -> None:
        self.strength = strength
        self.mask = mask or self.default_mask()
        self._check_strength()

    @classmethod
    def default_mask(cls) -> Mask:
        """The mask that belongs to the defense: everywhere, unless overridden."""
        return Everywhere()

    def _check_strength(self) -> None:
        if not (self.strength > 0 and math.isfinite(self.strength)):
            raise ValueError(f"strength of {self.name} must be > 0, got {self.strength}")

    def at(self, strength: float) -> Defense:
        """The same defense with another strength."""
        other = copy.copy(self)
        other.strength = strength
        other._check_strength()
        return other

    def __call__(self, images: Images, mask: Tensor | None = None) -> Tensor:
        """Denoise a batch.

        Args:
            images: in [0, 1] or of 8 bits, see :func:`entres.images.checked_images`; N may be 0.
            mask: 1 denoises fully, 0 leaves the pixel as it is, shape (N, 1, H, W); None is 1.

        Returns:
            The same shape.

        Raises:
            ValueError: if images or mask are no such batch.
        """
        return self._denoise(checked_images(images), mask)

    def _denoise(self, images: Tensor, mask: Tensor | None) -> Tensor:
        wanted = (len(images), 1, *images.shape[-2:])
        if mask is not None and mask.shape != wanted:
            raise ValueError(f"the mask must have shape {wanted}, got {tuple(mask.shape)}")
        return self.denoise(images, mask) if len(images) else images.clone()

    @abstractmethod
    def denoise(self, images: Tensor, mask: Tensor | None) -> Tensor:
        """What a defense does; its arguments are checked, and there is at least one image."""

    def make_mask(
        self, student: EntropicStudent, images: Images, quantization: Quantization = "round"
    ) -> Tensor | None:
        """Where to denoise these images, see :class:`Defended`; arguments as of :meth:`defend`."""
        return self.mask(student, images, quantization)

    def defend(
        self,
        student: EntropicStudent,
        images: Images,
        quantization: Quantization = "round",
        mask: Tensor | None = None,
    ) -> Defended:
        """Make the mask with a student's entropy model, and denoise.

        Args:
            student: whose head is defended.
            images: in [0, 1] or of 8 bits, see :func:`entres.images.checked_images`; N may be 0.
            quantization: of the latents whose likelihoods make the mask; only ``straight_through``
                passes a gradient through it.
            mask: what :meth:`make_mask` gave for these images, if that was called before.

        Raises:
            ValueError: if images or mask are no such batch.
        """
        return self.protect(student, checked_images(images), quantization, mask)

    def protect(
        self,
        student: EntropicStudent,
        images: Tensor,
        quantization: Quantization = "round",
        mask: Tensor | None = None,
    ) -> Defended:
        """What :meth:`defend` does with images that are checked."""
        if mask is None:
            mask = self.mask.make(student, images, quantization)
        everything = torch.ones(len(images), dtype=torch.bool, device=images.device)
        return Defended(self._denoise(images, mask), mask, everything)

    def limit(self, codec: Codec, plan: CodingPlan) -> CodingPlan:
        """What becomes of the symbols before they are coded; nothing, unless ``limits_symbols``."""
        return plan


def wants_gradient(images: Tensor, mask: Tensor | None) -> bool:
    """Whether a gradient may be asked for; if not, memory can be used again at every step."""
    given = images.requires_grad or (mask is not None and mask.requires_grad)
    return given and torch.is_grad_enabled()


def image_by_image(
    run: Callable[[Tensor, Tensor | None], Tensor], images: Tensor, mask: Tensor | None
) -> Tensor:
    """Run an iteration of a defense over a batch, on a CPU over one image after the other.

    What an iteration over one image touches stays in the processor's cache; that of a batch does
    not, and takes half as long again.
    """
    if images.device.type != "cpu":
        return run(images, mask)
    each = range(len(images))
    return torch.cat(
        [run(images[i : i + 1], None if mask is None else mask[i : i + 1]) for i in each]
    )


def blend(images: Tensor, denoised: Tensor, mask: Tensor | None) -> Tensor:
    """Denoised where the mask is 1, as received where it is 0."""
    return denoised if mask is None else images + mask * (denoised - images)
