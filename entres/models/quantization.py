"""Quantization of latents, always asked for by name.

Never a side effect of train() or eval(): silent rounding is how an attack's gradient gets lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

Quantization = Literal["noise", "straight_through", "round"]
"""How the latents are quantized. ``noise`` adds uniform noise in [-0.5, 0.5), the relaxation of
training; ``round`` rounds, as the coder does, and has no gradient; ``straight_through`` gives the
same values bit for bit and passes the gradient as if it had not rounded."""


class MixedQuantization(NamedTuple):
    """One way for the latent of the entropy bottleneck, another for that of the Gaussians.

    The published attacks need it: they ran the hyperprior's bottleneck with noise and its
    Gaussians, unnoticed, with rounding.
    """

    bottleneck: Quantization
    conditional: Quantization


def mixed(quantization: Quantization | MixedQuantization) -> MixedQuantization:
    """The same for both, unless they are told apart."""
    if isinstance(quantization, MixedQuantization):
        return quantization
    return MixedQuantization(quantization, quantization)


Randomness = torch.Generator | Sequence[torch.Generator] | None
"""Where noise comes from: one generator for a batch; one per image, which makes the noise of an
image independent of the batch it stands in; or torch's global state."""


def uniform(like: Tensor, randomness: Randomness = None) -> Tensor:
    """Noise in [0, 1) of the shape, device and type of a batch.

    Raises:
        ValueError: if there are generators for another number of images.
    """
    options = {"device": like.device, "dtype": like.dtype}
    if randomness is None or isinstance(randomness, torch.Generator):
        return torch.rand(like.shape, generator=randomness, **options)  # type: ignore[call-overload, no-any-return]
    if len(randomness) != len(like):
        raise ValueError(f"{len(randomness)} generators for a batch of {len(like)}")
    draws = [torch.rand(like.shape[1:], generator=g, **options) for g in randomness]  # type: ignore[call-overload]
    return torch.stack(draws)


def quantize(
    x: Tensor,
    quantization: Quantization,
    means: Tensor | None = None,
    generator: Randomness = None,
) -> Tensor:
    """Quantize a latent explicitly.

    Args:
        x: the latent.
        quantization: see :data:`Quantization`.
        means: centre of the rounding grid (ignored by ``noise``), broadcastable to ``x``.
        generator: see :data:`Randomness`.

    Raises:
        ValueError: for an unknown ``quantization``.
    """
    if quantization == "noise":
        return x + (uniform(x, generator) - 0.5)
    if quantization not in get_args(Quantization):
        raise ValueError(
            f"quantization must be one of {', '.join(get_args(Quantization))}, got {quantization!r}"
        )
    rounded = torch.round(x) if means is None else torch.round(x - means) + means
    if quantization == "round":
        return rounded
    # The difference is 0, exactly; x + (rounded - x) would miss the rounded value by an ulp.
    return rounded.detach() + (x - x.detach())
