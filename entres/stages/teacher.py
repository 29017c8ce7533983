"""Stage 0: a teacher for data sets that have no pretrained one."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor, nn
from torch.nn import functional as F

from entres.data import Batch
from entres.experiment.layout import TEACHER, teacher_name
from entres.models import build_backbone
from entres.models.checkpoints import write_state
from entres.stages.base import CLASS_NAMES, Stage, class_names
from entres.stages.schedules import LearningRateSchedule


class TeacherTraining(Stage):
    """Train a timm classifier with cross-entropy.

    Args:
        optimizer: makes the optimizer from parameter groups.
        schedule: the learning rate over the run.
        backbone: timm name.
        num_classes: width of the classifier; taken from the datamodule on the command line.
        teacher_weights: weights to start from (see :func:`entres.models.build_backbone`).
        label_smoothing: share of the label's mass that is spread over all classes.
        seed: see :class:`Stage`.
    """

    recipe = "teacher"
    result = TEACHER

    def __init__(
        self,
        optimizer: OptimizerCallable,
        schedule: LearningRateSchedule,
        backbone: str = "test_resnet",
        num_classes: int | None = None,
        teacher_weights: str | None = None,
        label_smoothing: float = 0.1,
        seed: int = 0,
    ) -> None:
        super().__init__(optimizer, schedule, seed)
        self.backbone_name = backbone
        self.label_smoothing = label_smoothing
        self.teacher = build_backbone(backbone, num_classes, teacher_weights).teacher

    @property
    def name(self) -> str:
        return teacher_name(self.backbone_name, self.seed)

    def parameter_groups(self) -> list[dict[str, Any]]:
        return [{"params": self.teacher.parameters()}]

    def frozen(self) -> Iterable[nn.Module]:
        return []

    def save_result(self, path: Path) -> None:
        names = class_names(self.trainer.datamodule)  # type: ignore[attr-defined]
        notes = {"dataset": self.dataset, CLASS_NAMES: json.dumps(names)}
        write_state(path, self.teacher.model.state_dict(), notes)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        terms = self._terms(batch)
        self.log_terms(batch, terms)
        return terms["loss"].mean()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.collect_terms(self._terms(batch))

    def _terms(self, batch: Batch) -> dict[str, Tensor]:
        logits = self.teacher(batch.images.contiguous(memory_format=torch.channels_last)).logits
        loss = F.cross_entropy(
            logits, batch.labels, label_smoothing=self.label_smoothing, reduction="none"
        )
        return {"loss": loss, "accuracy": (logits.argmax(1) == batch.labels).float()}
