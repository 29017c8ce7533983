"""Evaluation: a trained student over test conditions, with the exact sizes of its streams."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import lightning.pytorch as pl
import torch
from lightning.pytorch import Callback
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from entres.bitstream import Bitstream, BitstreamError
from entres.data import Batch
from entres.data.checks import require_same_classes
from entres.defenses import Defense
from entres.functional import bits_from_likelihoods, relative_error
from entres.models import (
    Classifier,
    Codec,
    CodingPool,
    WeightsError,
    build_backbone,
    load_student,
)
from entres.models.plans import StreamSizes, Symbols
from entres.stages.base import class_names
from entres.stages.finite import require_finite

FEW = 4
"""One coded image of more than so many needs no processes of its own to be coded in."""


class CodedImage(NamedTuple):
    """An image that is really coded, to see that its size is as computed and its stream decodes.

    Attributes:
        number: its place in the batch.
        symbols: what the coder gets.
        latent: what the receiver has to decode, shape (1, c, h, w).
        strings: what the coder writes, some day.
    """

    number: int
    symbols: Symbols
    latent: Tensor
    strings: Future[list[bytes]]


@dataclass
class EvaluationOutput:
    """What a step gives its callbacks. The coding of some of its streams may still be going on.

    Attributes:
        logits: the student's, shape (N, classes).
        bits: estimated rate per image, shape (N,).
        codec: what decodes streams.
        computed_sizes: the exact sizes of the streams, not yet compared with coded ones.
        coded: the images that are really coded.
        teacher_logits: the teacher's on the same images, where they were asked for.
        feature_error: of the student's features against the teacher's, where there is one and
            they are of one shape; see :func:`entres.functional.relative_error`. Shape (N,).
        defense: what the images went through; None where nothing was done.
        notes: what was measured on each image while it was defended, by name, each of shape (N,).
    """

    logits: Tensor
    bits: Tensor
    codec: Codec
    computed_sizes: StreamSizes
    coded: list[CodedImage]
    teacher_logits: Tensor | None = None
    feature_error: Tensor | None = None
    defense: Defense | None = None
    notes: dict[str, Tensor] = field(default_factory=dict)

    @cached_property
    def sizes(self) -> StreamSizes:
        """The exact sizes of the streams, once those that were coded are seen to have them.

        It waits for the coder if need be.

        Raises:
            BitstreamError: if a coded stream has another size, or does not decode to its latent.
        """
        for image in self.coded:
            stream = self.codec.bitstream(image.symbols, image.strings.result())
            expected = int(self.computed_sizes.stream[image.number])
            if len(stream) != expected:
                raise BitstreamError(
                    f"image {image.number} of a batch is coded to {len(stream)} bytes, its "
                    f"computed size is {expected}: no size of this evaluation can be trusted"
                )
            received = Bitstream.from_bytes(stream.to_bytes())
            side = 4 * max(received.latent_shape) + 4
            if not torch.equal(self.codec.decode_latents([received], side), image.latent):
                raise BitstreamError(
                    f"the stream of image {image.number} of a batch decodes to another latent than "
                    "it was made of: no figure of this evaluation can be trusted"
                )
        return self.computed_sizes


class Evaluation(pl.LightningModule):
    """Evaluate a student. The size of every stream is computed exactly, and the logits from the
    features that the receiver decodes (the ``round`` path, which decoding equals bit for bit).

    To see that both hold, every so many images one is really coded, decoded and compared; the first
    difference stops the evaluation.

    With ``defenses`` (``--defense`` on the command line), every batch is evaluated as it was
    received and then after each of them: an attack, which is dear, is made once for all.

    Args:
        student: file of a student.
        teacher_weights: the teacher's weights (see :func:`entres.models.build_backbone`), where
            the student's card does not say, or they lie elsewhere now.
        with_teacher: whether the teacher sees the same images, to measure the student against.
        verify_every: one image of so many is coded, decoded and compared; 1 for every image. The
            first of each condition always is.
        coding_workers: see :class:`entres.models.CodingPool`; if None, one for every core but one
            where more than one image of four is coded, else none: the coder then costs less than
            its processes.
        evaluation: name of this evaluation, and of its folder; the datamodule's if None
            (``clean``, ``attacks``, ...).
        num_classes: classes of the data; taken from the datamodule on the command line.

    Raises:
        WeightsError: if the student or its teacher cannot be loaded.
        ValueError: if the data have another number of classes, or ``verify_every`` is below 1.
    """

    changes_no_evaluation = frozenset({"evaluation", "coding_workers", "verify_every"})
    """Its name is that of its folder; the others change no figure."""

    def __init__(
        self,
        student: str,
        teacher_weights: str | None = None,
        with_teacher: bool = False,
        verify_every: int = 16,
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
                f"{num_classes}: evaluate it on the data it was trained for (of folders that are "
                "called after ImageNet's classes: --data.labels imagenet), or take entres show or "
                "encode, which need no labels"
            )
        self.teacher: Classifier | None = None
        if with_teacher:
            weights = teacher_weights or self.card.teacher_weights
            if weights is None:
                raise WeightsError(
                    f"the card of {student} does not say where its teacher is: give teacher_weights"
                )
            backbone = build_backbone(
                self.card.backbone, self.card.num_classes, weights, whole=True
            )
            self.teacher = backbone.teacher
        if coding_workers is not None and coding_workers < 0:
            raise ValueError(
                f"coding_workers must be >= 0 (0: in this process) or null, got {coding_workers}"
            )
        if verify_every < 1:
            raise ValueError(f"verify_every must be >= 1 (1: every image), got {verify_every}")
        self.evaluation = evaluation
        self.verify_every = verify_every
        self.coding_workers = coding_workers
        self._seen: dict[tuple[int, int], int] = {}
        self.pool: CodingPool | None = None

    @property
    def name(self) -> str:
        """Name of the student, and of its folder."""
        return self.card.name

    def setup(self, stage: str) -> None:
        """Before anything runs.

        Raises:
            DataError: if the student knows other classes than the data have.
        """
        names = class_names(self.trainer.datamodule)  # type: ignore[attr-defined]
        require_same_classes(str(self.student_file), self.card.class_names, names)

    def on_test_start(self) -> None:
        data = getattr(self.trainer.datamodule, "name", None)  # type: ignore[attr-defined]
        if None not in (data, self.card.dataset) and data != self.card.dataset:
            rank_zero_warn(f"{self.name} was trained on {self.card.dataset}, the data are {data}")
        workers = 0 if self.verify_every > FEW else None
        if self.coding_workers is not None:
            workers = self.coding_workers
        self.pool = CodingPool(self.student.codec.coders(), workers)
        self._seen = {}

    def configure_callbacks(self) -> list[Callback]:
        return [_EndsWorkers()]

    def teardown(self, stage: str) -> None:
        if self.pool is not None:
            self.pool.close()
            self.pool = None

    def test_step(  # type: ignore[override]  # Lightning passes any object on to the callbacks
        self, batch: Batch, batch_idx: int, dataloader_idx: int = 0
    ) -> Sequence[EvaluationOutput]:
        """The batch as it was received, and after every defense."""
        with torch.no_grad():
            outputs = [self._evaluate(batch.images, self._to_code(batch, dataloader_idx, 0))]
            for number, defense in enumerate(self.defenses, 1):
                to_code = self._to_code(batch, dataloader_idx, number)
                outputs.append(self._defended(batch.images, defense, to_code))
            for output in outputs:
                _require_finite(output, batch)
            return outputs

    def _to_code(self, batch: Batch, dataloader_idx: int, defense: int) -> list[int]:
        """Which images of a batch are really coded: every so many of one condition."""
        key = (dataloader_idx, defense)
        seen = self._seen.get(key, 0)
        self._seen[key] = seen + len(batch.images)
        return [i for i in range(len(batch.images)) if (seen + i) % self.verify_every == 0]

    def _defended(
        self, images: Tensor, defense: Defense, to_code: Sequence[int]
    ) -> EvaluationOutput:
        _finish_work(images.device)
        started = time.perf_counter()
        mask = defense.make_mask(self.student, images)
        _finish_work(images.device)
        masked = time.perf_counter()
        defended = defense.defend(self.student, images, mask=mask)
        _finish_work(images.device)
        ended = time.perf_counter()
        output = self._evaluate(defended.images, to_code, defense)
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

    def _evaluate(
        self, images: Tensor, to_code: Sequence[int], defense: Defense | None = None
    ) -> EvaluationOutput:
        assert self.pool is not None
        codec = self.student.codec
        images = images.contiguous(memory_format=torch.channels_last)
        plan = codec.plan(self.student.normalize(images))
        if defense is not None:
            plan = defense.limit(codec, plan)
        coded = []
        for index in to_code:
            symbols = plan.symbols(index)
            strings = self.pool.submit(symbols.values, symbols.tables)
            coded.append(CodedImage(index, symbols, plan.latents["y"][index, None], strings))
        features = codec.synthesise(plan.latents["y"])
        tail = self.student.tail(features)
        output = EvaluationOutput(
            logits=tail.logits,
            bits=bits_from_likelihoods(codec.likelihoods(plan).values()),
            codec=codec,
            computed_sizes=codec.stream_sizes(plan),
            coded=coded,
        )
        if self.teacher is not None:
            teacher = self.teacher(images)
            output.teacher_logits = teacher.logits
            own = [features, *tail.features]
            # At sides that the network halves otherwise than the codec they cannot be compared.
            if [f.shape for f in own] == [f.shape for f in teacher.features]:
                output.feature_error = relative_error(own, teacher.features)
        return output


class _EndsWorkers(Callback):
    """Lightning does not tear a module down that an error or a signal has stopped."""

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        pl_module.teardown("test")


def _require_finite(output: EvaluationOutput, batch: Batch) -> None:
    """Refuse logits and bits that are not finite: argmax makes class 0 of NaN."""
    found = {
        "the logits": output.logits,
        "the bits": output.bits,
        "the teacher's logits": output.teacher_logits,
        "the feature error": output.feature_error,
    }
    for name, value in found.items():
        if value is None or value.isfinite().all():
            continue
        bad = ~value.reshape(len(value), -1).isfinite().all(1)
        index = int(batch.indices.to(bad.device)[bad][0])
        require_finite(f"{name} of image {index}: a value", value)


def _finish_work(device: torch.device) -> None:
    """Wait for the device, so that the clock sees what was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
