"""Weather: snow, frost, fog and brightness."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from entres.corruptions.base import Corruption, ImageSize, Parameters, draw, eight_bits
from entres.corruptions.filters import clipped_zoom, motion_blur
from entres.corruptions.plasma import plasma
from entres.corruptions.textures import Textures

LUMA = (0.299, 0.587, 0.114)


class Snow(Corruption[tuple[float, float, float, float, int, float, float]]):
    """Whitens an image and lays flakes over it, and the same flakes turned by 180 degrees.

    Flakes are noise: enlarged, cut off from below, and blurred along a line. Parameters: mean and
    standard deviation of the noise, factor of enlargement, the value below which there is no flake,
    radius and sigma of the motion blur, and how much of the image is kept from whitening.
    """

    name = "snow"
    category = "weather"
    published = Parameters(
        imagenet=(
            (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
            (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
            (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
            (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
            (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
        ),
        tiny_imagenet=(
            (0.1, 0.2, 1, 0.6, 8, 3, 0.8),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.8),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.7),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.65),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.6),
        ),
        cifar10=(
            (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
        ),
    )

    def corrupt(
        self,
        images: Tensor,
        strength: tuple[float, float, float, float, int, float, float],
        generators: Sequence[torch.Generator],
    ) -> Tensor:
        mean, std, zoom, threshold, radius, sigma, kept = strength
        shape = (1, *images.shape[-2:])
        noise = draw(shape, generators, images.device, "normal_", mean=mean, std=std)
        angles = draw((), generators, images.device, "uniform_", **{"from": -135, "to": -45})
        flakes = clipped_zoom(noise, zoom)
        flakes = torch.where(flakes < threshold, 0.0, flakes)
        # The published code blurs a layer of 8 bits and gets one of 8 bits.
        flakes = eight_bits(motion_blur(eight_bits(flakes), radius, sigma, angles.cpu()))
        white = luma(images) * 1.5 + 0.5
        image = images * kept + torch.maximum(images, white) * (1 - kept)
        return image + (flakes + flakes.flip(-1, -2))


def luma(images: Tensor) -> Tensor:
    """The luminance of images, shape (N, 1, H, W)."""
    weights = torch.tensor(LUMA, device=images.device)
    return (images * weights[:, None, None]).sum(1, keepdim=True)


class Frost(Corruption[tuple[float, float]]):
    """Adds a part of a texture of frost, cut out at a random place.

    Parameters: weight of the image and weight of the texture. For small images the published code
    scales its textures by 0.3 (64 px) and 0.2 (32 px).

    Args:
        severity: see :class:`Corruption`.
        parameters_for: likewise.
        textures: folder of photographs of frost; if None, textures are made
            (:mod:`entres.corruptions.textures`), since the published ones are other people's
            photographs.

    Raises:
        ValueError: if there are no images in the folder.
    """

    name = "frost"
    category = "weather"
    published = Parameters(
        imagenet=((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)),
        tiny_imagenet=((1, 0.3), (0.9, 0.4), (0.8, 0.45), (0.75, 0.5), (0.7, 0.55)),
        cifar10=((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)),
    )

    def __init__(
        self,
        severity: int,
        parameters_for: ImageSize | None = None,
        textures: str | Path | None = None,
    ) -> None:
        super().__init__(severity, parameters_for)
        self.textures = Textures(textures)

    def corrupt(
        self, images: Tensor, strength: tuple[float, float], generators: Sequence[torch.Generator]
    ) -> Tensor:
        scale = {224: 1.0, 64: 0.3, 32: 0.2}[self.size_of(images)]
        choices = draw((3,), generators, images.device, "uniform_").tolist()
        shape = (images.shape[-2], images.shape[-1])
        parts = [self.textures.part(shape, scale, *c).to(images.device) for c in choices]
        kept, added = strength
        return kept * images + added * torch.stack(parts)


class Fog(Corruption[tuple[float, float]]):
    """Adds fog, a plasma fractal, and scales back to the range of the image.

    Parameters: how much fog, and how fast its roughness decays from scale to scale.
    """

    name = "fog"
    category = "weather"
    published = Parameters(
        imagenet=((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
        tiny_imagenet=((0.4, 3), (0.7, 3), (1, 2.5), (1.5, 2), (2, 1.75)),
        cifar10=((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
    )

    def corrupt(
        self, images: Tensor, strength: tuple[float, float], generators: Sequence[torch.Generator]
    ) -> Tensor:
        amount, decay = strength
        height, width = images.shape[-2:]
        fog = plasma(max(height, width), decay, generators, images.device)
        brightest = images.amax((1, 2, 3), keepdim=True)
        foggy = images + amount * fog[:, None, :height, :width]
        return foggy * (brightest / (brightest + amount))


class Brightness(Corruption[float]):
    """Adds to the value of HSV; the parameter is how much.

    Hue and saturation stay, so that all three channels are scaled alike; black becomes grey.
    """

    name = "brightness"
    category = "weather"
    published = Parameters(
        imagenet=(0.1, 0.2, 0.3, 0.4, 0.5),
        tiny_imagenet=(0.1, 0.2, 0.3, 0.4, 0.5),
        cifar10=(0.05, 0.1, 0.15, 0.2, 0.3),
    )

    def corrupt(
        self, images: Tensor, strength: float, generators: Sequence[torch.Generator]
    ) -> Tensor:
        value = images.amax(1, keepdim=True)
        brighter = (value + strength).clamp(max=1)
        return torch.where(value > 0, images * (brighter / value), brighter)
