"""Collects what was measured, over batches and ranks, and writes it down."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from entres.callbacks.base import Measurement, conditions_of, gather, loaders_of
from entres.data import Batch, dataset_name
from entres.data.sources import ImageSource
from entres.experiment.layout import weights_digest
from entres.experiment.same import RunConflictError, differences, read_asked, write_asked
from entres.records import RECORDS, append_records, write_records
from entres.results import (
    CONVERGENCE,
    SUMMARY,
    Condition,
    ResultsError,
    Row,
    is_whole,
    read_summary,
    write_summary,
)
from entres.stages.evaluation import Evaluation, EvaluationOutput

CARD_KEYS = ("backbone", "codec", "beta", "recipe", "seed")
UNFINISHED = "unfinished"
"""Folder inside of an evaluation's, for one that is to take the place of a finished one."""
LAG = 2
"""Batches that the coders may be behind the network."""


class ResultsStore(Callback):
    """Writes ``summary.json`` and ``records.csv``; ``rows`` holds the former.

    A condition is written as soon as it is finished: one row for the images as they were received
    and one for each defense, with the seconds of the one pass that they share. Images are told
    apart by their index in the data, so that one that a sampler repeated on another rank counts
    once. Every rank needs at least one image of every condition.

    A finished evaluation stays until a finished one takes its place. One of as many images that was
    asked for otherwise is not replaced at all; one of fewer, or one that was stopped, is. A trial
    (``fast_dev_run``) writes nothing.

    Attributes:
        rows: of the conditions that are finished.
        writes: whether anything is written: false of a trial.

    Args:
        folder: where the files go.
        asked: what the evaluation is asked for (see :mod:`entres.experiment.same`).
    """

    def __init__(self, folder: str | Path, asked: Mapping[str, Any] | None = None) -> None:
        self.folder = Path(folder)
        self.asked = asked or {}
        self.rows: list[Row] = []
        self._target = self.folder
        self.writes = True
        self._conditions = 0
        self._pending: deque[tuple[Batch, Sequence[EvaluationOutput]]] = deque()
        self._columns: list[dict[str, list[Tensor]]] = []
        self._current: int | None = None
        self._started = self._ended = 0.0

    @classmethod
    def of(cls, trainer: Trainer) -> ResultsStore:
        """The one among the callbacks of a trainer."""
        (store,) = (c for c in trainer.callbacks if isinstance(c, cls))  # type: ignore[attr-defined]
        return store

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, Evaluation)
        self.rows = []
        self._current = None
        self.writes = not getattr(trainer, "fast_dev_run", False)
        self._conditions = len(conditions_of(trainer)) * (1 + len(pl_module.defenses))
        self._weights = weights_digest(pl_module.student_file)
        self._target = self.folder
        if not self.writes or not trainer.is_global_zero:
            return
        there = self._finished_before()
        if there:
            changed = differences(read_asked(self.folder) or {}, self.asked)
            if changed and max(row.images for row in there) >= _images(trainer):
                raise RunConflictError(
                    f"{self.folder} holds an evaluation of {there[0].images} images with other "
                    f"settings ({'; '.join(changed)}): name this one --model.evaluation NAME, or "
                    "delete that folder"
                )
            self._target = self.folder / UNFINISHED
        write_asked(self._target, self.asked)

    def is_finished(self, student: str | Path) -> bool:
        """Whether the folder holds what is asked for, of these weights, down to every image."""
        rows, asked = self._finished_before(), read_asked(self.folder)
        if not rows or asked is None:
            return False
        # An attack leaves its steps as well, after the last row.
        attacked = any(row.extra.get("late_gain") is not None for row in rows)
        left = (RECORDS, CONVERGENCE) if attacked else (RECORDS,)
        if not all((self.folder / name).is_file() for name in left):
            return False
        return rows[0].weights == weights_digest(student) and not differences(asked, self.asked)

    def _finished_before(self) -> list[Row]:
        """The rows of a finished evaluation in the same folder."""
        try:
            rows = read_summary(self.folder / SUMMARY)
        except (OSError, ResultsError):
            return []
        return rows if is_whole(rows) else []

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._ended = time.perf_counter()  # not before: the coders have been started now

    def on_test_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if dataloader_idx != self._current:
            # The batch is there already: since the last one ended, it was loaded and attacked.
            making = time.perf_counter() - self._ended
            self._finish(trainer, pl_module)  # one whose batches could not be counted
            self._current, self._started = dataloader_idx, time.perf_counter() - making

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,  # a sequence of EvaluationOutput
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        # The images are no longer needed, and may be large.
        self._pending.append((batch._replace(images=batch.images[:0]), outputs))
        while len(self._pending) > LAG:
            self._collect(trainer, *self._pending.popleft())
        self._ended = time.perf_counter()
        # Not when the next condition begins: its first batch may take an attack of minutes, and
        # a kill meanwhile would lose this one.
        if batch_idx + 1 == trainer.num_test_batches[dataloader_idx]:
            self._finish(trainer, pl_module)
            self._ended = time.perf_counter()

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._finish(trainer, pl_module)
        if self._target != self.folder and trainer.is_global_zero:
            for path in self._target.iterdir():
                path.replace(self.folder / path.name)
            self._target.rmdir()

    # --- one condition ---------------------------------------------------------------------------

    def _measurements(self, trainer: Trainer) -> list[Measurement]:
        return [c for c in trainer.callbacks if isinstance(c, Measurement)]  # type: ignore[attr-defined]

    def _collect(self, trainer: Trainer, batch: Batch, outputs: Sequence[EvaluationOutput]) -> None:
        if not self._columns:
            self._columns = [defaultdict(list) for _ in outputs]
        for columns, output in zip(self._columns, outputs, strict=True):
            columns["index"].append(batch.indices.cpu())
            for measurement in self._measurements(trainer):
                for name, values in measurement.columns(batch, output).items():
                    columns[name].append(values.detach().cpu())

    def _finish(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take stock of the condition that has just ended, on all ranks."""
        if self._current is None:
            return
        finishing = time.perf_counter()
        while self._pending:
            self._collect(trainer, *self._pending.popleft())
        condition = conditions_of(trainer)[self._current]
        source = _source(trainer, self._current)
        gathered = [gather({n: torch.cat(parts) for n, parts in c.items()}) for c in self._columns]
        seconds = self._ended - self._started + time.perf_counter() - finishing
        self._columns = []
        self._current = None
        if not trainer.is_global_zero:
            return
        assert isinstance(pl_module, Evaluation)
        records: list[dict[str, Any]] = []
        known = len(self.rows)
        for defense, columns in zip([None, *pl_module.defenses], gathered, strict=True):
            if defense is not None:
                condition = condition.behind(defense.name, defense.strength)
            row = self._row(trainer, pl_module, condition, columns, round(seconds, 3))
            self.rows.append(row)
            records += _records(condition, columns, source)
            self._log(trainer, row)
        if self.writes:
            (append_records if known else write_records)(self._target, records)
            write_summary(self._target, self.rows)

    def _row(
        self,
        trainer: Trainer,
        module: Evaluation,
        condition: Condition,
        columns: dict[str, Tensor],
        seconds: float,
    ) -> Row:
        figures: dict[str, Any] = {}
        for measurement in self._measurements(trainer):
            figures |= measurement.summary(columns)
        return Row.from_dict(
            {
                "student": module.name,
                **{key: getattr(module.card, key) for key in CARD_KEYS},
                "dataset": dataset_name(trainer.datamodule),  # type: ignore[attr-defined]
                **asdict(condition),
                "weights": self._weights,
                "conditions_asked": self._conditions,
                "images": len(columns["index"]),
                "seconds": seconds,
                **figures,
            }
        )

    def _log(self, trainer: Trainer, row: Row) -> None:
        values = row.as_dict()
        figures = {
            f"test/{name}": value
            for name, value in values.items()
            if isinstance(value, int | float)
            and not isinstance(value, bool)
            and name not in {*asdict(Condition()), "beta", "seed", "conditions_asked"}
        }
        for logger in trainer.loggers:
            logger.log_metrics(figures, step=len(self.rows) - 1)


def _source(trainer: Trainer, number: int) -> ImageSource | None:
    """Where the images of a condition come from, if its data set tells."""
    return getattr(loaders_of(trainer)[number].dataset, "source", None)


def _images(trainer: Trainer) -> int:
    """Images of the condition that has most of them, in this evaluation."""
    loaders = loaders_of(trainer)
    counts = []
    for loader, batches in zip(loaders, trainer.num_test_batches, strict=True):
        most = batches * (loader.batch_size or 1) * trainer.world_size
        counts.append(min(len(loader.dataset), int(most)))
    return max(counts, default=0)


def _records(
    condition: Condition, columns: dict[str, Tensor], source: ImageSource | None
) -> list[dict[str, Any]]:
    """One mapping per image: the index, what the image is called, what was found."""
    first = ("index", "label", "prediction", "bytes")
    names = [n for n in first if n in columns] + [n for n in columns if n not in first]
    values = zip(*(columns[name].tolist() for name in names), strict=True)
    records = []
    for value in values:
        found = dict(zip(names, value, strict=True))
        key = source.key(found["index"]) if source is not None else None
        named = {"index": found["index"]} | ({} if key is None else {"image": key})
        records.append({**asdict(condition), **named, **found})
    return records
