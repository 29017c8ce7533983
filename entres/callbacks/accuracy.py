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
    the five highest logits).
    """

    def __init__(self) -> None:
        self.present: torch.Tensor | None = None

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        present = getattr(trainer.datamodule, "present_classes", None)  # type: ignore[attr-defined]
        self.present = None if present is None else torch.tensor(sorted(present))

    def columns(self, batch: Batch, output: EvaluationOutput) -> Columns:
        logits, labels = output.logits.float().cpu(), batch.labels.cpu()
        prediction = logits.argmax(1)
        columns = {"label": labels, "prediction": prediction}
        if self.present is not None:
            columns["prediction_present"] = self.present[logits[:, self.present].argmax(1)]
        if logits.shape[1] >= TOP:
            columns["top5"] = (logits.topk(TOP).indices == labels[:, None]).any(1).long()
        return columns

    def summary(self, columns: Columns) -> dict[str, Any]:
        def share(name: str) -> float | None:
            if name not in columns:
                return None
            return (columns[name] == columns["label"]).double().mean().item()

        top5 = columns.get("top5")
        return {
            "accuracy": share("prediction"),
            "accuracy_present": share("prediction_present"),
            "top5": None if top5 is None else top5.double().mean().item(),
        }
