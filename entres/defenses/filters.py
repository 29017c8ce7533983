"""Plain filters that any reviewer asks for."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor
from torch.nn import functional as F

from entres.corruptions.jpeg import jpeg
from entres.defenses.base import Defense, blend
from entres.defenses.masks import Mask, gaussian_blur


class Filter(Defense):
    """A defense that knows no mask; what it made is blended in where the mask says so."""

    @abstractmethod
    def filter(self, images: Tensor) -> Tensor:
        """The filtered images."""

    def denoise(self, images: Tensor, mask: Tensor | None) -> Tensor:
        return blend(images, self.filter(images), mask)


class GaussianBlur(Filter):
    """A Gaussian.

    Args:
        strength: its standard deviation in px.
        mask: see :class:`Defense`.
    """

    name = "gaussian_blur"

    def __init__(self, strength: float = 1.0, mask: Mask | None = None) -> None:
        super().__init__(strength, mask)

    def filter(self, images: Tensor) -> Tensor:
        return gaussian_blur(images, self.strength)


class MedianFilter(Filter):
    """The median of a square window of each channel.

    Args:
        strength: side of the window in px, odd.
        mask: see :class:`Defense`.
    """

    name = "median"

    def __init__(self, strength: float = 3, mask: Mask | None = None) -> None:
        super().__init__(strength, mask)

    def _check_strength(self) -> None:
        super()._check_strength()
        if self.strength % 2 != 1:
            raise ValueError(f"the median's window has an odd side in px, got {self.strength}")

    def filter(self, images: Tensor) -> Tensor:
        side = int(self.strength)
        padded = F.pad(images, (side // 2,) * 4, mode="reflect")
        windows = padded.unfold(2, side, 1).unfold(3, side, 1)
        medians: Tensor = windows.flatten(-2).median(-1).values
        return medians


class BitDepth(Filter):
    """Fewer levels per channel. Not differentiable: its gradient is 0.

    Args:
        strength: bits per channel, 1 to 8.
        mask: see :class:`Defense`.
    """

    name = "bit_depth"
    differentiable = False

    def __init__(self, strength: float = 4, mask: Mask | None = None) -> None:
        super().__init__(strength, mask)

    def _check_strength(self) -> None:
        if self.strength not in range(1, 9):
            raise ValueError(f"bits per channel must be 1, 2, ... or 8, got {self.strength}")

    def filter(self, images: Tensor) -> Tensor:
        levels: int = 2 ** int(self.strength) - 1
        return (images * levels).round() / levels


class JPEG(Filter):
    """Coded and decoded by Pillow, on the processor. Not differentiable.

    Args:
        strength: quality, 1 to 95.
        mask: see :class:`Defense`.
    """

    name = "jpeg"
    differentiable = False

    def __init__(self, strength: float = 75, mask: Mask | None = None) -> None:
        super().__init__(strength, mask)

    def _check_strength(self) -> None:
        if self.strength not in range(1, 96):
            raise ValueError(f"JPEG's quality must be 1, 2, ... or 95, got {self.strength}")

    def filter(self, images: Tensor) -> Tensor:
        return jpeg(images.detach(), int(self.strength))
