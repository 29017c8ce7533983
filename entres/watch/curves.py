"""The curves of a training run, by the names that it logs, and what is told of each at its end."""

from __future__ import annotations

from functools import partial
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger

from entres.watch.loggers import tell

STEP = "trainer/global_step"
"""The x-axis of every curve: optimizer steps, so that a resumed run goes on where it stopped."""

SUMMARIES = {
    "val/kib": "min,max,last",
    "val/bits": "min,max,last",
    "val/distortion": "min,last",
    "val/accuracy": "max,last",
    "train/loss_epoch": "min,last",
}
"""Curve: which of its values stand in the run's summary, as ``val/accuracy.max``."""


class CurveSummaries(Callback):
    """Asks W&B for the extremes of the curves beside their last values."""

    def __init__(self) -> None:
        self._asked = False

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._asked = False

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        # Not before: a run that is refused before its first batch is none of W&B's.
        if self._asked:
            return
        self._asked = True
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                tell(logger, partial(_define, logger))


def _define(logger: WandbLogger) -> None:
    for name, summary in SUMMARIES.items():
        # On other ranks than zero, experiment is a stand-in that does nothing.
        logger.experiment.define_metric(name, step_metric=STEP, summary=summary)
