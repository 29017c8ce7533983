"""The template of all corruptions."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Generic, Literal, NamedTuple, TypeVar

import torch
from torch import Tensor

from entres.images import Images, checked_images
from entres.results import SEVERITIES

Category = Literal["noise", "blur", "weather", "digital"]
ImageSize = Literal[32, 64, 224]
"""Sides of the images, in pixels, that parameters were published for."""
MINIMUM_SIZE = 32
EIGHT_BITS = 255
"""The largest value of 8 bits; a pixel is one of its multiples of 1/255."""
_ROUNDING = 1e-3  # In units of 1/255: what float32 loses on a value that is a whole one.

Strength = TypeVar("Strength")


class Parameters(NamedTuple, Generic[Strength]):
    """The parameters of a corruption at severities 1 to 5, for three sizes of images.

    They are those of the code that made ImageNet-C, Tiny-ImageNet-C and CIFAR-10-C: Hendrycks and
    Dietterich, "Benchmarking neural network robustness to common corruptions and perturbations",
    ICLR 2019.
    """

    imagenet: tuple[Strength, Strength, Strength, Strength, Strength]
    tiny_imagenet: tuple[Strength, Strength, Strength, Strength, Strength]
    cifar10: tuple[Strength, Strength, Strength, Strength, Strength]

    def of(self, size: ImageSize, severity: int) -> Strength:
        """The parameters for one size and severity."""
        of_size = {224: self.imagenet, 64: self.tiny_imagenet, 32: self.cifar10}
        return of_size[size][severity - 1]


def nearest_size(side: int) -> ImageSize:
    """The size with published parameters that is nearest to a side, by their ratio.

    Up to 45 pixels that is 32, up to 119 it is 64, and 224 from there on.
    """
    sizes: tuple[ImageSize, ...] = (32, 64, 224)
    return min(sizes, key=lambda size: abs(math.log(side / size)))


class Corruption(ABC, Generic[Strength]):
    """Corrupts a batch of images on the device where it is.

    What comes back is of 8 bits, cut off and not rounded, as the published files were written: a
    faint image (``contrast`` at severity 5 keeps a dozen levels) is told from its noise by that.

    Attributes:
        name: what ImageNet-C calls it, and its folder.
        category: one of the four of ImageNet-C.
        published: its parameters.

    Args:
        severity: 1 to 5.
        parameters_for: size of the images, in pixels, whose published parameters are used; if None
            the one nearest to the short side of what is corrupted (:func:`nearest_size`).

    Raises:
        ValueError: if a value is not one of these.
    """

    name: ClassVar[str]
    category: ClassVar[Category]
    published: Parameters[Strength]

    def __init__(self, severity: int, parameters_for: ImageSize | None = None) -> None:
        if severity not in SEVERITIES:
            raise ValueError(f"severity must be one of {list(SEVERITIES)}, got {severity!r}")
        if parameters_for not in (None, 32, 64, 224):
            raise ValueError(f"parameters_for must be 32, 64, 224 or null, got {parameters_for!r}")
        self.severity = severity
        self.parameters_for = parameters_for

    def __call__(self, images: Images, generators: Sequence[torch.Generator]) -> Tensor:
        """Corrupt a batch.

        Args:
            images: in [0, 1] or of 8 bits, see :func:`entres.images.checked_images`; 32 pixels or
                more each way.
            generators: one per image, on the images' device. An image is changed in the same way
                in any batch. Devices of another kind draw other numbers from the same seed.

        Returns:
            In [0, 1], multiples of 1/255; shape, type and device of what was given (of 8 bits:
            float32).

        Raises:
            ValueError: if the images are no such batch, or there are too few generators.
        """
        images = checked_images(images)
        if min(images.shape[-2:]) < MINIMUM_SIZE:
            raise ValueError(
                f"images must have {MINIMUM_SIZE} pixels or more each way, got shape "
                f"{tuple(images.shape)}: enlarge them"
            )
        if len(generators) != len(images):
            raise ValueError(
                f"{len(generators)} generators for a batch of {len(images)}: give one per image"
            )
        if not len(images):
            return images.clone()
        strength = self.published.of(self.size_of(images), self.severity)
        corrupted = self.corrupt(images.detach().float().contiguous(), strength, generators)
        return eight_bits(corrupted).to(images.dtype)

    def size_of(self, images: Tensor) -> ImageSize:
        """The size whose published parameters are used for images of shape (N, 3, H, W)."""
        return self.parameters_for or nearest_size(min(images.shape[-2:]))

    @abstractmethod
    def corrupt(
        self, images: Tensor, strength: Strength, generators: Sequence[torch.Generator]
    ) -> Tensor:
        """What a corruption does.

        Args:
            images: float32, contiguous, shape (N, 3, H, W); not to be changed in place.
            strength: the parameters.
            generators: one per image.

        Returns:
            The same shape, of any range: what lies outside [0, 1] is clamped.
        """


def eight_bits(images: Tensor) -> Tensor:
    """Clamp to [0, 1] and cut off to multiples of 1/255. Changes nothing that is one already."""
    levels = (images * EIGHT_BITS).add_(_ROUNDING).floor_()
    return levels.clamp_(0, EIGHT_BITS).div_(EIGHT_BITS)


def draw(
    shape: Sequence[int],
    generators: Sequence[torch.Generator],
    device: torch.device,
    distribution: Literal["normal_", "uniform_"],
    **parameters: Any,
) -> Tensor:
    """Random numbers of every image from its own generator, float32.

    Args:
        shape: of the numbers of one image.
        generators: N of them.
        device: where they are drawn.
        distribution: a method of a tensor that fills it.
        parameters: of the distribution.

    Returns:
        Shape ``(N, *shape)``.
    """
    numbers = torch.empty(len(generators), *shape, device=device)
    for part, generator in zip(numbers, generators, strict=True):
        getattr(part, distribution)(**parameters, generator=generator)
    return numbers
