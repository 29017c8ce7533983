"""What goes to the entropy coder, and how large it will be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from torch import Tensor

from entres.coding import IntArray, as_array, check_symbols


class Symbols(NamedTuple):
    """What the entropy coder gets for one image: per string, the symbols and their tables."""

    values: list[IntArray]
    tables: list[IntArray]
    latent_shape: tuple[int, int]


@dataclass(frozen=True)
class CodingPlan:
    """A batch of N images on its way to the coder, on the device that computed it.

    Attributes:
        values: the symbols of every string, integers in float32, each of shape
            (N, channels, height, width).
        tables: their tables, int32, of the same shape or (channels, 1, 1).
        latents: the rounded latents by name, "y" first, each float32: what a receiver decodes.
        gaussians: scales and means of y, where it has some.
    """

    values: tuple[Tensor, ...]
    tables: tuple[Tensor, ...]
    latents: dict[str, Tensor]
    gaussians: tuple[Tensor, Tensor] | None = None

    def __post_init__(self) -> None:
        """Refuse, before they become integers, symbols that are not finite or cannot be coded."""
        for values in self.values:
            if values.numel():
                check_symbols(*(float(end) for end in values.aminmax()))

    def __len__(self) -> int:
        return len(self.latents["y"])

    @property
    def latent_shape(self) -> tuple[int, int]:
        """Height and width of y."""
        height, width = self.latents["y"].shape[-2:]
        return height, width

    def of(self, index: int) -> CodingPlan:
        """The plan of one image."""

        def part(whole: Tensor) -> Tensor:
            return whole if whole.ndim < 4 else whole[index : index + 1]

        return CodingPlan(
            tuple(map(part, self.values)),
            tuple(map(part, self.tables)),
            {name: part(latent) for name, latent in self.latents.items()},
            None if self.gaussians is None else (part(self.gaussians[0]), part(self.gaussians[1])),
        )

    def symbols(self, index: int) -> Symbols:
        """What the coder gets for one image."""
        tables = [
            np.broadcast_to(as_array(table), value.shape[1:])
            if table.ndim == 3
            else as_array(table[index])
            for value, table in zip(self.values, self.tables, strict=True)
        ]
        return Symbols([as_array(value[index]) for value in self.values], tables, self.latent_shape)


class StreamSizes(NamedTuple):
    """Sizes of the streams of N images, in bytes, each int64 of shape (N,).

    Attributes:
        stream: what travels, header included.
        payload: the coded strings alone.
        published: by the published accounting (:func:`entres.bitstream.published_size`).
    """

    stream: Tensor
    payload: Tensor
    published: Tensor
