"""Blur: defocus, glass, motion and zoom."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from entres.corruptions.base import EIGHT_BITS, Corruption, Parameters, draw
from entres.corruptions.filters import clipped_zoom, gaussian_blur, motion_blur


class DefocusBlur(Corruption[tuple[float, float]]):
    """Convolution with a disk. Parameters: its radius and the sigma that smooths its edge."""

    name = "defocus_blur"
    category = "blur"
    published = Parameters(
        imagenet=((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
        tiny_imagenet=((0.5, 0.6), (1, 0.1), (1.5, 0.1), (2.5, 0.01), (3, 0.1)),
        cifar10=((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
    )

    def corrupt(
        self, images: Tensor, strength: tuple[float, float], generators: Sequence[torch.Generator]
    ) -> Tensor:
        kernel = disk(*strength).to(images.device)
        margin = len(kernel) // 2
        padded = F.pad(images, (margin,) * 4, mode="reflect")
        size = padded.shape[-2:]
        # The disk is symmetric, so that correlation and convolution are the same.
        spectrum = torch.fft.rfft2(padded) * torch.fft.rfft2(kernel, s=size)
        blurred: Tensor = torch.fft.irfft2(spectrum, s=size)
        return blurred[..., 2 * margin :, 2 * margin :]


@lru_cache(maxsize=32)
def disk(radius: float, smoothing: float) -> Tensor:
    """A disk of sum 1 whose edge is smoothed, shape (K, K)."""
    reach, taps = (8, 3) if radius <= 8 else (int(radius), 5)
    line = torch.arange(-reach, reach + 1)
    inside = (line[:, None] ** 2 + line**2 <= radius**2).float()
    offsets = torch.arange(taps).double() - taps // 2
    weights = torch.exp(-0.5 * (offsets / smoothing) ** 2)
    weights = (weights / weights.sum()).float()
    padded = F.pad((inside / inside.sum())[None, None], (taps // 2,) * 4, mode="reflect")
    return F.conv2d(padded, (weights[:, None] * weights)[None, None])[0, 0]


class GlassBlur(Corruption[tuple[float, int, int]]):
    """Blurs, takes every pixel from a random place nearby, and blurs again.

    Parameters: sigma of the blur, the reach in pixels, and how many times pixels are taken.

    The published code means to swap two pixels, but a view of the array makes it copy one over the
    other; as does this. It goes over the pixels from the last to the first, so that a pixel may get
    what another one got before: :func:`scatter_sources` finds all origins at once.
    """

    name = "glass_blur"
    category = "blur"
    published = Parameters(
        imagenet=((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
        tiny_imagenet=((0.1, 1, 1), (0.5, 1, 1), (0.6, 1, 2), (0.7, 2, 1), (0.9, 2, 2)),
        cifar10=((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
    )

    def corrupt(
        self,
        images: Tensor,
        strength: tuple[float, int, int],
        generators: Sequence[torch.Generator],
    ) -> Tensor:
        sigma, reach, times = strength
        height, width = images.shape[-2:]
        levels = (gaussian_blur(images, sigma) * EIGHT_BITS).floor_().flatten(2)
        for _ in range(times):
            # Whole numbers from -reach to reach - 1.
            steps = draw(
                (2, height, width), generators, images.device, "uniform_", to=2 * reach
            ).long()
            sources = scatter_sources(steps[:, 0] - reach, steps[:, 1] - reach, reach)
            levels = levels.gather(2, sources[:, None].expand_as(levels))
        return gaussian_blur(levels.view_as(images) / EIGHT_BITS, sigma)


def scatter_sources(down: Tensor, right: Tensor, reach: int) -> Tensor:
    """Where every pixel comes from, when each in turn becomes a copy of a neighbour.

    The pixels from row H - reach to row reach + 1 and likewise the columns are gone over from the
    last to the first; pixel (y, x) becomes what stands at (y + down, x + right) at that moment.
    If that place was not reached yet, it holds its own pixel; else what it became, and so on. All
    chains of places are followed at once; half of them end at every step.

    Args:
        down: vertical steps, whole numbers in [-reach, reach), shape (N, H, W).
        right: horizontal steps, likewise.
        reach: see above.

    Returns:
        Indices into the H * W pixels, shape (N, H * W).
    """
    count, height, width = down.shape
    size = height * width
    place = torch.arange(count * size, device=down.device).view(count, height, width)
    moved = torch.zeros_like(place, dtype=torch.bool)
    moved[:, reach + 1 : height - reach + 1, reach + 1 : width - reach + 1] = True
    target = torch.where(moved, place + down * width + right, place).flatten()
    # A pixel that takes from one that was reached before it takes what that one took, and so on.
    follows = (target > place.flatten()) & moved.flatten()[target]
    source, open_ = target.clone(), follows.nonzero()[:, 0]
    while len(open_):
        reached = source[open_]
        source[open_] = target[reached]
        open_ = open_[follows[reached]]
    return source.view(count, size) % size


class MotionBlur(Corruption[tuple[int, float]]):
    """Blurs along a line of random direction, up to 45 degrees from the horizontal.

    Parameters: radius and sigma of the kernel, in pixels.
    """

    name = "motion_blur"
    category = "blur"
    published = Parameters(
        imagenet=((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
        tiny_imagenet=((10, 1), (10, 1.5), (10, 2), (10, 2.5), (12, 3)),
        cifar10=((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
    )

    def corrupt(
        self, images: Tensor, strength: tuple[int, float], generators: Sequence[torch.Generator]
    ) -> Tensor:
        angles = draw((), generators, images.device, "uniform_", **{"from": -45, "to": 45})
        return motion_blur(images, *strength, angles.cpu())


class ZoomBlur(Corruption[tuple[int, float]]):
    """The mean of an image and its enlargements.

    Parameters: how many enlargements there are, the first of which is by 1, and from each to the
    next one the step.
    """

    name = "zoom_blur"
    category = "blur"
    published = Parameters(
        imagenet=((12, 0.01), (16, 0.01), (11, 0.02), (13, 0.02), (11, 0.03)),
        tiny_imagenet=((7, 0.01), (12, 0.01), (16, 0.01), (21, 0.01), (26, 0.01)),
        cifar10=((7, 0.01), (12, 0.01), (16, 0.01), (21, 0.01), (26, 0.01)),
    )

    def corrupt(
        self, images: Tensor, strength: tuple[int, float], generators: Sequence[torch.Generator]
    ) -> Tensor:
        count, step = strength
        # As numpy.arange rounds: a factor decides how many whole pixels are enlarged.
        step = (1 + step) - 1
        images = images.contiguous(memory_format=torch.channels_last)  # Twice as fast.
        total = images.clone()
        for number in range(count):
            total += clipped_zoom(images, 1 + number * step)
        return total.contiguous() / (count + 1)
