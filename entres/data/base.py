"""The template of all data modules."""

from __future__ import annotations

import copy
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from functools import cached_property
from typing import Any, ClassVar

import torch
from lightning.pytorch import LightningDataModule

from entres.data.batches import Batch, BatchLoader, collate, stack
from entres.data.checks import DataError, require_at_least
from entres.data.sampling import (
    RemainingSampler,
    ResumableSampler,
    TrainingLoader,
    evenly_spaced,
)
from entres.data.sources import EvaluationDataset, ImageSource, TrainingDataset

__all__ = ["Batch", "ImageDataModule", "collate"]

MOST_NAMES = 20  # What identifies data is to be read by people, too.


class ImageDataModule(LightningDataModule, ABC):
    """Template of the data modules: a subclass names its classes and gives two sources.

    Validation (while training) and test read the same evaluation split; validation may take a
    smaller subset of it. Subsets are evenly spaced over the sorted images of a class, so they do
    not depend on the seed, and the indices in a batch stay those of the whole split.

    Args:
        batch_size: training images per batch and rank.
        eval_batch_size: validation and test images per batch and rank.
        num_workers: loader processes per loader; 0 loads in the main process.
        seed: seed of the training order and augmentation.
        limit_per_class: training images kept per class; ``None``: all.
        eval_limit_per_class: test images kept per class; ``None``: all.
        val_limit_per_class: validation images kept per class; ``None``: as the test images.
        augment: whether training images are augmented.

    Attributes:
        name: short name of the data set, for records and tables.
        evaluation: what an evaluation on these data is called.
        evaluated: indices of images that are not to be tested again, by the number of the test
            dataloader: those that an evaluation had measured when it was stopped.
        changes_no_training: the arguments that change no training: where images lie, how they are
            loaded, and what concerns evaluations only. A subclass declares those of its own; those
            of its bases are added.
        changes_no_evaluation: the same of an evaluation.

    Raises:
        ValueError: if a value is out of range.
    """

    changes_no_training: ClassVar[frozenset[str]] = frozenset(
        {"num_workers", "eval_batch_size", "eval_limit_per_class", "val_limit_per_class"}
    )
    changes_no_evaluation: ClassVar[frozenset[str]] = frozenset(
        {
            "num_workers",
            "eval_batch_size",
            "batch_size",
            "limit_per_class",
            "val_limit_per_class",
            "augment",
        }
    )
    name: str
    evaluation = "clean"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for base in cls.__mro__[1:]:
            if issubclass(base, ImageDataModule):
                cls.changes_no_training |= base.changes_no_training
                cls.changes_no_evaluation |= base.changes_no_evaluation

    def __init__(
        self,
        batch_size: int = 64,
        eval_batch_size: int = 16,
        num_workers: int = 2,
        seed: int = 0,
        limit_per_class: int | None = None,
        eval_limit_per_class: int | None = None,
        val_limit_per_class: int | None = None,
        augment: bool = True,
    ) -> None:
        super().__init__()
        require_at_least("batch_size", batch_size, 1)
        require_at_least("eval_batch_size", eval_batch_size, 1)
        require_at_least("num_workers", num_workers, 0)
        require_at_least("seed", seed, 0)
        require_at_least("limit_per_class", limit_per_class, 1, optional=True)
        require_at_least("eval_limit_per_class", eval_limit_per_class, 1, optional=True)
        require_at_least("val_limit_per_class", val_limit_per_class, 1, optional=True)
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.num_workers = num_workers
        self.seed = seed
        self.limit_per_class = limit_per_class
        self.eval_limit_per_class = eval_limit_per_class
        self.val_limit_per_class = val_limit_per_class
        self.augment = augment
        self.evaluated: Mapping[int, Collection[int]] = {}

    @property
    @abstractmethod
    def class_names(self) -> list[str]:
        """A readable name for every label, in the order of the labels."""

    @property
    def num_classes(self) -> int:
        """Size of the classifier's output that the labels index into."""
        return len(self.class_names)

    @property
    def identity(self) -> dict[str, Any]:
        """What the data are, wherever they lie: to compare runs by.

        Returns:
            Their ``name``, and as ``classes`` the sorted names of those that occur; of more than
            20, their number and a digest.
        """
        every = self.class_names
        names = sorted(every[label] for label in self.present_classes)
        classes: list[str] | str = names
        if len(names) > MOST_NAMES:
            digest = hashlib.sha256("\n".join(names).encode()).hexdigest()
            classes = f"{len(names)} classes, {digest[:12]}"
        return {"name": self.name, "classes": classes}

    @property
    def present_classes(self) -> list[int]:
        """The labels that occur, ascending; fewer than ``num_classes`` in a subset of ImageNet."""
        return list(range(self.num_classes))

    @abstractmethod
    def training_source(self) -> ImageSource:
        """Makes the training split, augmenting if ``self.augment``."""

    @abstractmethod
    def evaluation_source(self) -> ImageSource:
        """Makes the split for validation and test."""

    def sources(self) -> dict[str, ImageSource]:
        """All images as they are stored: what :func:`entres.data.check_data` reads.

        Returns:
            ``train`` and ``val``, whole and not augmented.
        """
        plain = copy.copy(self)
        plain.augment = False
        return {"train": plain.training_source(), "val": self.evaluation_source()}

    @cached_property
    def train_dataset(self) -> TrainingDataset:
        """The training images that are used."""
        source = self.training_source()
        return TrainingDataset(
            source, evenly_spaced(source.labels, self.limit_per_class), self.seed
        )

    @cached_property
    def _evaluation_source(self) -> ImageSource:
        return self.evaluation_source()

    @cached_property
    def val_dataset(self) -> EvaluationDataset:
        """The images of the validation loop."""
        return self._evaluation_subset(self.val_limit_per_class or self.eval_limit_per_class)

    @cached_property
    def test_dataset(self) -> EvaluationDataset:
        """The images of the test loop."""
        return self._evaluation_subset(self.eval_limit_per_class)

    def _evaluation_subset(self, limit: int | None) -> EvaluationDataset:
        source = self._evaluation_source
        return EvaluationDataset(source, evenly_spaced(source.labels, limit))

    def setup(self, stage: str | None = None) -> None:
        """Opens the splits that a stage needs, so that data errors come before any work.

        Args:
            stage: ``fit``, ``validate``, ``test`` or ``None`` for all. Calling it again is free.
        """
        if stage in (None, "fit"):
            _ = self.train_dataset
        if stage in (None, "fit", "validate"):
            _ = self.val_dataset
        if stage in (None, "test"):
            _ = self.test_dataset

    def train_dataloader(self) -> TrainingLoader:
        """Shuffled batches of the training images; resumes in mid-epoch with the trainer."""
        replicas, rank = self._ranks()
        sampler = ResumableSampler(
            len(self.train_dataset), num_replicas=replicas, rank=rank, seed=self.seed
        )
        return TrainingLoader(
            self.train_dataset,
            sampler,
            self._progress if self.trainer is not None else None,
            batch_size=self.batch_size,
            # A smaller last batch would give its images more weight, and one image alone breaks
            # batch normalization; but a set smaller than a batch must still train.
            drop_last=len(sampler) >= self.batch_size,
            **self._loader_options(),
        )

    def val_dataloader(self) -> BatchLoader:
        """The validation images in order, each on exactly one rank."""
        return self._evaluation_loader(self.val_dataset, persistent=True)

    def test_dataloader(self) -> BatchLoader:
        """The test images in order, each on exactly one rank."""
        # What a module with conditions of its own makes of it is not known here.
        own = getattr(self, "conditions", None)
        return self.test_loader(self.evaluated.get(0, ()) if own is None else ())

    def test_loader(self, evaluated: Collection[int] = ()) -> BatchLoader:
        """The test images in order without some of them, each on exactly one rank.

        Args:
            evaluated: indices that are left out.
        """
        # Read once: workers that stay would pile up over many test conditions.
        return self._evaluation_loader(self.test_dataset, False, evaluated)

    def _evaluation_loader(
        self, dataset: EvaluationDataset, persistent: bool, evaluated: Collection[int] = ()
    ) -> BatchLoader:
        replicas, rank = self._ranks()
        if len(dataset) < replicas:
            raise DataError(
                f"evaluation needs at least one image per rank, got {len(dataset)} images for "
                f"{replicas} ranks: raise eval_limit_per_class or use fewer devices"
            )
        sampler = RemainingSampler(dataset.indices, evaluated, num_replicas=replicas, rank=rank)
        return BatchLoader(
            dataset,
            batch_size=self.eval_batch_size,
            sampler=sampler,
            **self._loader_options(persistent),
        )

    def _loader_options(self, persistent: bool = True) -> dict[str, Any]:
        # Workers need no thread limit of ours: torch gives each of them one thread.
        return {
            "num_workers": self.num_workers,
            "collate_fn": stack,
            "persistent_workers": persistent and self.num_workers > 0,
            "pin_memory": torch.cuda.is_available(),
        }

    def _ranks(self) -> tuple[int, int]:
        """Number of ranks, and this rank; (1, 0) without a trainer."""
        if self.trainer is None:
            return 1, 0
        return self.trainer.world_size, self.trainer.global_rank

    def _progress(self) -> tuple[int, int]:
        """The trainer's current epoch, and the number of its batches that are done."""
        assert self.trainer is not None
        done: int = self.trainer.fit_loop.epoch_loop.batch_progress.current.ready
        return self.trainer.current_epoch, done
