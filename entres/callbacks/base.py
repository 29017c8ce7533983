"""The template of what is measured on every image of an evaluation."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Callback
from torch import Tensor

from entres.data import Batch
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
