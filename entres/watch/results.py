"""What W&B is told of an evaluation beside its figures: a column per condition, and one table."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger

from entres.callbacks import ResultsStore
from entres.data import Batch
from entres.results import Row
from entres.watch.loggers import tell


class ResultsWatch(Callback):
    """Tells W&B each row of the results when it is there, and all of them in a table at the end.

    It stands behind the store in the trainer's callbacks, so that a row is there when it looks.

    Args:
        store: whose rows.
    """

    def __init__(self, store: ResultsStore) -> None:
        self.store = store
        self._told = 0

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._told = 0

    def on_test_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._tell(trainer)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._tell(trainer)
        # Once per evaluation: a table per condition would repeat all rows before it.
        columns, table = _as_table(self.store.rows)
        if trainer.is_global_zero:
            for logger in _loggers(trainer):
                tell(logger, partial(logger.log_table, "results", columns=columns, data=table))

    def _tell(self, trainer: Trainer) -> None:
        # On other ranks than zero the store has no rows.
        for row in self.store.rows[self._told :]:
            for logger in _loggers(trainer):
                tell(logger, partial(_summarize, logger, row))
        self._told = len(self.store.rows)


def _summarize(logger: WandbLogger, row: Row) -> None:
    logger.experiment.summary.update(headline(row))


def headline(row: Row) -> dict[str, float]:
    """What a condition comes to, by names of its own in W&B: ``kib/pgd_e 4 (strong)``."""
    label = row.label.replace("/255", "")  # a slash would open a section there
    return {f"kib/{label}": row.kib_mean, f"accuracy/{label}": row.accuracy}


def _loggers(trainer: Trainer) -> list[WandbLogger]:
    return [logger for logger in trainer.loggers if isinstance(logger, WandbLogger)]


def _as_table(rows: Sequence[Row]) -> tuple[list[str], list[list[Any]]]:
    """Columns and cells; conditions may have been measured in different ways."""
    dicts = [{"label": row.label, **row.as_dict()} for row in rows]
    columns = list(dict.fromkeys(name for values in dicts for name in values))
    cells = [[values.get(name) for name in columns] for values in dicts]
    return columns, [["; ".join(c) if isinstance(c, list) else c for c in row] for row in cells]
