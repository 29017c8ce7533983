"""Digital: contrast, elastic transform, pixelate and JPEG."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from entres.corruptions.base import EIGHT_BITS, Corruption, Parameters, draw
from entres.corruptions.filters import gaussian_blur
from entres.corruptions.jpeg import jpeg


class Contrast(Corruption[float]):
    """Moves every value towards its channel's mean; the parameter is the contrast that is left."""

    name = "contrast"
    category = "digital"
    published = Parameters(
        imagenet=(0.4, 0.3, 0.2, 0.1, 0.05),
        tiny_imagenet=(0.4, 0.3, 0.2, 0.1, 0.05),
        cifar10=(0.75, 0.5, 0.4, 0.3, 0.15),
    )

    def corrupt(
        self, images: Tensor, strength: float, generators: Sequence[torch.Generator]
    ) -> Tensor:
        return torch.lerp(images.mean((-1, -2), keepdim=True), images, strength)


class ElasticTransform(Corruption[tuple[float, float, float]]):
    """Moves three corners of a square at random, and every pixel by smooth noise.

    Parameters, in pixels: scale of the noise, sigma of its smoothing, and the most that a corner
    moves. Those for 224 px are of 244 px in the published code.
    """

    name = "elastic_transform"
    category = "digital"
    published = Parameters(
        imagenet=(
            (488, 170.8, 24.4),
            (488, 19.52, 48.8),
            (12.2, 2.44, 4.88),
            (17.08, 2.44, 4.88),
            (29.28, 2.44, 4.88),
        ),
        tiny_imagenet=(
            (0, 0, 5.12),
            (3.2, 19.2, 3.84),
            (6.4, 5.12, 3.84),
            (6.4, 1.92, 1.92),
            (10.24, 1.92, 1.28),
        ),
        cifar10=(
            (0, 0, 2.56),
            (1.6, 6.4, 2.24),
            (2.56, 1.92, 1.92),
            (3.2, 1.28, 1.6),
            (3.2, 0.96, 0.96),
        ),
    )

    def corrupt(
        self,
        images: Tensor,
        strength: tuple[float, float, float],
        generators: Sequence[torch.Generator],
    ) -> Tensor:
        scale, sigma, reach = strength
        shape = images.shape[-2:]
        limits = {"from": -reach, "to": reach}
        moves = draw((3, 2), generators, images.device, "uniform_", **limits)
        warped = sample(images, affine_places(shape, moves), about_centres=True)
        if scale == 0:
            return warped
        noise = draw((2, *shape), generators, images.device, "uniform_", **{"from": -1, "to": 1})
        moved = gaussian_blur(noise, sigma, border="reflect", truncate=3) * scale
        return sample(warped, pixel_places(shape, images.device) + moved.permute(0, 2, 3, 1), False)


@lru_cache(maxsize=8)
def pixel_places(shape: torch.Size, device: torch.device) -> Tensor:
    """The place (x, y) of every pixel, shape (H, W, 2); not to be changed in place."""
    rows, columns = (torch.arange(n, device=device, dtype=torch.float32) for n in shape)
    return torch.stack(torch.meshgrid(columns, rows, indexing="xy"), -1)


def affine_places(shape: torch.Size, moves: Tensor) -> Tensor:
    """Where every pixel comes from when three corners of a square in the middle are moved.

    Args:
        shape: height and width.
        moves: (x, y) of every corner, in pixels, shape (N, 3, 2).

    Returns:
        Places (x, y), shape (N, H, W, 2).
    """
    reach = min(shape) // 3
    signs = torch.tensor([[1, 1], [1, -1], [-1, -1]], device=moves.device)
    corners = torch.tensor([shape[1] // 2, shape[0] // 2], device=moves.device) + reach * signs
    # In double precision: a few equations.
    moved = F.pad(corners + moves.double(), (0, 1), value=1)
    inverse = torch.linalg.solve(moved, corners.double().expand(len(moves), -1, -1)).float()
    places: Tensor = (
        pixel_places(shape, moves.device).flatten(0, 1) @ inverse[:, :2] + inverse[:, 2:]
    )
    return places.view(-1, *shape, 2)


def sample(images: Tensor, places: Tensor, about_centres: bool) -> Tensor:
    """Bilinear values of images at places; beyond the border they are mirrored.

    Args:
        images: shape (N, C, H, W).
        places: (x, y) in pixels, shape (N, H, W, 2).
        about_centres: mirror about the centres of border pixels, not about their outer edges.
    """
    size = torch.tensor([images.shape[-1], images.shape[-2]], device=images.device)
    grid = 2 * places / (size - 1) - 1 if about_centres else (2 * places + 1) / size - 1
    sampled: Tensor = F.grid_sample(
        images, grid, mode="bilinear", padding_mode="reflection", align_corners=about_centres
    )
    return sampled


class Pixelate(Corruption[float]):
    """Shrinks an image and enlarges it again, in boxes; the parameter is the factor.

    What Pillow's box filter does: each axis rounded to 8 bits, the width first.
    """

    name = "pixelate"
    category = "digital"
    published = Parameters(
        imagenet=(0.6, 0.5, 0.4, 0.3, 0.25),
        tiny_imagenet=(0.9, 0.8, 0.7, 0.6, 0.5),
        cifar10=(0.95, 0.9, 0.85, 0.75, 0.65),
    )

    def corrupt(
        self, images: Tensor, strength: float, generators: Sequence[torch.Generator]
    ) -> Tensor:
        levels = images * EIGHT_BITS
        for axis in (-1, -2):
            side = images.shape[axis]
            small = int(side * strength)
            taps, weights = (t.to(images.device) for t in box_taps(side, small))
            shape = (-1, 1) if axis == -2 else (-1,)
            parts = [
                levels.index_select(axis, tap).mul_(weight.view(shape))
                for tap, weight in zip(taps, weights, strict=True)
            ]
            levels = torch.stack(parts).sum(0).add_(0.5).floor_() if len(parts) > 1 else parts[0]
        return F.interpolate(levels, images.shape[-2:], mode="nearest-exact") / EIGHT_BITS


@lru_cache(maxsize=64)
def box_taps(side: int, small: int) -> tuple[Tensor, Tensor]:
    """Pixels and weights of a box filter from ``side`` to ``small`` pixels, each (taps, small)."""
    scale = side / small
    centres = (torch.arange(small).double() + 0.5) * scale
    first = (centres - scale / 2 + 0.5).long().clamp(min=0)
    last = (centres + scale / 2 + 0.5).long().clamp(max=side)
    taps = first + torch.arange(int((last - first).max()))[:, None]
    distance = (taps - centres + 0.5) / scale
    inside = (taps < last) & (distance > -0.5) & (distance <= 0.5)
    return taps.clamp(max=side - 1), (inside / inside.sum(0)).float()


class JPEGCompression(Corruption[int]):
    """Goes through JPEG; the parameter is its quality."""

    name = "jpeg_compression"
    category = "digital"
    published = Parameters(
        imagenet=(25, 18, 15, 10, 7),
        tiny_imagenet=(65, 58, 50, 40, 25),
        cifar10=(80, 65, 58, 50, 40),
    )

    def corrupt(
        self, images: Tensor, strength: int, generators: Sequence[torch.Generator]
    ) -> Tensor:
        return jpeg(images, strength)
