"""Pure tensor functions that everything else is built from."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

KIB = 1024
"""Bytes in a KiB, the unit in which every size is reported."""


def bits_from_likelihoods(likelihoods: Iterable[Tensor]) -> Tensor:
    """The information content of a batch, the rate of Eq. 1: sum of -log2 P.

    Args:
        likelihoods: probabilities in (0, 1] of everything that travels, each of shape (N, ...).

    Returns:
        Bits per image, shape (N,).

    Raises:
        ValueError: if there is nothing to sum.
    """
    terms = [p.log().flatten(1).sum(1) for p in likelihoods]
    if not terms:
        raise ValueError("bits_from_likelihoods needs at least one tensor, got none")
    return torch.stack(terms).sum(0) / -math.log(2)


def bit_rate_map(likelihoods_y: Tensor) -> Tensor:
    """Where in an image the bits go: -log2 P, summed over the channels of the latent y.

    Args:
        likelihoods_y: probabilities in (0, 1], shape (N, channels, h, w).

    Returns:
        Bits per position of the latent, shape (N, h, w).
    """
    return -likelihoods_y.log2().sum(1)


def squared_error(inputs: Tensor, targets: Tensor) -> Tensor:
    """The squared error of every image, summed over all its elements.

    Args:
        inputs: shape (N, ...).
        targets: the same shape.

    Returns:
        Summed squared error, shape (N,).

    Raises:
        ValueError: if the shapes differ (broadcasting would hide a wrong split).
    """
    if inputs.shape != targets.shape:
        raise ValueError(f"shapes differ: {tuple(inputs.shape)} and {tuple(targets.shape)}")
    return (inputs - targets).square().flatten(1).sum(1)


def dct_matrix(size: int, device: torch.device | None = None) -> Tensor:
    """The orthonormal DCT-II: ``dct_matrix(n) @ x`` are the n coefficients of x.

    Args:
        size: n >= 1.
        device: where the matrix is made.

    Returns:
        Shape (n, n), float32; its inverse is its transpose. Row k is the cosine of frequency k.
    """
    position = torch.arange(size, dtype=torch.float64, device=device)
    matrix = torch.cos(math.pi / size * (position + 0.5) * position[:, None])
    matrix[0] /= math.sqrt(2)
    return (matrix * math.sqrt(2 / size)).float()


def low_pass(x: Tensor, ratio: float) -> Tensor:
    """Keep the lowest spatial frequencies of the DCT-II along the last two axes.

    Args:
        x: shape (..., H, W).
        ratio: share of the frequencies that are kept along each axis, in (0, 1]; the lowest
            always is.

    Returns:
        The same shape.

    Raises:
        ValueError: if ``ratio`` is out of range.
    """
    if not 0 < ratio <= 1:
        raise ValueError(f"ratio is a share in (0, 1], got {ratio}")
    for axis in (-2, -1):
        size = x.shape[axis]
        basis = dct_matrix(size, x.device)[: max(1, round(size * ratio))].to(x.dtype)
        projection = basis.T @ basis
        x = projection @ x if axis == -2 else x @ projection
    return x
