"""How often the student is right."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer

from entres.callbacks.base import Columns, Measurement
from entres.data import Batch
from entres.stages.evaluation import EvaluationOutput

TOP = 5


class Accuracy(Measurement):
    """Top-1 and top-5 accuracy, and top-1 among the classes that occur in the data.

    The last one differs from the first where a classifier of 1,000 classes sees data of ten: a
    student that was trained on ten has learned that only they occur, its teacher has not.

    Columns: ``label``, ``prediction``, ``prediction_present``, ``top5`` (1 if the label is among
    the five highest logits); ``teacher_prediction``, ``teacher_prediction_present`` and
    ``feature_error`` (of the student's features, in units of the teacher's energy) if a teacher saw
    the images too.
    """

    def __init__(self) -> None:
        self.present: torch.Tensor | None = None

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        present = getattr(trainer.datamodule, "present_classes", None)  # type: ignore[attr-defined]
        self.present = None if present is None else torch.tensor(sorted(present))

    def columns(self, batch: Batch, output: EvaluationOutput) -> Columns:
        labels = batch.labels.cpu()
        columns = {"label": labels, **self._predictions(output.logits)}
        if output.logits.shape[1] >= TOP:
            best = output.logits.topk(TOP).indices.cpu()
            columns["top5"] = (best == labels[:, None]).any(1).long()
        if output.teacher_logits is not None:
            teacher = self._predictions(output.teacher_logits)
            columns |= {f"teacher_{name}": values for name, values in teacher.items()}
        if output.feature_error is not None:
            columns["feature_error"] = output.feature_error.double().cpu()
        return columns

    def _predictions(self, logits: torch.Tensor) -> dict[str, torch.Tensor]:
        logits = logits.float().cpu()
        predictions = {"prediction": logits.argmax(1)}
        if self.present is not None:
            among = logits[:, self.present].argmax(1)
            predictions["prediction_present"] = self.present[among]
        return predictions

    def summary(self, columns: Columns) -> dict[str, Any]:
        def share(name: str) -> float | None:
            if name not in columns:
                return None
            return (columns[name] == columns["label"]).double().mean().item()

        top5, error = columns.get("top5"), columns.get("feature_error")
        return {
            "accuracy": share("prediction"),
            "accuracy_present": share("prediction_present"),
            "top5": None if top5 is None else top5.double().mean().item(),
            "teacher_accuracy": share("teacher_prediction"),
            "teacher_accuracy_present": share("teacher_prediction_present"),
            **({} if error is None else {"feature_error": error.mean().item()}),
        }
