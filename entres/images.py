"""The one check of images: whoever takes them takes the same, and refuses in the same words.

Images are a batch in [0, 1], shape (N, 3, H, W), not normalized. A network handed anything else
computes something all the same: values from 0 to 255 only make a longer stream, NaN spreads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from entres.image_faults import (
    ROUNDING,
    WANTED,
    not_finite,
    out_of_range,
    shape_fault,
    tensor_fault,
    type_fault,
)

Images = Tensor | NDArray[Any] | Sequence[Tensor | NDArray[Any]]
"""What :func:`checked_images` takes: a batch, or single images of one size, each (3, H, W)."""


def checked_images(images: Images) -> Tensor:
    """Images as every part of entres takes them. Looks at every value, so not for an inner loop.

    Args:
        images: floating point in [0, 1], or uint8 from 0 to 255; shape (N, 3, H, W), N may be 0.
            Instead of a tensor a numpy array, or a list of images of one size.

    Returns:
        A tensor on the device where they were, shape (N, 3, H, W): floating point keeps its type,
        uint8 becomes float32. A rounding error outside of [0, 1] is clamped. What needs no change
        is what was given.

    Raises:
        ValueError: if they are anything else; the message guesses what they are.
    """
    batch = _as_batch(images)
    if batch.dtype == torch.uint8:
        _check_shape(batch)
        return batch.float() / 255
    check_batch(batch)
    if not batch.numel():
        return batch
    low, high = torch.stack(torch.aminmax(batch.detach())).tolist()  # NaN comes out of both
    if low >= 0 and high <= 1:
        return batch
    # A value just above 1 cannot be nearer than the next one of its type.
    tolerance = max(ROUNDING, torch.finfo(batch.dtype).eps)
    if low >= -tolerance and high <= 1 + tolerance:
        return batch.clamp(0, 1)
    finite = batch.detach().isfinite().flatten(1).all(1)
    if not finite.all():
        number = int((~finite).nonzero()[0])
        raise ValueError(not_finite(number, len(batch)))
    raise ValueError(out_of_range(low, high))


def check_batch(images: Images) -> None:
    """The part of the check that looks at no value and so never waits for a device.

    Args:
        images: floating point, shape (N, 3, H, W).

    Raises:
        ValueError: if they are of another type or shape.
    """
    if not isinstance(images, Tensor):
        raise ValueError(tensor_fault(f"{type(images).__module__}.{type(images).__name__}"))
    if images.dtype == torch.uint8:
        raise ValueError(tensor_fault("uint8"))
    if not images.is_floating_point():
        raise ValueError(type_fault(_name(images.dtype), images.shape))
    _check_shape(images)


def _check_shape(images: Tensor) -> None:
    if fault := shape_fault(_name(images.dtype), images.shape):
        raise ValueError(fault)


def _as_batch(images: object) -> Tensor:
    if isinstance(images, Tensor):
        return images
    if isinstance(images, np.ndarray):
        return _from_array(images)
    if not isinstance(images, list | tuple):
        raise ValueError(
            f"{WANTED}, as a tensor, a numpy array or a list of these, got "
            f"{type(images).__module__}.{type(images).__name__}: convert it first"
        )
    singles = []
    for number, image in enumerate(images):
        single = _from_array(image) if isinstance(image, np.ndarray) else image
        if not isinstance(single, Tensor) or single.ndim != 3 or single.shape[0] != 3:
            what = (
                f"shape {tuple(single.shape)}"
                if isinstance(single, Tensor)
                else f"{type(image).__module__}.{type(image).__name__}"
            )
            raise ValueError(
                "a list of images holds tensors or numpy arrays of shape (3, H, W), got "
                f"{what} as number {number}: convert it first"
            )
        singles.append(single)
    if not singles:
        raise ValueError("an empty list says no size: give a tensor of shape (0, 3, H, W)")
    kinds = {(tuple(single.shape), single.dtype, single.device) for single in singles}
    if len(kinds) > 1:
        found = " and ".join(sorted({f"{_name(kind[1])} {kind[0]}" for kind in kinds})[:2])
        raise ValueError(
            "the images of a list become one batch, so they must have one size, type and device, "
            f"got {found}: resize them, or give them one at a time"
        )
    return torch.stack(singles)


def _from_array(array: NDArray[Any]) -> Tensor:
    try:
        # A copy: an array may be read-only, or lie backwards in memory.
        return torch.from_numpy(np.array(array))
    except TypeError as error:
        raise ValueError(
            f"{WANTED}, got a numpy array of {array.dtype}: convert it with astype first"
        ) from error


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
