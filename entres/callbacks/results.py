"""Collects what was measured, over batches and ranks, and writes it down."""

from __future__ import annotations

import shutil
import time
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from entres.callbacks.base import (
    Measurement,
    conditions_of,
    gather,
    images_asked,
    leave_out,
    source_of,
)
from entres.callbacks.begun import FOLDER as BEGUN
from entres.callbacks.begun import Begun, Left, Part, clear, lock, unlock
from entres.data import Batch, dataset_name
from entres.data.sources import ImageSource
from entres.experiment.layout import weights_digest
from entres.experiment.same import FILE as ASKED
from entres.experiment.same import RunConflictError, differences, read_asked, write_asked
from entres.records import RECORDS, append_records, keep_records, write_records
from entres.results import (
    CONVERGENCE,
    SUMMARY,
    Condition,
    ResultsError,
    Row,
    is_whole,
    read_summary,
    recorded_condition,
    write_summary,
)
from entres.stages.evaluation import Evaluation, EvaluationOutput

CARD_KEYS = ("backbone", "codec", "beta", "recipe", "seed")
UNFINISHED = "unfinished"
"""Folder inside of an evaluation's, for one that is to take the place of a finished one."""
LAG = 2
"""Batches that the coders may be behind the network."""
EVERY = 30.0
"""Seconds after which measured images are written, at the end of a batch."""


