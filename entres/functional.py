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
