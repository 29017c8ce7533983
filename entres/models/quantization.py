"""Quantization of latents, always asked for by name.

Never a side effect of train() or eval(): silent rounding is how an attack's gradient gets lost.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from entres.models.randomness import Randomness, uniform

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
        generator: see :data:`entres.models.randomness.Randomness`.

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


def replaced(x_hat: Tensor, x: Tensor, sent: Tensor, means: Tensor) -> Tensor:
    """A quantized latent, but where something else than its rounded values is sent: there, that.

    The gradient is the quantized latent's, as if nothing had been replaced: the choice of what is
    replaced has none (BPDA [Athalye2018], see :class:`entres.defenses.DefendedStudent`).

    Args:
        x_hat: the latent, quantized in any way.
        x: the latent.
        sent: the rounded latent as it travels, the same shape.
        means: centre of its rounding grid, broadcastable to it.
    """
    changed = sent != quantize(x, "round", means)
    # The difference is 0, exactly.
    return torch.where(changed, sent + (x_hat - x_hat.detach()), x_hat)
