"""The filters that several corruptions share. Images are (N, C, H, W), any range."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Border = Literal["nearest", "reflect"]
GAUSSIAN_TRUNCATE = 4.0
"""Standard deviations at which scikit-image's Gaussian ends."""
LONGEST_SUM = 12
"""Radius of the kernel from which on a matrix is quicker."""


def gaussian_blur(
    x: Tensor, sigma: float, border: Border = "nearest", truncate: float = GAUSSIAN_TRUNCATE
) -> Tensor:
    """A Gaussian filter as scikit-image and SciPy sample it.

    A short kernel is a sum of shifted images; a long one, which may be longer than the image, is a
    matrix per axis.

    Args:
        x: shape (N, C, H, W).
        sigma: standard deviation in pixels; 0 changes nothing.
        border: ``nearest`` repeats the border pixel, ``reflect`` mirrors about the border's edge.
        truncate: the kernel ends after this many standard deviations.
    """
    if sigma == 0:
        return x
    radius = int(truncate * sigma + 0.5)
    if radius > LONGEST_SUM:
        rows, columns = (
            _gaussian_matrix(side, sigma, radius, border).to(x.device) for side in x.shape[-2:]
        )
        return rows @ (x @ columns.T)
    for axis in (-2, -1):
        side = x.shape[axis]
        padded = _padded(x, axis, radius, border)
        x = torch.zeros_like(x)
        for i, weight in enumerate(_gaussian(sigma, radius).tolist()):
            x.add_(padded.narrow(axis, i, side), alpha=weight)
    return x


def _gaussian(sigma: float, radius: int) -> Tensor:
    """The kernel of one axis, of sum 1, shape (2 * radius + 1,)."""
    weights = torch.exp(-0.5 * (torch.arange(-radius, radius + 1).double() / sigma) ** 2)
    return weights / weights.sum()


def _padded(x: Tensor, axis: int, radius: int, border: Border) -> Tensor:
    """Images with more pixels before and behind an axis, no more than it has."""
    # Slices: many times faster than an index_select along the last axis.
    reach = 1 if border == "nearest" else radius
    ends = [x.narrow(axis, first, reach) for first in (0, x.shape[axis] - reach)]
    if border == "nearest":
        shape = list(x.shape)
        shape[axis] = radius
        before, behind = (end.expand(shape) for end in ends)
    else:
        before, behind = (end.flip(axis) for end in ends)
    return torch.cat([before, x, behind], axis)


def _inside(places: Tensor, size: int, border: Border) -> Tensor:
    """The pixels that stand at places on an axis and beyond its borders."""
    if border == "nearest":
        return places.clamp(0, size - 1)
    places = places.remainder(2 * size)
    return torch.minimum(places, 2 * size - 1 - places)


@lru_cache(maxsize=16)
def _gaussian_matrix(size: int, sigma: float, radius: int, border: Border) -> Tensor:
    """The filter of one axis: row i holds the weights of output i, shape (size, size)."""
    places = torch.arange(size)[:, None] + torch.arange(-radius, radius + 1)
    matrix = torch.zeros(size, size, dtype=torch.float64)
    weights = _gaussian(sigma, radius).expand(size, -1)
    return matrix.scatter_add_(1, _inside(places, size, border), weights).float()


def motion_blur(x: Tensor, radius: int, sigma: float, angles: Tensor) -> Tensor:
    """A one-sided Gaussian along a line, as ImageMagick's ``-motion-blur`` does it.

    Output pixel p is the sum of w_i * x[p + i * (cos, sin)], i = 0 ... 2 * radius, the place
    rounded to a whole pixel; beyond the border stands the border's pixel.

    Args:
        x: shape (N, C, H, W).
        radius: half the length of the kernel in pixels.
        sigma: standard deviation of the weights in pixels.
        angles: of every image, in degrees, on the CPU, shape (N,).
    """
    height, width = x.shape[-2:]
    steps = range(2 * radius + 1)
    weights = [math.exp(-0.5 * (i / sigma) ** 2) for i in steps]
    weights = [weight / sum(weights) for weight in weights]
    padded = F.pad(x, (len(steps),) * 4, mode="replicate")
    blurred = torch.zeros_like(x)
    for image, source, angle in zip(blurred, padded, angles.tolist(), strict=True):
        right, down = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        for i, weight in enumerate(weights):
            left = len(steps) + math.ceil(i * right - 0.5)
            top = len(steps) + math.ceil(i * down - 0.5)
            image.add_(source[:, top : top + height, left : left + width], alpha=weight)
    return blurred


def clipped_zoom(x: Tensor, factor: float) -> Tensor:
    """Enlarge the middle of images, cut to their size.

    Args:
        x: shape (N, C, H, W).
        factor: of enlargement, >= 1.
    """
    size = x.shape[-2:]
    if factor == 1:
        return x
    # The middle that is enlarged to the size, or to a few pixels more.
    inner = [math.ceil(side / factor) for side in size]
    outer = [round(side * factor) for side in inner]
    top, left = ((side - part) // 2 for side, part in zip(size, inner, strict=True))
    middle = x[..., top : top + inner[0], left : left + inner[1]]
    zoomed = F.interpolate(middle, outer, mode="bilinear", align_corners=True)
    top, left = ((part - side) // 2 for side, part in zip(size, outer, strict=True))
    return zoomed[..., top : top + size[0], left : left + size[1]]
