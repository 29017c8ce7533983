"""The template of what is measured on every image of an evaluation."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor

from entres.data import Batch, DataError
from entres.data.sources import ImageSource
from entres.results import Condition
from entres.stages.evaluation import EvaluationOutput

Columns = Mapping[str, Tensor]
"""Per-image values by name, each of shape (images,)."""


class Measurement(Callback):
    """Measures something on every image. :class:`ResultsStore` collects it over batches and ranks.

    To measure something else, write another one and add it to the trainer's callbacks: its columns
    then stand in ``records.csv`` and its figures in ``summary.json``.

    Its columns hold all that it knows of an image: an evaluation that was stopped goes on with the
    columns of the images that are measured.
    """

    @abstractmethod
    def columns(self, batch: Batch, output: EvaluationOutput) -> Columns:
        """Values of every image of a batch, each of shape (N,); empty where there is nothing.

        Values of shape (N, ...) are collected as well, but do not stand in ``records.csv``.
        """

    @abstractmethod
    def summary(self, columns: Columns) -> dict[str, Any]:
        """Figures over all images of a condition, each image once: keys of a result row."""

    def finish(
        self, trainer: Trainer, folder: Path | None, condition: Condition, columns: Columns
    ) -> None:
        """Write what stands beside the results of a condition that has ended; all ranks call it.

        Args:
            trainer: the trainer.
            folder: where it is written; None where nothing is to be, as on all ranks but one.
            condition: without a defense.
            columns: of its images as they were received, each image once.
        """


def conditions_of(trainer: Trainer) -> Sequence[Condition]:
    """The conditions of the test dataloaders, in their order; one clean one by default."""
    return getattr(trainer.datamodule, "conditions", None) or [Condition()]  # type: ignore[attr-defined]


def loaders_of(trainer: Trainer) -> list[Any]:
    """The test dataloader of each condition, in their order."""
    loaders: Any = trainer.test_dataloaders
    return loaders if isinstance(loaders, list) else [loaders]


def leave_out(trainer: Trainer) -> bool:
    """Whether the loaders leave out what is evaluated; those of a module of one's own may not."""
    evaluated = getattr(trainer.datamodule, "evaluated", {})  # type: ignore[attr-defined]
    left_out = [getattr(loader.sampler, "evaluated", ()) for loader in loaders_of(trainer)]
    return [frozenset(some) for some in left_out] == [
        frozenset(evaluated.get(number, ())) for number in range(len(left_out))
    ]


def source_of(trainer: Trainer, number: int) -> ImageSource | None:
    """Where the images of a condition come from, if its data set tells."""
    return getattr(loaders_of(trainer)[number].dataset, "source", None)


def images_asked(trainer: Trainer) -> int:
    """Images of the condition that has most of them, in this evaluation."""
    loaders = loaders_of(trainer)
    counts = []
    for loader, batches in zip(loaders, trainer.num_test_batches, strict=True):
        most = batches * (loader.batch_size or 1) * trainer.world_size
        there = len(getattr(loader.sampler, "evaluated", ()))
        counts.append(min(len(loader.dataset), int(most) + there))
    return max(counts, default=0)


def clean_loader(trainer: Trainer, why: str) -> Any:
    """The test dataloader of the clean images.

    Args:
        why: begins the message if there is none: what needs them.

    Raises:
        DataError: if the evaluation has no clean images.
    """
    conditions = list(conditions_of(trainer))
    if Condition() not in conditions:
        raise DataError(f"{why}, and this evaluation has none")
    return loaders_of(trainer)[conditions.index(Condition())]


def spaced(length: int, count: int) -> list[int]:
    """Places of at most so many images of a data set, evenly spaced over it, ascending.

    The first images of a data set are often of one class.
    """
    return torch.linspace(0, length - 1, min(count, length)).round().long().tolist()


def gather(columns: Columns) -> dict[str, Tensor]:
    """The columns of all ranks, sorted by ``index``, every image once; all ranks must call it.

    Args:
        columns: the same names on every rank that has images, each of shape (images, ...).
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        parts: list[Any] = [None] * torch.distributed.get_world_size()
        torch.distributed.all_gather_object(parts, columns)
        parts = [part for part in parts if part]
        columns = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    order = torch.argsort(columns["index"], stable=True)
    index = columns["index"][order]
    first = torch.ones(len(index), dtype=torch.bool)
    first[1:] = index[1:] != index[:-1]
    return {name: values[order][first] for name, values in columns.items()}
