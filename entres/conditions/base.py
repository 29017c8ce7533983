"""The template of data modules that put the images of another one under test conditions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol, cast

from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from entres.data import Batch, ImageDataModule
from entres.data.checks import require_at_least
from entres.data.sampling import TrainingLoader
from entres.data.sources import Sample
from entres.defenses import Defense
from entres.models import EntropicStudent
from entres.results import Condition


class ModuleUnderTest(Protocol):
    """What a condition may ask of the module that is tested or trained.

    Attributes:
        student: the network at hand.
        defenses: what test images go through before it.
    """

    student: EntropicStudent
    defenses: Sequence[Defense]


class ConditionsDataModule(LightningDataModule, ABC):
    """One test dataloader per condition, over the test images of another data module.

    The batch is changed in ``on_after_batch_transfer``: on the device where it already is, on every
    rank for its own images. What else is asked of it (``name``, ``num_classes``, ...) the other
    data module answers.

    Args:
        data: where the images come from.
        seed: source of all that is random; an image's share of it depends on its index, so that
            the same image is changed in the same way in any batch and on any rank.

    Raises:
        ValueError: if the data have conditions of their own.
    """

    def __init__(self, data: ImageDataModule, seed: int = 0) -> None:
        super().__init__()
        require_at_least("seed", seed, 0)
        if hasattr(data, "conditions"):
            raise ValueError(f"the images of {type(data).__name__} are under conditions already")
        self.data = data
        self.data.seed = self.seed = seed
        self.name = data.name  # Lightning has an attribute of that name
        self.evaluated: Mapping[int, Collection[int]] = {}  # See :class:`ImageDataModule`.

    def __getattr__(self, name: str) -> Any:
        # Reached only by what is not found here.
        if name.startswith("_") or name == "data":
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        return getattr(self.data, name)

    @property
    def under_test(self) -> ModuleUnderTest:
        """The trainer's module, which need not have all of it: a teacher has no student."""
        assert self.trainer is not None
        return cast(ModuleUnderTest, self.trainer.lightning_module)

    @property
    @abstractmethod
    def conditions(self) -> Sequence[Condition]:
        """What is done to the images of each test dataloader."""

    @abstractmethod
    def apply(self, batch: Batch, number: int) -> Batch:
        """Put a batch under condition ``number``."""

    def apply_in_training(self, batch: Batch) -> Batch:
        """What a training batch goes through: nothing, unless overridden."""
        return batch

    def prepare_data(self) -> None:
        self.data.prepare_data()

    def setup(self, stage: str | None = None) -> None:
        self.data.trainer = self.trainer
        self.data.setup(stage)

    def train_dataloader(self) -> TrainingLoader:
        return self.data.train_dataloader()

    def val_dataloader(self) -> DataLoader[Sample]:
        return self.data.val_dataloader()

    def test_dataloader(self) -> list[DataLoader[Sample]]:
        numbers = range(len(self.conditions))
        return [self.data.test_loader(self.evaluated.get(number, ())) for number in numbers]

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Change the batch where it is needed: in tests, and in training."""
        assert self.trainer is not None
        if self.trainer.testing:
            return self.apply(batch, dataloader_idx)
        return self.apply_in_training(batch) if self.trainer.training else batch
