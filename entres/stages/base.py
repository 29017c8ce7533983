"""What the stages share: a thin Lightning shell round plain networks."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.cli import OptimizerCallable
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torchmetrics import MeanMetric

from entres.card import read_metadata
from entres.data import Batch, dataset_name
from entres.data.sampling import mix_seed
from entres.experiment.same import RunConflictError, differences
from entres.stages.finite import require_finite
from entres.stages.schedules import LearningRateSchedule


class Stage(pl.LightningModule, ABC):
    """One training run that ends in one file of weights.

    Args:
        optimizer: makes the optimizer from parameter groups.
        schedule: the learning rate over the run.
        seed: source of all noise. The noise of a step depends on (seed, step, rank) alone, so that
            a killed and resumed run ends where an undisturbed one does.
    """

    recipe: str
    """What the stage is called: the name of its file in ``configs/stage``."""
    result: str
    """Name of the file that a finished stage leaves in its folder."""
    backbone_name: str
    """timm name of the teacher."""
    training_attacks: str = ""
    """Attacks on the training batches, such as ``pgd_e8``; part of the run's name."""
    asked: Mapping[str, Any]
    """What the run was asked for; stays in its checkpoints, and is compared when one is resumed."""

    def __init__(
        self, optimizer: OptimizerCallable, schedule: LearningRateSchedule, seed: int
    ) -> None:
        super().__init__()
        self.make_optimizer = optimizer
        self.schedule = schedule
        self.seed = seed
        self.batch_index = 0
        self.asked = {}
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

    def thawed(self) -> Iterable[nn.Parameter]:
        """Parameters of what is frozen that learn all the same."""
        return []

    @abstractmethod
    def save_result(self, path: Path) -> None:
        """Write the file that the next stage starts from."""

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
        for parameter in self.thawed():
            parameter.requires_grad_(True)
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
        # The batch as well: the step stands still while gradients are accumulated.
        mixed = mix_seed(self.seed, self.global_step, self.batch_index, self.global_rank)
        return torch.Generator(self.device).manual_seed(mixed)

    def log_terms(self, batch: Batch, terms: dict[str, Tensor]) -> None:
        """Log training terms, means over the batches of all ranks, per step and per epoch.

        Raises:
            NotFiniteError: if the loss is not finite: what comes after it would be no training.
        """
        require_finite("the loss", terms["loss"], self.global_step)
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

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        norms = [
            p.grad.norm() for g in optimizer.param_groups for p in g["params"] if p.grad is not None
        ]
        if norms and not self._scales_gradients():
            require_finite("a gradient", torch.stack(norms), self.global_step)

    def _scales_gradients(self) -> bool:
        """Whether half precision is at work, whose scaler skips steps with infinite gradients."""
        return getattr(self.trainer.precision_plugin, "scaler", None) is not None

    def collect_terms(self, terms: dict[str, Tensor]) -> None:
        """Collect validation terms, one value per image.

        Raises:
            NotFiniteError: if one is not finite.
        """
        for name, value in terms.items():
            require_finite(f"val/{name}", value, self.global_step)
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
        if getattr(self.trainer, "fast_dev_run", False):  # a trial of one batch
            return
        # A condition of its own may have stopped it before (EarlyStopping, max_time). What Ctrl-C
        # or a signal ends does not come here.
        if not (self.trainer.should_stop or self.trainer.global_step >= self.total_steps):
            return
        if self.trainer.is_global_zero:
            # No loss was computed with what the last step made of them.
            self._require_finite_weights()
            self.eval()
            self.save_result(Path(self.trainer.default_root_dir) / self.result)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # Before it is written: the checkpoint that is there is a good one.
        self._require_finite_weights()
        checkpoint["entres_asked"] = dict(self.asked)

    def _require_finite_weights(self) -> None:
        for name, value in self.state_dict().items():
            if value.is_floating_point():
                require_finite(f"the weight {name}", value, self.global_step)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if changed := differences(checkpoint.get("entres_asked", {}), self.asked):
            raise RunConflictError.of(self.trainer.default_root_dir, changed)

    @property
    def dataset(self) -> str:
        """Name of the data that the run trains on."""
        return dataset_name(self.trainer.datamodule)  # type: ignore[attr-defined]


def class_names(data: Any) -> tuple[str, ...] | None:
    """The name of each class of a data module, where it has names."""
    names = getattr(data, "class_names", None)
    return None if names is None else tuple(names)


CLASS_NAMES = "class_names"
"""In the metadata of a teacher's file."""


def classes_of_teacher(file: str | Path) -> tuple[str, ...] | None:
    """The name of each class that a teacher's file knows, where it says so."""
    said = json.loads(read_metadata(file).get(CLASS_NAMES, "null"))
    return None if said is None else tuple(said)
