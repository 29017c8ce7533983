"""Evaluation: a trained student over test conditions, its streams really coded."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from entres.bitstream import Bitstream
from entres.data import Batch
from entres.defenses import Defense
from entres.models import (
    Classifier,
    Codec,
    CodingPool,
    WeightsError,
    build_backbone,
    load_student,
)
from entres.models.codec import Symbols


@dataclass
class EvaluationOutput:
    """What a step gives its callbacks. The coding of its streams may still be going on.

    Attributes:
        logits: the student's, shape (N, classes).
        bits: estimated rate per image, shape (N,).
        codec: what makes streams of the coded strings.
        pending: symbols and, some day, strings of each image.
        teacher_logits: the teacher's on the same images, where they were asked for.
        defense: what the images went through; None where nothing was done.
        notes: what was measured on each image while it was defended, by name, each of shape (N,).
    """

    logits: Tensor
    bits: Tensor
    codec: Codec
    pending: list[tuple[Symbols, Future[list[bytes]]]]
    teacher_logits: Tensor | None = None
    defense: Defense | None = None
    notes: dict[str, Tensor] = field(default_factory=dict)

    @cached_property
    def streams(self) -> list[Bitstream]:
        """The stream of each image, waiting for the coder if need be."""
        return [self.codec.bitstream(s, future.result()) for s, future in self.pending]


class Evaluation(pl.LightningModule):
    """Evaluate a student. Every image is entropy-coded, decoded again and compared.

    The worker processes code while the network goes on: a step hands the symbols over and computes
    the logits from the features that the receiver decodes (the ``round`` path, which decoding
    equals bit for bit).

    With ``defenses`` (``--defense`` on the command line), every batch is evaluated as it was
    received and then after each of them: an attack, which is dear, is made once for all.

    Args:
        student: file of a student.
        teacher_weights: the teacher's weights (see :func:`entres.models.build_backbone`), where
            the student's card does not say, or they lie elsewhere now.
        with_teacher: whether the teacher sees the same images, to measure the student against.
        coding_workers: see :class:`entres.models.CodingPool`.
        evaluation: name of this evaluation, and of its folder; the datamodule's if None
            (``clean``, ``attacks``, ...).
        num_classes: classes of the data; taken from the datamodule on the command line.

    Raises:
        WeightsError: if the student or its teacher cannot be loaded.
        ValueError: if the data have another number of classes.
    """

    def __init__(
        self,
        student: str,
        teacher_weights: str | None = None,
        with_teacher: bool = False,
        coding_workers: int | None = None,
        evaluation: str | None = None,
        num_classes: int | None = None,
    ) -> None:
        super().__init__()
        self.defenses: list[Defense] = []
        self.student_file = Path(student)
        self.student, self.card = load_student(student, teacher_weights)
        # Here, not in a test loop: under inference_mode the weights could not be attacked any more.
        self.student.to(memory_format=torch.channels_last)
        if num_classes not in (None, self.card.num_classes):
            raise ValueError(
                f"{self.card.name} knows {self.card.num_classes} classes, the data have "
                f"{num_classes}: evaluate it on the data it was trained for"
            )
        self.teacher: Classifier | None = None
        if with_teacher:
            weights = teacher_weights or self.card.teacher_weights
            if weights is None:
                raise WeightsError(
                    f"the card of {student} does not say where its teacher is: give teacher_weights"
                )
            backbone = build_backbone(self.card.backbone, self.card.num_classes, weights)
            self.teacher = backbone.teacher
        self.evaluation = evaluation
        self.coding_workers = coding_workers
        self.pool: CodingPool | None = None

    @property
    def name(self) -> str:
        """Name of the student, and of its folder."""
        return self.card.name

    def on_test_start(self) -> None:
        data = getattr(self.trainer.datamodule, "name", None)  # type: ignore[attr-defined]
        if None not in (data, self.card.dataset) and data != self.card.dataset:
            rank_zero_warn(f"{self.name} was trained on {self.card.dataset}, the data are {data}")
        self.pool = CodingPool(self.student.codec.coders(), self.coding_workers)

    def teardown(self, stage: str) -> None:
        if self.pool is not None:
            self.pool.close()
            self.pool = None

    def test_step(  # type: ignore[override]  # Lightning passes any object on to the callbacks
        self, batch: Batch, batch_idx: int, dataloader_idx: int = 0
    ) -> Sequence[EvaluationOutput]:
        """The batch as it was received, and after every defense."""
        with torch.no_grad():
            received = self._evaluate(batch.images)
            return [received, *(self._defended(batch.images, defense) for defense in self.defenses)]

    def _defended(self, images: Tensor, defense: Defense) -> EvaluationOutput:
        _finish_work(images.device)
        started = time.perf_counter()
        mask = defense.make_mask(self.student, images)
        _finish_work(images.device)
        masked = time.perf_counter()
        defended = defense.defend(self.student, images, mask=mask)
        _finish_work(images.device)
        ended = time.perf_counter()
        output = self._evaluate(defended.images)
        error = (defended.images - images).square().flatten(1).mean(1)
        each = torch.ones(len(images), dtype=torch.float64)
        output.defense = defense
        output.notes = {
            "defended": defended.applied.double(),
            "defense_seconds": each * (ended - started) / len(images),
            "defense_mse": error.double(),
        }
        if mask is not None:
            output.notes["mask_seconds"] = each * (masked - started) / len(images)
            output.notes["mask_mean"] = mask.flatten(1).mean(1).double()
        return output

    def _evaluate(self, images: Tensor) -> EvaluationOutput:
        assert self.pool is not None
        images = images.contiguous(memory_format=torch.channels_last)
        plan = self.student.codec.plan(self.student.normalize(images))
        pending = [(s, self.pool.submit(s.values, s.tables)) for s in plan.symbols]
        logits = self.student.tail(plan.features).logits
        teacher = None if self.teacher is None else self.teacher(images).logits
        return EvaluationOutput(logits, plan.bits, self.student.codec, pending, teacher)


def _finish_work(device: torch.device) -> None:
    """Wait for the device, so that the clock sees what was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
