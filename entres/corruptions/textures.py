"""Textures of frost: made, or a user's photographs.

The made ones are needles of ice: noise whose spectrum is long in one direction and short across it,
the strongest of several directions at every pixel. Their tones, contrasts and decay of the spectrum
are near those of the photographs that ImageNet-C was made with; their shapes are not, so that
``frost`` has the published arithmetic, and only nearly the published look.
"""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.v2.functional import pil_to_tensor

SIDE = 640
NEEDLES = 5  # Directions that meet in one place.
EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".webp")


class Tone(NamedTuple):
    """Look of a made texture."""

    colour: tuple[float, float, float]
    """Mean of red, green and blue, in [0, 1]."""
    contrast: float
    """Standard deviation."""
    grain: float
    """Period in pixels from which on the spectrum is flat."""


TONES = (
    Tone((0.30, 0.58, 0.65), 0.075, 120),
    Tone((0.79, 0.81, 0.84), 0.085, 40),
    Tone((0.79, 0.81, 0.84), 0.085, 40),
    Tone((0.54, 0.60, 0.65), 0.105, 25),
    Tone((0.44, 0.48, 0.53), 0.14, 60),
)


class Textures:
    """Where parts of textures are cut out.

    Args:
        folder: of photographs; made textures if None.

    Raises:
        ValueError: if there are no images in the folder.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self.files: list[Path] = []
        if folder is not None:
            found = Path(folder).iterdir() if Path(folder).is_dir() else ()
            self.files = sorted(f for f in found if f.suffix.lower() in EXTENSIONS)
            if not self.files:
                raise ValueError(
                    f"no textures of frost in {folder}: expected files ending in "
                    f"{', '.join(EXTENSIONS)}; leave the folder out for made ones"
                )

    def part(
        self, shape: tuple[int, int], scale: float, which: float, top: float, left: float
    ) -> Tensor:
        """A part of a texture.

        Args:
            shape: its height and width; a smaller texture is enlarged.
            scale: of the texture.
            which: chooses the texture, in [0, 1].
            top: where it is cut out, in [0, 1].
            left: likewise.

        Returns:
            In [0, 1], shape (3, height, width).
        """
        number = min(int(which * self.count), self.count - 1)
        texture = photograph(self.files[number], scale) if self.files else made(number, scale)
        enlarge = max((n + 1) / m for n, m in zip(shape, texture.shape[1:], strict=True))
        if enlarge > 1:
            texture = _scaled(texture, enlarge)
        y, x = (
            min(int(place * (m - n)), m - n - 1)
            for place, m, n in zip((top, left), texture.shape[1:], shape, strict=True)
        )
        return texture[:, y : y + shape[0], x : x + shape[1]]

    @property
    def count(self) -> int:
        """Number of textures."""
        return len(self.files) or len(TONES)


@lru_cache(maxsize=16)
def photograph(path: Path, scale: float) -> Tensor:
    """A photograph in [0, 1], shape (3, H, W)."""
    with Image.open(path) as stored:
        texture = pil_to_tensor(stored.convert("RGB")).float() / 255
    return _scaled(texture, scale)


@lru_cache(maxsize=16)
def made(number: int, scale: float) -> Tensor:
    """A made texture, always the same, in [0, 1], shape (3, H, W)."""
    tone = TONES[number]
    generator = torch.Generator().manual_seed(number)
    across = torch.fft.fftfreq(SIDE)[:, None]
    along = torch.fft.rfftfreq(SIDE)
    layers = []
    for needle in range(NEEDLES):
        angle = math.pi * (needle + torch.rand((), generator=generator).item()) / NEEDLES
        # A needle is long in one direction: its spectrum reaches far only across it.
        length = along * math.cos(angle) + across * math.sin(angle)
        breadth = across * math.cos(angle) - along * math.sin(angle)
        frequency = ((4 * length) ** 2 + breadth**2).sqrt() * tone.grain
        noise = torch.fft.rfft2(torch.randn(SIDE, SIDE, generator=generator))
        layer = torch.fft.irfft2(noise / (1 + frequency**2) ** 0.62, s=(SIDE, SIDE))
        layers.append(layer / layer.std())
    ice = torch.stack(layers).amax(0)
    ice = (ice - ice.mean()) / ice.std() * tone.contrast
    texture = (torch.tensor(tone.colour)[:, None, None] + ice).clamp(0, 1)
    return _scaled(texture, scale)


def _scaled(texture: Tensor, scale: float) -> Tensor:
    if scale == 1:
        return texture
    # From the last pixel on, so that no rounding leaves it a pixel short.
    size = [math.ceil(side * scale) for side in texture.shape[1:]]
    return F.interpolate(texture[None], size, mode="bilinear", align_corners=False)[0]
