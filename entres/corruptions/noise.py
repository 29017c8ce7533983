"""Noise: Gaussian, shot and impulse."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from entres.corruptions.base import Corruption, Parameters, draw


class GaussianNoise(Corruption[float]):
    """Adds normal noise to every value; the parameter is its standard deviation."""

    name = "gaussian_noise"
    category = "noise"
    published = Parameters(
        imagenet=(0.08, 0.12, 0.18, 0.26, 0.38),
        tiny_imagenet=(0.04, 0.08, 0.12, 0.15, 0.18),
        cifar10=(0.04, 0.06, 0.08, 0.09, 0.10),
    )

    def corrupt(
        self, images: Tensor, strength: float, generators: Sequence[torch.Generator]
    ) -> Tensor:
        noise = draw(images.shape[1:], generators, images.device, "normal_", std=strength)
        return noise.add_(images)


class ShotNoise(Corruption[float]):
    """Counts photons: Poisson noise. The parameter is the number of them that makes full white."""

    name = "shot_noise"
    category = "noise"
    published = Parameters(
        imagenet=(60, 25, 12, 5, 3),
        tiny_imagenet=(250, 100, 50, 30, 15),
        cifar10=(500, 250, 100, 75, 50),
    )

    def corrupt(
        self, images: Tensor, strength: float, generators: Sequence[torch.Generator]
    ) -> Tensor:
        rates = images * strength
        pairs = zip(rates, generators, strict=True)
        return torch.stack([torch.poisson(rate, generator) for rate, generator in pairs]) / strength


class ImpulseNoise(Corruption[float]):
    """Salt and pepper: the parameter is the share of the values that become 0 or 1, half each."""

    name = "impulse_noise"
    category = "noise"
    published = Parameters(
        imagenet=(0.03, 0.06, 0.09, 0.17, 0.27),
        tiny_imagenet=(0.01, 0.02, 0.05, 0.08, 0.14),
        cifar10=(0.01, 0.02, 0.03, 0.05, 0.07),
    )

    def corrupt(
        self, images: Tensor, strength: float, generators: Sequence[torch.Generator]
    ) -> Tensor:
        chance = draw(images.shape[1:], generators, images.device, "uniform_")
        salted = torch.where(chance < strength / 2, 1.0, images)
        return salted.masked_fill_(chance >= 1 - strength / 2, 0.0)
