"""How precisely is computed what both sides of the link must agree on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


def full_precision(x: Tensor) -> torch.autocast:
    """Leave autocast: likelihoods of half precision are wrong by more than what is measured."""
    return torch.autocast(x.device.type, enabled=False)


@contextmanager
def reference_arithmetic(device: torch.device) -> Iterator[None]:
    """Compute convolutions in float32, whatever autocast and the global settings allow.

    What chooses the coding tables must come out the same on both sides of the link: no bfloat16 or
    TF32 in its products, no kernel chosen by a stopwatch.
    """
    with torch.autocast(device.type, enabled=False), _float32_products(device):
        yield


def _convolutions(device: torch.device) -> Any:
    """What holds the settings of the convolutions of such a device."""
    return torch.backends.cudnn if device.type == "cuda" else torch.backends.mkldnn


@contextmanager
def fast_products(device: torch.device) -> Iterator[None]:
    """Round what convolutions multiply, to TF32 on a GPU and to bfloat16 on a CPU.

    Sums, results and weights stay float32, unlike under autocast. Faster where the processor has
    units for it (AMX on a CPU), else the same or slower; a torch before 2.9 computes as it always
    does. :func:`reference_arithmetic` inside of it is as exact as outside.
    """
    backend = _convolutions(device)
    if not hasattr(backend, "conv"):
        yield
        return
    before = backend.conv.fp32_precision
    backend.conv.fp32_precision = "tf32" if device.type == "cuda" else "bf16"
    try:
        yield
    finally:
        backend.conv.fp32_precision = before


@contextmanager
def _float32_products(device: torch.device) -> Iterator[None]:
    backend = _convolutions(device)
    wanted: list[tuple[Any, str, object]] = []
    if hasattr(backend, "conv"):  # since torch 2.9; the older switch must not be mixed with it
        wanted += [(backend.conv, "fp32_precision", "ieee")]
    elif device.type == "cuda":
        wanted += [(backend, "allow_tf32", False)]
    if device.type == "cuda":
        wanted += [(backend, "benchmark", False), (backend, "deterministic", True)]
    before = [getattr(holder, name) for holder, name, _ in wanted]
    try:
        for holder, name, value in wanted:
            setattr(holder, name, value)
        yield
    finally:
        for (holder, name, _), value in zip(wanted, before, strict=True):
            setattr(holder, name, value)
