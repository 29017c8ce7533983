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
    levels = images.mul(255).round_().byte().cpu().numpy()
    decoded = np.empty_like(levels)
    # Pillow interleaves the channels, and takes them apart again, far faster than a permutation.
    for channels, target in zip(levels, decoded, strict=True):
        buffer = BytesIO()
        image = Image.merge("RGB", [Image.fromarray(channel) for channel in channels])
        image.save(buffer, "JPEG", quality=quality)
        with Image.open(buffer) as stored:
            for channel, values in zip(stored.split(), target, strict=True):
                values[:] = channel
    return torch.from_numpy(decoded).to(images.device, images.dtype) / 255
