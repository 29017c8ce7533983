from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from entres.metrics import BitstreamSize


def test_size_over_batches_equals_numpy_over_all() -> None:
    sizes = np.random.default_rng(0).integers(100, 60_000, 997)
    metric = BitstreamSize()
    for part in np.array_split(sizes, 10):
        metric.update(torch.from_numpy(part))
    result = metric.compute()
    assert result["mean"].item() == pytest.approx(sizes.mean() / 1024, rel=1e-12)
    assert result["std"].item() == pytest.approx(sizes.std() / 1024, rel=1e-9)


def test_equal_sizes_have_no_spread() -> None:
    metric = BitstreamSize()
    metric.update(torch.full((7,), 12_345))
    assert metric.compute()["std"].item() == 0


def test_no_images_give_nan_and_negative_sizes_an_error() -> None:
    metric = BitstreamSize()
    assert math.isnan(metric.compute()["mean"].item())
    with pytest.raises(ValueError, match="bytes >= 0, got -1"):
        metric.update(torch.tensor([5, -1]))
