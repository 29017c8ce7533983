"""Quantization of latents, always asked for by name.

Never a side effect of train() or eval(): silent rounding is how an attack's gradient gets lost.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

Quantization = Literal["noise", "straight_through", "round"]
"""How the latents are quantized. ``noise`` adds uniform noise in [-0.5, 0.5), the relaxation of
training; ``round`` rounds, as the coder does, and has no gradient; ``straight_through`` rounds and
passes the gradient as if it had not."""


def quantize(
    x: Tensor,
    quantization: Quantization,
    means: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Quantize a latent explicitly.

    Args:
        x: the latent.
        quantization: see :data:`Quantization`.
        means: centre of the rounding grid (ignored by ``noise``), broadcastable to ``x``.
        generator: source of the noise; torch's global one if None.

    Raises:
        ValueError: for an unknown ``quantization``.
    """
    if quantization == "noise":
        # torch.rand lies in [0, 1), so the noise lies in [-0.5, 0.5).
        noise = torch.rand(x.shape, generator=generator, device=x.device, dtype=x.dtype)
        return x + (noise - 0.5)
    if quantization not in get_args(Quantization):
        raise ValueError(
            f"quantization must be one of {', '.join(get_args(Quantization))}, got {quantization!r}"
        )
    rounded = torch.round(x) if means is None else torch.round(x - means) + means
    return rounded if quantization == "round" else x + (rounded - x).detach()