class ResultsStore(Callback):
    """Writes ``summary.json`` and ``records.csv``; ``rows`` holds the former.

    A condition is written as soon as it is finished: one row for the images as they were received
    and one for each defense, with the seconds of the one pass that they share. Images are told
    apart by their index in the data, so that one that a sampler repeated on another rank counts
    once.

    An evaluation that was stopped goes on where it was: conditions that are finished stay, and so
    do images of the next one, which are written every :data:`EVERY` seconds (see
    :class:`entres.callbacks.begun.Begun`). One that was asked for otherwise is not replaced, one of
    other weights or images is; one of a limited number of batches begins anew.

    A finished evaluation stays until a finished one takes its place. One of as many images that was
    asked for otherwise is not replaced at all; one of fewer is. A trial (``fast_dev_run``) writes
    nothing.

    Attributes:
        rows: of the conditions that are finished.
        writes: whether anything is written: false of a trial.
        target: where it is written until the evaluation is finished.

    Args:
        folder: where the files go.
        asked: what the evaluation is asked for (see :mod:`entres.experiment.same`).
    """

    def __init__(self, folder: str | Path, asked: Mapping[str, Any] | None = None) -> None:
        self.folder = Path(folder)
        self.asked = asked or {}
        self.rows: list[Row] = []
        self.target = self.folder
        self.writes = True
        self._left = Left()
        self._begun: Begun | None = None
        self._lock: IO[str] | None = None
        self._parts: list[Part] = []
        self._written = 0
        self._outputs = 1
        self._pending: deque[tuple[Batch, Sequence[EvaluationOutput]]] = deque()
        self._columns: list[dict[str, list[Tensor]]] = []
        self._current: int | None = None
        self._counted = self._ended = 0.0

    @classmethod
    def of(cls, trainer: Trainer) -> ResultsStore:
        """The one among the callbacks of a trainer."""
        (store,) = (c for c in trainer.callbacks if isinstance(c, cls))  # type: ignore[attr-defined]
        return store

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """See what an evaluation has left, before there are loaders: these leave it out.

        Raises:
            RunConflictError: if one was begun that was asked for otherwise, or another process does
                it now.
        """
        if stage != "test":
            return
        assert isinstance(pl_module, Evaluation)
        self.writes = not getattr(trainer, "fast_dev_run", False)
        if self.writes and trainer.is_global_zero:
            self._lock = lock(self.folder)
        self._weights = weights_digest(pl_module.student_file)
        self._outputs = 1 + len(pl_module.defenses)
        takes_place = self.writes and bool(self._finished_before())
        target = self.folder / UNFINISHED if takes_place else self.folder
        self.target = trainer.strategy.broadcast(target)
        self._begun, self._left = None, Left()
        data = trainer.datamodule  # type: ignore[attr-defined]
        if not self.writes or not hasattr(data, "evaluated"):
            return
        begun = Begun(
            self.target,
            self._weights,
            getattr(data, "test_datasets", None) or [data.test_dataset],
            conditions_of(trainer),
            self.asked,
            trainer.global_rank,
        )
        left = begun.read(self._outputs) if trainer.is_global_zero else Left()
        # A number of batches would be other ones, without the images that are there.
        if isinstance(trainer.limit_test_batches, float) and trainer.limit_test_batches == 1:
            self._begun, self._left = begun, left
        indices = frozenset(data.test_dataset.indices.tolist())
        data.evaluated = trainer.strategy.broadcast(self._left.evaluated(indices))

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._current = None
        self._pending.clear()
        if not leave_out(trainer):
            self._left = Left()
        self.rows = list(self._left.rows)
        if self.writes and trainer.is_global_zero:
            if self.target != self.folder:
                self._require_same(trainer, self._finished_before())
            if self._left:
                rank_zero_info(f"going on with {self.target}, which has {self._left}")
                self._keep_finished()
            else:
                clear(self.target)
            write_asked(self.target, self.asked)
        trainer.strategy.barrier()

    def _keep_finished(self) -> None:
        """Take out lines without a row: a kill may have come between these and that."""
        finished = {recorded_condition(vars(row)) for row in self.rows}
        for name in (RECORDS, CONVERGENCE):
            if (self.target / name).is_file():
                keep_records(self.target, lambda line: recorded_condition(line) in finished, name)

    def _require_same(self, trainer: Trainer, there: Sequence[Row]) -> None:
        """An evaluation of as many images that was asked for otherwise is not replaced.

        Raises:
            RunConflictError: if there is one.
        """
        changed = differences(read_asked(self.folder) or {}, self.asked)
        if changed and max(row.images for row in there) >= images_asked(trainer):
            raise RunConflictError(
                f"{self.folder} holds an evaluation of {there[0].images} images with other "
                f"settings ({'; '.join(changed)}): name this one --model.evaluation NAME, or "
                "delete that folder"
            )

    def is_finished(self, student: str | Path) -> bool:
        """Whether the folder holds what is asked for, of these weights, down to every image."""
        rows, asked = self._finished_before(), read_asked(self.folder)
        if not rows or asked is None:
            return False
        # An attack leaves its steps as well.
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
            self._finish(trainer, pl_module)  # one whose batches could not be counted
            self._begin(dataloader_idx)

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
        self._collect(trainer, LAG)
        self._ended = time.perf_counter()
        # Not when the next condition begins: its first batch may take an attack of minutes, and
        # a kill meanwhile would lose this one.
        if batch_idx + 1 == trainer.num_test_batches[dataloader_idx]:
            self._finish(trainer, pl_module)
            self._ended = time.perf_counter()
        elif self._ended - self._counted > EVERY:
            self._keep(trainer)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._finish(trainer, pl_module)
        if not self.writes:
            return
        trainer.strategy.barrier()
        # Where ranks share no disk, each has files of its own.
        shutil.rmtree(self.target / BEGUN, ignore_errors=True)
        if trainer.is_global_zero and self.target != self.folder:
            # What was asked for comes last: a kill must not leave it beside old figures.
            for path in sorted(self.target.iterdir(), key=lambda path: path.name == ASKED):
                path.replace(self.folder / path.name)
            self.target.rmdir()
            self.target = self.folder

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        # Of whatever stopped it, a full disk among it, the user is to hear that alone. Batches that
        # are not collected yet stay out: it may have been stopped while one was.
        with suppress(Exception):
            if self._current is not None:
                self._pending.clear()
                self._keep(trainer)
        self._release(trainer)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._release(trainer)

    def _release(self, trainer: Trainer) -> None:
        if self._lock is not None:
            unlock(self._lock)
            self._lock = None
        if hasattr(trainer.datamodule, "evaluated"):  # type: ignore[attr-defined]
            # Whoever takes these data next gets all of them.
            trainer.datamodule.evaluated = {}  # type: ignore[attr-defined]

    # --- one condition ---------------------------------------------------------------------------

    def _begin(self, number: int) -> None:
        """Take what there is of a condition; its images come on top."""
        there = self._left.parts if number == self._left.finished else []
        self._parts, self._written = list(there), len(there)
        self._columns = [defaultdict(list) for _ in range(self._outputs)]
        # Its first batch is there already: since the last one ended, it was loaded and attacked.
        self._current, self._counted = number, self._ended

    def _measurements(self, trainer: Trainer) -> list[Measurement]:
        return [c for c in trainer.callbacks if isinstance(c, Measurement)]  # type: ignore[attr-defined]

    def _collect(self, trainer: Trainer, pending: int = 0) -> None:
        """Measure batches until so many are pending; each of them wholly, or not at all."""
        while len(self._pending) > pending:
            batch, outputs = self._pending.popleft()
            measured: list[dict[str, Tensor]] = []
            for output in outputs:
                columns = {"index": batch.indices.cpu()}
                for measurement in self._measurements(trainer):
                    for name, values in measurement.columns(batch, output).items():
                        columns[name] = values.detach().cpu()
                measured.append(columns)
            self._require_same_columns(measured)
            for kept, columns in zip(self._columns, measured, strict=True):
                for name, values in columns.items():
                    kept[name].append(values)

    def _require_same_columns(self, measured: Sequence[Mapping[str, Tensor]]) -> None:
        """Images that were measured before have the columns that they would have now.

        Raises:
            RunConflictError: if they have others.
        """
        # All parts are as the first one: each was compared with it before it was made.
        before = self._parts[0].columns if self._parts else measured
        if [each.keys() for each in before] != [each.keys() for each in measured]:
            raise RunConflictError(
                f"{self.target} was begun with other measurements: delete "
                f"{self.target / BEGUN}/{self._current:04d}-*.npz, and this condition is "
                "evaluated anew"
            )

    def _take(self, trainer: Trainer) -> None:
        """Make a part of what was measured since the last one, with the seconds that it took."""
        beginning = time.perf_counter()
        self._collect(trainer)
        until = self._ended + time.perf_counter() - beginning
        seconds = until - self._counted if trainer.is_global_zero else 0.0
        joined = [{n: torch.cat(parts) for n, parts in each.items()} for each in self._columns]
        self._columns = [defaultdict(list) for _ in joined]
        self._counted = until
        if joined[0]:
            self._parts.append(Part(joined, seconds))

    def _keep(self, trainer: Trainer) -> None:
        """Write the images that were not written before."""
        if not (self.writes and self._begun is not None and self._current is not None):
            return
        self._take(trainer)
        for part in self._parts[self._written :]:
            self._begun.keep(self._current, part)
            self._written += 1

    def _finish(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take stock of the condition that has just ended, on all ranks."""
        if self._current is None:
            return
        assert isinstance(pl_module, Evaluation)
        self._take(trainer)
        beginning = time.perf_counter()
        condition = conditions_of(trainer)[self._current]
        gathered = [gather(self._joined(number)) for number in range(self._outputs)]
        seconds = sum(part.seconds for part in self._parts) + time.perf_counter() - beginning
        rows, records = self._stock(trainer, pl_module, condition, gathered, round(seconds, 3))
        writes = self.writes and trainer.is_global_zero
        for measurement in self._measurements(trainer):
            folder = self.target if writes else None
            measurement.finish(trainer, folder, condition, gathered[0])
        if writes:
            (append_records if self.rows else write_records)(self.target, records)
            if self._begun is not None:
                self._begun.sign()
            write_summary(self.target, [*self.rows, *rows])
            if self._begun is not None:
                self._begun.forget(self._current)
        self.rows += rows
        self._current, self._parts = None, []

    def _joined(self, number: int) -> dict[str, Tensor]:
        """The columns of this rank's parts, after a defense."""
        columns = [part.columns[number] for part in self._parts]
        names = columns[0] if columns else ()
        return {name: torch.cat([each[name] for each in columns]) for name in names}

    def _stock(
        self,
        trainer: Trainer,
        module: Evaluation,
        condition: Condition,
        gathered: Sequence[dict[str, Tensor]],
        seconds: float,
    ) -> tuple[list[Row], list[dict[str, Any]]]:
        """Rows and records of a condition, without a defense and behind each; on one rank."""
        rows: list[Row] = []
        records: list[dict[str, Any]] = []
        if not trainer.is_global_zero:
            return rows, records
        assert self._current is not None
        source = source_of(trainer, self._current)
        for defense, columns in zip([None, *module.defenses], gathered, strict=True):
            if defense is not None:
                condition = condition.behind(defense.name, defense.strength)
            rows.append(self._row(trainer, module, condition, columns, seconds))
            records += _records(condition, columns, source)
            self._log(trainer, rows[-1], len(self.rows) + len(rows) - 1)
        return rows, records

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
                "conditions_asked": len(conditions_of(trainer)) * self._outputs,
                "images": len(columns["index"]),
                "seconds": seconds,
                **figures,
            }
        )

    def _log(self, trainer: Trainer, row: Row, step: int) -> None:
        values = row.as_dict()
        figures = {
            f"test/{name}": value
            for name, value in values.items()
            if isinstance(value, int | float)
            and not isinstance(value, bool)
            and name not in {*asdict(Condition()), "beta", "seed", "conditions_asked"}
        }
        for logger in trainer.loggers:
            logger.log_metrics(figures, step=step)


def _records(
    condition: Condition, columns: dict[str, Tensor], source: ImageSource | None
) -> list[dict[str, Any]]:
    """One mapping per image: the index, what the image is called, what was found."""
    first = ("index", "label", "prediction", "bytes")
    columns = {name: values for name, values in columns.items() if values.ndim == 1}
    names = [n for n in first if n in columns] + [n for n in columns if n not in first]
    values = zip(*(columns[name].tolist() for name in names), strict=True)
    records = []
    for value in values:
        found = dict(zip(names, value, strict=True))
        key = source.key(found["index"]) if source is not None else None
        named = {"index": found["index"]} | ({} if key is None else {"image": key})
        records.append({**asdict(condition), **named, **found})
    return records
