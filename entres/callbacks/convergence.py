"""What an attack gains step by step: whether more steps would have found more."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer

from entres.callbacks.base import Columns, Measurement
from entres.conditions.adversarial import CURVE
from entres.data import Batch
from entres.records import append_records, write_records
from entres.results import CONVERGENCE, Condition
from entres.stages.evaluation import EvaluationOutput


class Convergence(Measurement):
    """Writes ``convergence.csv`` beside the results: each attack's objective over its steps.

    One line per condition and step: the condition, ``step`` (0: where the attack begins, which is
    the clean image but for a random start and an attack through a defense), ``images``, and mean
    and standard error of the objective over them, as the coder would have it: bits for an attack on
    the rate, nats for one on the cross-entropy, bytes for one that sees only the stream.
    """

    def columns(self, batch: Batch, output: EvaluationOutput) -> Columns:
        """The curve of every image, shape (N, steps + 1)."""
        curve = (batch.notes or {}).get(CURVE) if output.defense is None else None
        return {} if curve is None else {CURVE: curve}

    def summary(self, columns: Columns) -> dict[str, Any]:
        return {}

    def finish(
        self, trainer: Trainer, folder: Path | None, condition: Condition, columns: Columns
    ) -> None:
        if folder is None or CURVE not in columns:
            return
        curve = columns[CURVE].double()
        images = len(curve)
        errors = curve.std(0) / images**0.5 if images > 1 else torch.zeros(curve.shape[1])
        values = zip(curve.mean(0).tolist(), errors.tolist(), strict=True)
        lines = [
            {
                **asdict(condition),
                "step": step,
                "images": images,
                "objective": f"{mean:.6g}",
                "standard_error": f"{error:.3g}",
            }
            for step, (mean, error) in enumerate(values)
        ]
        # What is there is of conditions that are finished: the store has taken out the rest.
        write = append_records if (folder / CONVERGENCE).is_file() else write_records
        write(folder, lines, CONVERGENCE)
