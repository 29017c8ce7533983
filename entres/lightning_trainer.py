"""What is asked of Lightning's trainer: what makes no sense here is refused before anything runs.

Lightning takes some settings that it stumbles over later, or that would leave an untrained network
as a result; others it refuses in words of its own, from deep inside.
"""

from __future__ import annotations

import inspect
import io
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.loggers import CSVLogger

from entres.callbacks.results import UNFINISHED
from entres.experiment.same import FILE
from entres.files import write_whole
from entres.lightning_errors import first_sentence
from entres.stages import Evaluation, StudentStage
from entres.verbs.parser import UsageError

MOST_ON_A_CPU = 8
"""Processes that a machine with fewer cores may be asked for, to try what runs on more."""
NO_END = (-1, None)
"""What stands for no limit of epochs or steps."""


class TrainerError(UsageError):
    """A setting of the trainer's that cannot be used."""


def check_settings(
    verb: str, given: Mapping[str, Any], model: LightningModule, data: LightningDataModule
) -> None:
    """Refuse settings of the trainer's.

    Args:
        verb: ``fit`` or ``test``.
        given: the trainer's settings by name.
        model: what is trained or evaluated.
        data: on what.

    Raises:
        TrainerError: naming the setting, its value and what to give instead.
    """

    def refuse(name: str, why: str) -> None:
        raise TrainerError(f"--trainer.{name} {given.get(name)}: {why}")

    if given.get("barebones"):
        refuse("barebones", "it would write nothing; --trainer.fast_dev_run is a trial of a batch")
    checks = _FIT if verb == "fit" else _TEST
    for name, (is_wrong, why) in checks.items():
        if given.get(name) is not None and is_wrong(given[name]):
            refuse(name, why)
    if verb == "fit" and given.get("max_epochs") in NO_END and given.get("max_steps") in NO_END:
        refuse(
            "max_epochs",
            "the rate of learning follows a schedule over the whole run, so give a number (or "
            "--trainer.max_steps); --trainer.max_time may end it sooner",
        )
    codes = isinstance(model, StudentStage | Evaluation)
    if codes and str(given.get("precision")) in ("16-true", "bf16-true", "64-true", "64"):
        refuse(
            "precision",
            "a student's probabilities are computed in float32; give 32-true, or bf16-mixed or "
            "16-mixed, which leave them so",
        )
    if given.get("inference_mode") and getattr(data, "attacks", None):
        refuse("inference_mode", "attacks need gradients; leave it false")


_FIT: dict[str, tuple[Callable[[Any], bool], str]] = {
    "overfit_batches": (
        lambda value: value != 0,
        "the order of the training images is the data's own; give --data.limit_per_class and "
        "--data.augment false to train on a few images",
    ),
    "max_epochs": (lambda value: value == 0, "nothing would be trained; give 1 or more"),
    "max_steps": (lambda value: value == 0, "nothing would be trained; give 1 or more"),
    "limit_train_batches": (
        lambda value: value == 0,
        "nothing would be trained; give 1 or more batches",
    ),
    "accumulate_grad_batches": (lambda value: value < 1, "give 1 or more batches"),
    "gradient_clip_val": (lambda value: value < 0, "give a norm > 0"),
}
_TEST: dict[str, tuple[Callable[[Any], bool], str]] = {
    "limit_test_batches": (
        lambda value: value == 0,
        "nothing would be evaluated; give 1 or more batches",
    ),
}


@contextmanager
def refusals(given: Mapping[str, Any]) -> Iterator[None]:
    """Puts what the trainer's constructor refuses into one sentence that names what was asked for.

    Raises:
        TrainerError: for what the constructor raises.
    """
    try:
        yield
    except (MisconfigurationException, ValueError, TypeError, ImportError) as error:
        defaults = inspect.signature(Trainer.__init__).parameters
        asked = [
            f"{name} {value}"
            for name, value in given.items()
            if name in defaults
            and value != defaults[name].default
            and isinstance(value, str | int | float | list)
            and name in WHAT_IT_RUNS_ON | {n for n in given if n in str(error)}
        ]
        hint = ""
        if given.get("accelerator") not in (None, "auto", "cpu"):
            hint = "; --trainer.accelerator auto takes what this machine has"
        raise TrainerError(
            f"the trainer cannot be had as asked for ({', '.join(asked) or 'see there'}): "
            f"{first_sentence(error)}{hint}"
        ) from error


WHAT_IT_RUNS_ON = {"accelerator", "strategy", "devices", "num_nodes", "precision"}


def check_devices(trainer: Trainer) -> None:
    """Refuse more processes than a machine without an accelerator can take.

    Raises:
        TrainerError: naming how many were asked for, and how many cores there are.
    """
    cores = os.cpu_count() or 1
    if isinstance(trainer.accelerator, CPUAccelerator) and trainer.num_devices > max(
        cores, MOST_ON_A_CPU
    ):
        raise TrainerError(
            f"--trainer.devices {trainer.num_devices}: without an accelerator each is a process, "
            f"and there are {cores} cores; give 1"
        )


class WholeCheckpoints(TorchCheckpointIO):
    """Checkpoints that are written whole or not at all.

    Lightning writes into the system's folder for temporary files and moves what it wrote from
    there. Where that is another file system, as on most clusters, it is copied over the last
    checkpoint, and a kill or a full disk meanwhile leaves half of the only one.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        write_whole(path, buffer.getbuffer())


def write_checkpoints_whole(trainer: Trainer) -> None:
    """Let a trainer's checkpoints be whole; one that was given a way of its own keeps it."""
    if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
        trainer.strategy.checkpoint_io = WholeCheckpoints()


class NothingLeftBehind(Callback):
    """Takes back what a run has made that is refused before its first batch.

    Lightning makes a folder of logs before it opens the data or compares checkpoints.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path) -> None:
        self._made = [path for path in (folder, *folder.parents) if not path.exists()]
        notes = [folder / FILE, folder / UNFINISHED]
        self._made = [path for path in notes if not path.exists()] + self._made
        self._begun = False

    def on_train_batch_start(self, *arguments: Any) -> None:
        self._begun = True

    def on_test_batch_start(self, *arguments: Any) -> None:
        self._begun = True

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        if self._begun or not trainer.is_global_zero:
            return
        for logger in trainer.loggers:
            if isinstance(logger, CSVLogger):
                # Its version is the first that was not there when it was made.
                shutil.rmtree(logger.log_dir, ignore_errors=True)
                _remove(Path(logger.root_dir))
        for path in self._made:
            _remove(path)


def _remove(path: Path) -> None:
    """A file, a folder that holds at most a note of what was asked for; nothing else."""
    if path.is_dir():
        if path.name == UNFINISHED:
            (path / FILE).unlink(missing_ok=True)
        if not any(path.iterdir()):
            path.rmdir()
    else:
        path.unlink(missing_ok=True)
