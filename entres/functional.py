"""Pure tensor functions that everything else is built from."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


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


def relative_error(inputs: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
    """The squared error of every image in units of the targets' energy, mean over several features.

    Args:
        inputs: each of shape (N, ...).
        targets: as many, each of the shape of its input.

    Returns:
        Shape (N,), float32: 0 where they are alike, 1 where the inputs are zero. Targets without
        any energy count as an energy of one.

    Raises:
        ValueError: if numbers or shapes differ.
    """
    errors = []
    for given, wanted in zip(inputs, targets, strict=True):
        # Sums of squares overflow in half precision.
        error = squared_error(given.float(), wanted.float())
        energy = wanted.float().square().flatten(1).sum(1)
        errors.append(error / energy.masked_fill(energy == 0, 1))
    return torch.stack(errors).mean(0)


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


def bit_rate_map(likelihoods: Tensor) -> Tensor:
    """Bits at every position of a latent (Fig. 5): -log2 P, summed over the channels.

    Args:
        likelihoods: of one latent, in (0, 1], shape (N, channels, h, w).

    Returns:
        Shape (N, h, w); its sum over positions is the rate of that latent.
    """
    return -likelihoods.log2().sum(1)


def total_variation(x: Tensor) -> Tensor:
    """The anisotropic total variation of Eq. 8: the sum of absolute differences of neighbours.

    Args:
        x: images, shape (N, C, H, W).

    Returns:
        Summed over channels, shape (N,), in units of ``x``.
    """
    down, right = differences(x)
    return down.abs().flatten(1).sum(1) + right.abs().flatten(1).sum(1)


def differences(x: Tensor) -> tuple[Tensor, Tensor]:
    """Forward differences down and to the right, shapes (..., H - 1, W) and (..., H, W - 1)."""
    return x[..., 1:, :] - x[..., :-1, :], x[..., :, 1:] - x[..., :, :-1]


def differences_transposed(down: Tensor, right: Tensor) -> Tensor:
    """The adjoint of :func:`differences`: minus the divergence, shape (..., H, W)."""
    vertical = F.pad(down, (0, 0, 1, 0)) - F.pad(down, (0, 0, 0, 1))
    return vertical + (F.pad(right, (1, 0)) - F.pad(right, (0, 1)))


def total_variation_subgradient(x: Tensor, sign: Callable[[Tensor], Tensor] = torch.sign) -> Tensor:
    """A subgradient of :func:`total_variation`, the gradient wherever no neighbours are equal.

    Args:
        x: shape (N, C, H, W).
        sign: what stands for the sign, for a caller who wants to differentiate once more.

    Returns:
        The same shape: signs of the differences to the upper and left neighbours minus those to the
        lower and right ones, an integer from -4 to 4.
    """
    down, right = differences(x)
    return differences_transposed(sign(down), sign(right))


def total_variation_map(x: Tensor, patch: int = 4) -> Tensor:
    """The total variation inside each square patch (Fig. 5).

    Args:
        x: images, shape (N, C, H, W).
        patch: side of a patch in px, >= 2. What is left over at the right and lower edge of the
            image is dropped.

    Returns:
        Shape (N, H // patch, W // patch).

    Raises:
        ValueError: if no patch fits, or it has no neighbours inside.
    """
    number, _, height, width = x.shape
    rows, columns = height // patch, width // patch
    if patch < 2 or not rows or not columns:
        raise ValueError(f"patch must be from 2 to the side of a {height} x {width} image: {patch}")
    whole = x[..., : rows * patch, : columns * patch]
    patches = whole.unfold(2, patch, patch).unfold(3, patch, patch)  # (N, C, rows, columns, p, p)
    flat = patches.permute(0, 2, 3, 1, 4, 5).reshape(-1, x.shape[1], patch, patch)
    return total_variation(flat).reshape(number, rows, columns)


class _AtLeast(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, bound: float) -> Tensor:
        return x.clamp(min=bound)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


def at_least(x: Tensor, bound: float) -> Tensor:
    """The larger of both; below the bound the gradient passes as if there were none.

    compressai's ``LowerBound`` lets it pass only where descent would leave the bound: whoever
    ascends the likelihood has none there.

    Args:
        x: any shape.
        bound: the least value of the result.
    """
    result: Tensor = _AtLeast.apply(x, bound)
    return result
