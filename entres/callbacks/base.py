"""The template of what is measured on every image of an evaluation."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor

from entres.data import Batch
from entres.results import Condition
from entres.stages.evaluation import EvaluationOutput

Columns = Mapping[str, Tensor]
"""Per-image values by name, each of shape (images,)."""


class Measurement(Callback):
    """Measures something on every image. :class:`ResultsStore` collects it over batches and ranks.

    To measure something else, write another one and add it to the trainer's callbacks: its columns
    then stand in ``records.csv`` and its figures in ``summary.json``.
    """

    @abstractmethod
    def columns(self, batch: Batch, output: EvaluationOutput) -> Columns:
        """Values of every image of a batch, each of shape (N,); empty where there is nothing."""

    @abstractmethod
    def summary(self, columns: Columns) -> dict[str, Any]:
        """Figures over all images of a condition, each image once: keys of a result row."""


def conditions_of(trainer: Trainer) -> Sequence[Condition]:
    """The conditions of the test dataloaders, in their order; one clean one by default."""
    return getattr(trainer.datamodule, "conditions", None) or [Condition()]  # type: ignore[attr-defined]


def gather(columns: Columns) -> dict[str, Tensor]:
    """The columns of all ranks, sorted by ``index``, every image once; all ranks must call it.

    Args:
        columns: the same names on every rank, each of shape (images of the rank, ...).
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        parts: list[Any] = [None] * torch.distributed.get_world_size()
        torch.distributed.all_gather_object(parts, columns)
        columns = {name: torch.cat([part[name] for part in parts]) for name in columns}
    order = torch.argsort(columns["index"], stable=True)
    index = columns["index"][order]
    first = torch.ones(len(index), dtype=torch.bool)
    first[1:] = index[1:] != index[:-1]
    return {name: values[order][first] for name, values in columns.items()}
