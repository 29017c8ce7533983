"""Metrics of what travels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from entres.bitstream import KIB


class BitstreamSize(Metric):
    """Mean and standard deviation of the size of a stream over images, in KiB (1024 bytes).

    ``update`` takes the bytes of each image, shape (N,); ``compute`` gives ``{"mean", "std"}``. The
    standard deviation is that of the population, as published sizes are given. Sums are kept in
    double precision, so that any number of images and ranks gives the same figures.
    """

    full_state_update = False
    images: Tensor
    total: Tensor
    squares: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name in ("images", "total", "squares"):
            self.add_state(name, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, sizes: Tensor) -> None:
        """Add the bytes of each image, shape (N,), all >= 0."""
        sizes = sizes.detach().to(torch.float64)
        if (sizes < 0).any():
            raise ValueError(f"sizes are bytes >= 0, got {sizes.min().item():g}")
        self.images += sizes.numel()
        self.total += sizes.sum()
        self.squares += sizes.square().sum()

    def compute(self) -> dict[str, Tensor]:
        """Mean and standard deviation in KiB, NaN without images."""
        mean = self.total / self.images
        variance = (self.squares / self.images - mean.square()).clamp(min=0)
        return {"mean": mean / KIB, "std": variance.sqrt() / KIB}
