"""Corrupted batches, made on the fly."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from entres.conditions.base import ConditionsDataModule
from entres.corruptions import CORRUPTIONS, SEVERITIES, Corruption, Frost, ImageSize, jpeg
from entres.data import Batch, ImageDataModule
from entres.data.checks import require_choices
from entres.data.sampling import mix_seed
from entres.results import Condition


class CorruptedDataModule(ConditionsDataModule):
    """The images of another data module, corrupted as those of ImageNet-C are.

    In a test, one dataloader per corruption and severity, and one for the clean images. What
    happens to an image depends on the seed, its index, the corruption and the severity alone: it is
    the same in any batch, on any rank and in any order, and the same for every student.

    Args:
        data: where the images come from.
        corruptions: names, such as ``shot_noise``; all fifteen if None.
        severities: 1 to 5 each; all five if None.
        clean: whether a test begins with the clean images, which changes are measured against.
        jpeg_quality: of a JPEG that each corrupted image goes through in the end; the published
            files have 85. None: no such JPEG.
        parameters_for: see :class:`entres.corruptions.Corruption`.
        frost_textures: see :class:`entres.corruptions.Frost`.
        seed: see :class:`ConditionsDataModule`.

    Raises:
        ValueError: if a name or a value is none of these, or occurs twice.
    """

    evaluation = "corruptions"

    def __init__(
        self,
        data: ImageDataModule,
        corruptions: list[str] | None = None,
        severities: list[int] | None = None,
        clean: bool = True,
        jpeg_quality: int | None = None,
        parameters_for: ImageSize | None = None,
        frost_textures: str | Path | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(data, seed)
        if jpeg_quality is not None and not 1 <= jpeg_quality <= 95:
            raise ValueError(f"jpeg_quality must be from 1 to 95 or null, got {jpeg_quality}")
        known = {corruption.name: corruption for corruption in CORRUPTIONS}
        names = require_choices("corruptions", corruptions, tuple(known))
        options: dict[type, dict[str, Any]] = {Frost: {"textures": frost_textures}}
        self.corruptions: list[Corruption[Any]] = [
            known[name](severity, parameters_for, **options.get(known[name], {}))
            for name in names
            for severity in require_choices("severities", severities, SEVERITIES)
        ]
        self.clean = clean
        self.jpeg_quality = jpeg_quality

    @property
    def conditions(self) -> Sequence[Condition]:
        corrupted = [Condition("corruption", c.name, c.severity) for c in self.corruptions]
        return [Condition(), *corrupted] if self.clean else corrupted

    def apply(self, batch: Batch, number: int) -> Batch:
        number -= self.clean
        if number < 0:
            return batch
        corruption, device = self.corruptions[number], batch.images.device
        # Not the corruption's place in the list, which may change.
        key = zlib.crc32(corruption.name.encode())
        generators = [
            torch.Generator(device).manual_seed(
                mix_seed(self.seed, index, key, corruption.severity)
            )
            for index in batch.indices.tolist()
        ]
        images = corruption(batch.images, generators)
        if self.jpeg_quality is not None:
            images = jpeg(images, self.jpeg_quality)
        return batch._replace(images=images)
