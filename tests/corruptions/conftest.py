"""Real photographs as batches."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image

from entres.data.photos import load_photos

Photos = Callable[..., torch.Tensor]


@pytest.fixture(scope="session")
def photos() -> Photos:
    """Makes a batch of the embedded photos: their middle squares at a size, of 8 bits in [0, 1]."""

    def make(count: int = 4, size: int = 224) -> torch.Tensor:
        images = []
        for photo in load_photos()[:count]:
            side = min(photo.shape[:2])
            top, left = ((length - side) // 2 for length in photo.shape[:2])
            box = (left, top, left + side, top + side)
            images.append(Image.fromarray(photo).resize((size, size), Image.BICUBIC, box))
        pixels = torch.from_numpy(np.stack([np.asarray(image) for image in images]))
        return pixels.permute(0, 3, 1, 2).contiguous().float() / 255

    return make
