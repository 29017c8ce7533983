"""The filters that several corruptions share. Images are (N, C, H, W), any range."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

GAUSSIAN_TRUNCATE = 4.0
"""Standard deviations at which scikit-image's Gaussian ends."""


def gaussian_blur(
    x: Tensor, sigma: float, border: str = "nearest", truncate: float = GAUSSIAN_TRUNCATE
) -> Tensor:
    """A Gaussian filter as scikit-image and SciPy sample it.

    One matrix per axis: it costs the same for any sigma, and a kernel may be longer than the image.

    Args:
        x: shape (N, C, H, W).
        sigma: standard deviation in pixels; 0 changes nothing.
        border: ``nearest`` repeats the border pixel, ``reflect`` mirrors about the border's edge.
        truncate: the kernel ends after this many standard deviations.
    """
    if sigma == 0:
        return x
    height, width = x.shape[-2:]
    rows = _gaussian_matrix(height, sigma, border, truncate, x.device)
    columns = _gaussian_matrix(width, sigma, border, truncate, x.device)
    return rows @ (x @ columns.T)


@lru_cache(maxsize=64)
def _gaussian_matrix(
    size: int, sigma: float, border: str, truncate: float, device: torch.device
) -> Tensor:
    """The filter of one axis: row i holds the weights of output i, shape (size, size)."""
    radius = int(truncate * sigma + 0.5)
    offsets = torch.arange(-radius, radius + 1)
    weights = torch.exp(-0.5 * (offsets.double() / sigma) ** 2)
    position = torch.arange(size)[:, None] + offsets
    if border == "nearest":
        position = position.clamp(0, size - 1)
    else:
        position = position.remainder(2 * size)
        position = torch.minimum(position, 2 * size - 1 - position)
    matrix = torch.zeros(size, size, dtype=torch.float64)
    matrix.scatter_add_(1, position, (weights / weights.sum()).expand(size, -1))
    return matrix.float().to(device)


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
