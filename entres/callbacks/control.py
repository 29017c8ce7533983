"""What the same images cost as JPEG and WebP: is it the entropy model that an attack fools?"""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from PIL import Image, features
from torch import Tensor

from entres.attacks import StudentVictim
from entres.bitstream import KIB
from entres.callbacks.base import Columns, Measurement, clean_loader, spaced
from entres.data import Batch, DataError
from entres.models import EntropicStudent
from entres.stages.evaluation import Evaluation, EvaluationOutput

FORMATS = {"jpeg": "JPEG", "webp": "WEBP"}
"""Names of columns, and what Pillow calls the formats."""
QUALITIES = (1, 100)
"""The least and the largest that is tried."""
CHOSEN_ON = 100
"""Clean images that a quality is chosen on, at most; evenly spaced over the data."""


class Control(Measurement):
    """Codes the images as they were received with Pillow, at the student's size on clean images.

    What is dearer to code for anybody, such as noise, lengthens JPEG and WebP as well; what
    lengthens the student's streams alone is its entropy model's own fault. Before the first
    condition, the quality of each format is chosen at which the mean file of the clean images is
    nearest to their mean stream, and kept for all conditions. It is chosen on up to
    :data:`CHOSEN_ON` clean images, evenly spaced over the data, by the same ones on all ranks.

    Columns: ``jpeg_bytes`` and ``webp_bytes``, whole files, headers included, of the image rounded
    to 8 bits; of images without a defense. Figures: ``jpeg_kib_mean``, ``webp_kib_mean`` and the
    qualities, ``jpeg_quality`` and ``webp_quality``. The seconds of a condition include the coding.
    """

    def __init__(self) -> None:
        self.qualities: dict[str, int] = {}
        # The results' store asks for a batch's columns later, in the order of the batches.
        self._waiting: deque[dict[str, Tensor]] = deque()

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, Evaluation)
        self._waiting.clear()
        loader = clean_loader(trainer, "the control is coded at the size of clean images")
        if not features.check("webp"):
            raise DataError("this Pillow has no WebP: install one that has, or leave --control out")
        dataset = loader.dataset
        images = [dataset[place][0] for place in spaced(len(dataset), CHOSEN_ON)]
        target = mean_stream(pl_module.student, images, pl_module.device)
        self.qualities = {
            name: nearest_quality(images, form, target) for name, form in FORMATS.items()
        }

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        images = batch.images.mul(255).round().byte().cpu()
        self._waiting.append(
            {
                f"{name}_bytes": torch.tensor(
                    [coded_size(image, form, self.qualities[name]) for image in images]
                )
                for name, form in FORMATS.items()
            }
        )

    def columns(self, batch: Batch, output: EvaluationOutput) -> Columns:
        return self._waiting.popleft() if output.defense is None else {}

    def summary(self, columns: Columns) -> dict[str, Any]:
        figures: dict[str, Any] = {}
        for name in FORMATS:
            if f"{name}_bytes" in columns:
                mean = columns[f"{name}_bytes"].double().mean().item()
                figures[f"{name}_kib_mean"] = mean / KIB
                figures[f"{name}_quality"] = self.qualities[name]
        return figures


def coded_size(image: Tensor, form: str, quality: int) -> int:
    """The bytes of an image as a file.

    Args:
        image: uint8, shape (3, H, W).
        form: as Pillow calls it, ``JPEG`` or ``WEBP``.
        quality: 1 to 100.
    """
    file = io.BytesIO()
    picture = Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())
    # With Huffman tables of its own, as the student's streams have what suits them; WebP has them.
    more = {"optimize": True} if form == "JPEG" else {}
    picture.save(file, form, quality=quality, **more)
    return file.getbuffer().nbytes


def mean_stream(
    student: EntropicStudent, images: Sequence[Tensor], device: torch.device | str = "cpu"
) -> float:
    """Mean bytes of the student's streams.

    Args:
        student: on the device.
        images: uint8, each of shape (3, H, W); they may differ in size.
        device: where to compute it.
    """
    victim = StudentVictim(student)
    total = sum(int(victim.stream_bytes(image[None].to(device).float() / 255)) for image in images)
    return total / len(images)


def nearest_quality(images: Sequence[Tensor], form: str, target: float) -> int:
    """The quality at which the mean file is nearest to a mean size; of two alike, the lower one.

    Args:
        images: uint8, each of shape (3, H, W).
        form: see :func:`coded_size`.
        target: in bytes.
    """

    def mean_file(quality: int) -> float:
        return sum(coded_size(image, form, quality) for image in images) / len(images)

    return nearest(mean_file, target, *QUALITIES)


def nearest(rising: Callable[[int], float], target: float, low: int, high: int) -> int:
    """Where a function that rises with a whole number is nearest to a target, by bisection."""
    known: dict[int, float] = {}

    def value(number: int) -> float:
        if number not in known:
            known[number] = rising(number)
        return known[number]

    first, last = low, high
    while first < last:  # the first at which it reaches the target
        middle = (first + last) // 2
        if value(middle) >= target:
            last = middle
        else:
            first = middle + 1
    return min((max(low, first - 1), first), key=lambda number: abs(value(number) - target))
