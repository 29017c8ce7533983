"""Evaluation: a trained student over test conditions, its streams really coded."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from entres.bitstream import Bitstream
from entres.data import Batch
from entres.models import Codec, CodingPool, build_backbone, load_student
from entres.models.codecs import Symbols
from entres.report.results import evaluation_folder


@dataclass
class EvaluationOutput:
    """What a step gives its callbacks. The coding of its streams may still be going on.

    Attributes:
        logits: shape (N, classes).
        bits: estimated rate per image, shape (N,); None for a teacher.
        codec: what makes streams of the coded strings; None for a teacher.
        pending: symbols and, some day, strings of each image.
    """

    logits: Tensor
    bits: Tensor | None = None
    codec: Codec | None = None
    pending: list[tuple[Symbols, Future[list[bytes]]]] | None = None

    @cached_property
    def streams(self) -> list[Bitstream] | None:
        """The stream of each image, waiting for the coder if need be; None for a teacher."""
        if self.codec is None or self.pending is None:
            return None
        return [self.codec.bitstream(s, future.result()) for s, future in self.pending]


class EvaluationBase(pl.LightningModule):
    """What the evaluation of a student and of a teacher share.

    Args:
        evaluation: name of this evaluation, and of its folder.
        num_classes: classes of the data; taken from the datamodule on the command line.
    """

    identity: dict[str, Any]
    """The keys of a result row that say who was evaluated."""

    def __init__(self, evaluation: str = "clean", num_classes: int | None = None) -> None:
        super().__init__()
        self.evaluation = evaluation
        self.num_classes = num_classes

    @property
    def name(self) -> str:
        """Name of what is evaluated, and of its folder."""
        return str(self.identity["student"])

    def folder(self, out: str | Path) -> Path:
        """Where the results go."""
        return evaluation_folder(out, self.name, self.evaluation)

    def check_classes(self, own: int) -> None:
        """Refuse data whose labels do not index this classifier.

        Raises:
            ValueError: if the numbers of classes differ.
        """
        if self.num_classes is not None and self.num_classes != own:
            raise ValueError(
                f"{self.name} knows {own} classes, the data have {self.num_classes}: evaluate it "
                "on the data it was trained for"
            )


class Evaluation(EvaluationBase):
    """Evaluate a student. Every image is entropy-coded, decoded again and compared.

    The worker processes code while the network goes on: a step hands the symbols over and computes
    the logits from the features that the receiver decodes (the ``round`` path, which decoding
    equals bit for bit).

    Args:
        student: file of a student.
        teacher_weights: for a student without a tail, see :func:`entres.models.load_student`.
        coding_workers: see :class:`entres.models.CodingPool`.
        evaluation: name of this evaluation, and of its folder.
        num_classes: classes of the data; taken from the datamodule on the command line.

    Raises:
        WeightsError: if the student cannot be loaded.
        ValueError: if the data have another number of classes.
    """

    def __init__(
        self,
        student: str,
        teacher_weights: str | None = None,
        coding_workers: int | None = None,
        evaluation: str = "clean",
        num_classes: int | None = None,
    ) -> None:
        super().__init__(evaluation, num_classes)
        self.student, card = load_student(student, teacher_weights)
        self.identity = {
            "student": card.name,
            "backbone": card.backbone,
            "codec": card.codec,
            "beta": card.beta,
            "recipe": card.recipe,
        }
        self.check_classes(card.num_classes)
        self.coding_workers = coding_workers
        self.pool: CodingPool | None = None

    def on_test_start(self) -> None:
        self.student.to(memory_format=torch.channels_last)
        self.pool = CodingPool(self.student.codec.coders(), self.coding_workers)

    def teardown(self, stage: str) -> None:
        if self.pool is not None:
            self.pool.close()
            self.pool = None

    def test_step(  # type: ignore[override]  # Lightning passes any object on to the callbacks
        self, batch: Batch, batch_idx: int, dataloader_idx: int = 0
    ) -> EvaluationOutput:
        assert self.pool is not None
        images = batch.images.contiguous(memory_format=torch.channels_last)
        plan = self.student.codec.plan(self.student.normalize(images))
        pending = [(s, self.pool.submit(s.values, s.tables)) for s in plan.symbols]
        with torch.no_grad():
            logits = self.student.tail(plan.features).logits
        return EvaluationOutput(logits, plan.bits, self.student.codec, pending)


class TeacherEvaluation(EvaluationBase):
    """Evaluate a teacher on the same images: the accuracy that a student is measured against.

    Args:
        backbone: timm name.
        teacher_weights: see :func:`entres.models.build_backbone`.
        evaluation: name of this evaluation, and of its folder.
        num_classes: classes of the data; taken from the datamodule on the command line.

    Raises:
        WeightsError: if the weights cannot be had, or are for another number of classes.
    """

    def __init__(
        self,
        backbone: str,
        teacher_weights: str,
        evaluation: str = "clean",
        num_classes: int | None = None,
    ) -> None:
        super().__init__(evaluation, num_classes)
        self.teacher = build_backbone(backbone, num_classes, teacher_weights).teacher
        self.identity = {
            "student": f"{backbone.partition('.')[0]}-teacher",
            "backbone": backbone,
            "codec": None,
            "beta": None,
            "recipe": None,
        }

    def test_step(  # type: ignore[override]  # Lightning passes any object on to the callbacks
        self, batch: Batch, batch_idx: int, dataloader_idx: int = 0
    ) -> EvaluationOutput:
        return EvaluationOutput(self.teacher(batch.images).logits)
