"""JPEG, coded and decoded by Pillow's libjpeg on the CPU."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def jpeg(images: Tensor, quality: int) -> Tensor:
    """Code and decode images.

    Args:
        images: in [0, 1], shape (N, 3, H, W).
        quality: 1 to 95, of libjpeg's scale, with Pillow's subsampling of chroma.

    Returns:
        The same shape, type and device.

    Raises:
        ValueError: if the quality is out of range.
    """
    if not 1 <= quality <= 95:
        raise ValueError(f"the quality of JPEG is a number from 1 to 95, got {quality}")
    levels = images.permute(0, 2, 3, 1).mul(255).round_().byte().cpu().numpy()
    decoded = []
    for level in levels:
        buffer = BytesIO()
        Image.fromarray(level).save(buffer, "JPEG", quality=quality)
        with Image.open(buffer) as stored:
            decoded.append(np.asarray(stored))
    batch = torch.from_numpy(np.stack(decoded)).to(images.device)
    return batch.permute(0, 3, 1, 2).to(images.dtype, memory_format=torch.contiguous_format) / 255
