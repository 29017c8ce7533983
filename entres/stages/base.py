"""What the stages share: a thin Lightning shell round plain networks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.cli import OptimizerCallable
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torchmetrics import MeanMetric

from entres.data import Batch
from entres.errors import EntresError
from entres.stages.schedules import LearningRateSchedule


class RunConflictError(EntresError, RuntimeError):
    """A run's folder holds a run with other settings."""

    @classmethod
    def of(cls, folder: str | Path, changed: Sequence[str]) -> RunConflictError:
        """The error of a folder and what differs: ``name: value there, value now``."""
        return cls(
            f"{folder} holds a run with other settings ({'; '.join(changed)}). Give the same "
            "settings, another --out (OUT), or delete the folder"
        )


class Stage(pl.LightningModule, ABC):
    """One training run that ends in one file of weights.

    Args:
        optimizer: makes the optimizer from parameter groups.
        schedule: the learning rate over the run.
        seed: source of all noise. The noise of a step hangs on (seed, step, rank) alone, so that a
            killed and resumed run ends where an undisturbed one does.
    """

    kind: str
    """What the stage is called: the name of its file in ``configs/stage``."""
    result: str
    """Name of the file that a finished stage leaves in its folder."""
    backbone_name: str
    """timm name of the teacher."""
    variant: str = ""
    """What is special about the training data, such as ``pgd_e``; part of the run's name."""

    def __init__(
        self, optimizer: OptimizerCallable, schedule: LearningRateSchedule, seed: int
    ) -> None:
        super().__init__()
        self.make_optimizer = optimizer
        self.schedule = schedule
        self.seed = seed
        self.batch_index = 0
        self._means: dict[str, MeanMetric] = {}

    # --- what a stage is -------------------------------------------------------------------------

    @property
    @abstractmethod
    def name(self) -> str:
        """Name of the run, and of its folder."""

    @abstractmethod
    def parameter_groups(self) -> list[dict[str, Any]]:
        """Groups for the optimizer; ``lr_factor`` multiplies its rate for a group."""

    @abstractmethod
    def frozen(self) -> Iterable[nn.Module]:
        """Parts that get no gradient and stay in evaluation mode."""

    @abstractmethod
    def save_result(self, path: Path) -> None:
        """Write the file that the next stage starts from."""

    @abstractmethod
    def trained_on(self, result: Path) -> str | None:
        """Name of the data that a finished result was trained on, where it says so."""

    # --- Lightning -------------------------------------------------------------------------------

    def train(self, mode: bool = True) -> Stage:
        """As in torch, but what is frozen stays in evaluation mode."""
        super().train(mode)
        for module in self.frozen():
            module.eval()
        return self

    def setup(self, stage: str) -> None:
        # Before the strategy wraps the module: DDP waits for the gradient of all that wants one.
        for module in self.frozen():
            module.requires_grad_(False)
        self.train()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        groups = [
            {**group, "params": [p for p in group["params"] if p.requires_grad]}
            for group in self.parameter_groups()
        ]
        factors = [group.pop("lr_factor", 1.0) for group in groups]
        optimizer = self.make_optimizer(groups)
        for group, factor in zip(optimizer.param_groups, factors, strict=True):
            group["lr"] *= factor
        scheduler = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: self.schedule(step / max(1, self.total_steps))
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole run."""
        return int(self.trainer.estimated_stepping_batches)

    @property
    def progress(self) -> float:
        """How much of the run is done, from 0 to 1."""
        return min(1.0, self.global_step / max(1, self.total_steps))

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        self.batch_index = batch_idx

    def step_generator(self) -> torch.Generator:
        """The source of this step's noise on this rank."""
        generator = torch.Generator(self.device)
        # The batch as well: the step stands still while gradients are accumulated.
        mixed = self.seed
        for part in (self.global_step, self.batch_index, self.global_rank):
            mixed = (mixed * 1_000_003 + part) % 2**63
        return generator.manual_seed(mixed)

    def log_terms(self, batch: Batch, terms: dict[str, Tensor]) -> None:
        """Log training terms, means over the batches of all ranks, per step and per epoch."""
        self.log("loss", terms["loss"].detach().mean(), prog_bar=True, logger=False)
        # Together: Lightning's sync_dist would make the ranks wait once for each of them.
        means = [value.detach().float().mean().to(self.device) for value in terms.values()]
        values = self.mean_over_ranks(torch.stack(means)).unbind()
        for name, value in zip(terms, values, strict=True):
            self.log(
                f"train/{name}",
                value,
                on_step=True,
                on_epoch=True,
                batch_size=len(batch.labels),
            )

    def mean_over_ranks(self, value: Tensor) -> Tensor:
        """The mean of what every rank has; all of them must call it."""
        gathered: Tensor = self.all_gather(value)  # type: ignore[assignment]
        return gathered.reshape(-1, *value.shape).mean(0)

    def collect_terms(self, terms: dict[str, Tensor]) -> None:
        """Collect validation terms, one value per image."""
        for name, value in terms.items():
            mean = self._means.setdefault(name, MeanMetric().to(self.device))
            mean.update(value.detach().float())

    def on_validation_epoch_end(self) -> None:
        # Not Lightning's own mean: over ranks with unequal numbers of images it is another.
        for name, mean in self._means.items():
            self.log(f"val/{name}", mean.compute(), prog_bar=name in ("kib", "accuracy"))
            mean.reset()

    def on_fit_end(self) -> None:
        """Leave the result of a finished run.

        Here and not at the end of the training loop: that is not entered again by a run that was
        killed between its last checkpoint and this.
        """
        # An interrupted run (Ctrl-C) ends here too, but it is not finished.
        if self.trainer.interrupted or self.trainer.global_step < self.total_steps:
            return
        if getattr(self.trainer, "fast_dev_run", False):  # a trial of one batch
            return
        if self.trainer.is_global_zero:
            self.eval()
            self.save_result(Path(self.trainer.default_root_dir) / self.result)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["entres_run"] = self.run_settings()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        saved, mine = checkpoint.get("entres_run", {}), self.run_settings()
        changed = [
            f"{key}: {value} there, {mine.get(key)} now"
            for key, value in saved.items()
            if value != mine.get(key)
        ]
        if changed:
            raise RunConflictError.of(self.trainer.default_root_dir, changed)

    def run_settings(self) -> dict[str, Any]:
        """What must not change when a run is resumed."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        return {
            "run": self.name,
            "data": getattr(data, "name", type(data).__name__),
            "batch_size": getattr(data, "batch_size", None),
            "train_size": getattr(data, "train_size", getattr(data, "image_size", None)),
            "limit_per_class": getattr(data, "limit_per_class", None),
            "seed": self.seed,
            "steps": self.total_steps,
        }
