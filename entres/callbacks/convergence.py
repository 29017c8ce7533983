"""What an attack gains step by step: whether more steps would have found more."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from dataclasses import asdict
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from entres.callbacks.base import conditions_of, gather
from entres.callbacks.results import ResultsStore
from entres.conditions.adversarial import CURVE
from entres.data import Batch
from entres.files import write_whole
from entres.results import CONVERGENCE


class Convergence(Callback):
    """Writes ``convergence.csv`` beside the results: each attack's objective over its steps.

    One line per condition and step: the condition, ``step`` (0: where the attack begins, which is
    the clean image but for a random start and an attack through a defense), ``images``, and mean
    and standard error of the objective over them, as the coder would have it: bits for an attack on
    the rate, nats for one on the cross-entropy, bytes for one that sees only the stream.
    """

    def __init__(self) -> None:
        self._curves: dict[int, list[dict[str, Tensor]]] = defaultdict(list)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._curves.clear()

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        curve = (batch.notes or {}).get(CURVE)
        if curve is not None:
            kept = {"index": batch.indices.cpu(), CURVE: curve.cpu()}
            self._curves[dataloader_idx].append(kept)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        lines: list[dict[str, Any]] = []
        for number, condition in enumerate(conditions_of(trainer)):
            # Every rank has some images of every condition, or none has.
            if not (parts := self._curves.get(number)):
                continue
            curve = gather({n: torch.cat([p[n] for p in parts]) for n in parts[0]})[CURVE].double()
            images = len(curve)
            errors = curve.std(0) / images**0.5 if images > 1 else torch.zeros(curve.shape[1])
            values = zip(curve.mean(0).tolist(), errors.tolist(), strict=True)
            lines += [
                {
                    **asdict(condition),
                    "step": step,
                    "images": images,
                    "objective": f"{mean:.6g}",
                    "standard_error": f"{error:.3g}",
                }
                for step, (mean, error) in enumerate(values)
            ]
        if not (lines and trainer.is_global_zero):
            return
        store = ResultsStore.of(trainer)
        if not store.writes:
            return
        text = io.StringIO()
        writer = csv.DictWriter(text, list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
        write_whole(store.folder / CONVERGENCE, text.getvalue())
