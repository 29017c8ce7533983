"""Codecs with weights that do something, and images for them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


@torch.no_grad()
def spread_bottleneck(bottleneck: nn.Module, generator: torch.Generator) -> None:
    """Make symbols, escapes, medians, scales and means of a fresh bottleneck non-trivial.

    A fresh one rounds everything to zero, and two wrong codecs would agree on that.
    """

    def normal(like: Tensor, deviation: float) -> Tensor:
        return torch.randn(like.shape, generator=generator) * deviation

    analysis = bottleneck.get_submodule("encoder" if hasattr(bottleneck, "encoder") else "g_a")
    probe = torch.randn(1, 3, 64, 64, generator=generator)
    last: Tensor = analysis[-1].weight  # type: ignore[index, assignment]
    last.mul_(1 / analysis(probe).std())
    entropy: Any = bottleneck.entropy_bottleneck
    for parameter in (*entropy.matrices, *entropy.biases, *entropy.factors):
        parameter.add_(normal(parameter, 0.1))
    centre = normal(entropy.quantiles[:, :, 1], 1.0)
    for column, offset in enumerate((-4.0, 0.0, 4.0)):
        noise = normal(centre, 1.0) if offset else 0.0
        entropy.quantiles[:, :, column] = centre + offset + noise
    if hasattr(bottleneck, "h_s"):
        hyper_analysis: Any = bottleneck.h_a
        hyper_synthesis: Any = bottleneck.h_s
        hyper_analysis[-1].weight.mul_(3 / hyper_analysis(analysis(probe)).std())
        z = hyper_analysis(analysis(probe)).round()
        hyper_synthesis[-1].weight.mul_(0.8 / hyper_synthesis(z).std())


@torch.no_grad()
def spread_norms(model: nn.Module, generator: torch.Generator) -> None:
    """Give every batch normalization statistics, scales and shifts of its own."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low, high in (
                (module.running_mean, -0.2, 0.2),
                (module.running_var, 0.6, 1.6),
                (module.weight, 0.6, 1.1),
                (module.bias, -0.2, 0.2),
            ):
                assert tensor is not None
                tensor.copy_(low + (high - low) * torch.rand(tensor.shape, generator=generator))


def images(count: int, height: int, width: int, seed: int) -> Tensor:
    """Blurred noise with fine noise on it: images in [0, 1], shape (count, 3, height, width)."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 8, 8, generator=generator)
    smooth = torch.nn.functional.interpolate(
        coarse, (height, width), mode="bilinear", align_corners=False
    )
    fine = torch.rand(count, 3, height, width, generator=generator) - 0.5
    return (smooth + 0.1 * fine).clamp(0, 1)
