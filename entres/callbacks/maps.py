"""Maps of the clean images: where their bits are, and where attacks add some."""

from __future__ import annotations

import io
import json
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from entres.attacks import PGDE
from entres.callbacks.base import (
    Columns,
    Measurement,
    clean_loader,
    conditions_of,
    spaced,
)
from entres.data import Batch, collate
from entres.files import write_whole
from entres.maps import STATISTICS, ImageMaps, image_maps, statistics, summary
from entres.results import Condition
from entres.stages.evaluation import Evaluation, EvaluationOutput


class Maps(Measurement):
    """Attacks the clean images with PGD-E and PGD-Acc, and maps their bits (Fig. 5 and 6).

    Columns: those of :func:`entres.maps.statistics`. Figures: their means. Beside the results,
    ``maps.json`` has the means with their intervals and ``maps.npz`` a few images with their maps
    (see :class:`entres.maps.ImageMaps`), which ``entres draw-maps`` draws. The seconds of the clean
    condition include the two attacks.

    Args:
        epsilon_255: radius of both attacks in units of 1/255.
        steps: of both attacks.
        shown: images in ``maps.npz``, evenly spaced over the data; the figures are of all.
        seed: of the attacks' noise; an image's share of it depends on its index.

    Raises:
        ValueError: if a value is out of range.
    """

    def __init__(
        self, epsilon_255: float = 8.0, steps: int = 20, shown: int = 4, seed: int = 0
    ) -> None:
        if shown < 1:
            raise ValueError(f"shown must be >= 1, got {shown}")
        PGDE(epsilon_255, steps)  # checks both, before anything runs
        self.epsilon_255 = epsilon_255
        self.steps = steps
        self.shown = shown
        self.seed = seed
        self._reset()

    def _reset(self) -> None:
        # The results' store asks for a batch's columns later, in the order of the batches.
        self._waiting: deque[dict[str, Tensor]] = deque()
        self._summary: dict[str, Any] = {}

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._reset()
        clean_loader(trainer, "maps are made of clean images")

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if conditions_of(trainer)[dataloader_idx] != Condition():
            return
        assert isinstance(pl_module, Evaluation)
        maps = self._maps(pl_module, batch)
        self._waiting.append(statistics(type(maps)(*(part.detach().cpu() for part in maps))))

    def _maps(self, evaluation: Evaluation, batch: Batch) -> ImageMaps:
        return image_maps(
            evaluation.student,
            batch.images,
            batch.labels,
            self.epsilon_255,
            self.steps,
            self.seed,
            batch.indices,
        )

    def columns(self, batch: Batch, output: EvaluationOutput) -> Columns:
        # Of other conditions, and after a defense, there are none.
        return self._waiting.popleft() if self._waiting and output.defense is None else {}

    def summary(self, columns: Columns) -> dict[str, Any]:
        if STATISTICS[0] not in columns:
            return {}
        self._summary = summary(columns)
        return {name: self._summary[name]["mean"] for name in STATISTICS if name in self._summary}

    def finish(
        self, trainer: Trainer, folder: Path | None, condition: Condition, columns: Columns
    ) -> None:
        if condition != Condition() or folder is None:
            return
        evaluation = trainer.lightning_module
        assert isinstance(evaluation, Evaluation)
        # Made again, not kept: an evaluation that was stopped has their figures alone.
        dataset = clean_loader(trainer, "maps are made of clean images").dataset
        shown = collate([dataset[place] for place in spaced(len(dataset), self.shown)])
        maps = self._maps(
            evaluation,
            shown._replace(
                images=shown.images.to(evaluation.device),
                labels=shown.labels.to(evaluation.device),
                indices=shown.indices.to(evaluation.device),
            ),
        )
        arrays = {name: part.detach().cpu().numpy() for name, part in maps._asdict().items()}
        arrays["index"] = shown.indices.numpy()
        arrays["images"] = shown.images.mul(255).round().byte().numpy()
        file = io.BytesIO()
        np.savez_compressed(file, **arrays)
        write_whole(folder / "maps.npz", file.getvalue())
        text = json.dumps(self._summary, indent=2, allow_nan=False) + "\n"
        write_whole(folder / "maps.json", text)
