"""Data modules of folders: one folder per class, in a training and a validation folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from timm.data.imagenet_info import ImageNetInfo

from entres.data.checks import DataError, require_at_least, require_choice
from entres.data.folder_source import (
    FolderIndex,
    FolderSource,
    Skipped,
    Transform,
    index_folder,
    list_classes,
    same_classes,
    some,
)
from entres.data.sampling import held_out
from entres.data.sized import SizedDataModule
from entres.data.sources import ImageSource

IMAGENET_CLASSES = 1000
USUAL_SPLITS = frozenset(("train", "training", "val", "valid", "validation", "test", "testing"))


class ImageFolderDataModule(SizedDataModule):
    """Images in ``<data_dir>/train/<class>`` and ``<data_dir>/val/<class>``, or the classes alone.

    Every format is read that Pillow reads a picture from; folders inside a class folder belong to
    the class. What lies there and is not read is counted and named once. Evaluation does without
    the training folder.

    Where ``data_dir`` holds neither of the two folders but those of the classes, some images of
    every class are kept for test. Their names decide (by a hash), so they are the same in every
    run and on every machine, and mostly stay so when images are added.

    Args:
        data_dir: folder that holds the training and the validation folder, or the class folders.
        labels: ``folders``: a class's place among the sorted folder names. ``imagenet``: folders
            are WordNet ids, labels are ImageNet-1k's 1,000.
        train_dir: name of the training folder.
        val_dir: name of the validation folder.
        test_share: part of every class that is kept for test where there are no such folders.
        expected_classes: number of class folders that there must be; ``None``: any.
        kwargs: for :class:`SizedDataModule` and :class:`ImageDataModule`.

    Attributes:
        published: whether these data are known by their published split, and are never split anew.

    Raises:
        ValueError: if a value is out of range.
        DataError: when the data are first looked at, if they are missing or not as described.
    """

    published: ClassVar[bool] = False
    changes_no_training: ClassVar[frozenset[str]] = frozenset(
        {"data_dir", "val_dir", "expected_classes"}
    )
    changes_no_evaluation: ClassVar[frozenset[str]] = frozenset(
        {"data_dir", "train_dir", "expected_classes"}
    )

    def __init__(
        self,
        data_dir: str | Path,
        labels: Literal["folders", "imagenet"] = "folders",
        train_dir: str = "train",
        val_dir: str = "val",
        test_share: float = 0.2,
        expected_classes: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        require_choice("labels", labels, ("folders", "imagenet"))
        require_at_least("expected_classes", expected_classes, 1, optional=True)
        if not 0 < test_share < 1:
            raise ValueError(f"test_share must be between 0 and 1, got {test_share}")
        self.data_dir = Path(data_dir)
        self.name = self.data_dir.resolve().name
        self.labels = labels
        self.train_dir = train_dir
        self.val_dir = val_dir
        self.test_share = test_share
        self.expected_classes = expected_classes
        self._skipped: dict[Path, Skipped] = {}
        self._said: set[Path] = set()

    @property
    def root(self) -> Path:
        """Folder that holds the training and the validation folder."""
        return self.data_dir

    @cached_property
    def is_split_here(self) -> bool:
        """Whether the class folders lie in ``root`` itself.

        Raises:
            DataError: if what lies there are splits of other names.
        """
        splits = (self.root / self.train_dir, self.root / self.val_dir)
        if self.published or not self.root.is_dir() or any(split.is_dir() for split in splits):
            return False
        classes = list_classes(self.root)
        if any(name.lower() in USUAL_SPLITS for name in classes):
            raise DataError(
                f"no folders {self.train_dir} and {self.val_dir} in {self.root}, which holds "
                f"{some(set(classes))}: name its splits with train_dir and val_dir"
            )
        return True

    @cached_property
    def folder_names(self) -> tuple[str, ...]:
        """Names of the class folders, the same in both splits, sorted.

        Evaluation needs no training images: where their folder is not there, the classes are those
        of the validation folder.
        """
        train, val = self.root / self.train_dir, self.root / self.val_dir
        if self.is_split_here:
            split = self.root
            classes = list_classes(split)
        else:
            split = train if train.is_dir() else val
            classes = same_classes(split, val, (self.train_dir, self.val_dir))
        if self.expected_classes not in (None, len(classes)):
            raise DataError(
                f"expected {self.expected_classes} class folders in {split}, "
                f"found {len(classes)} ({some(set(classes))}): check data_dir"
            )
        return classes

    @cached_property
    def folder_labels(self) -> list[int]:
        """Label of every class folder."""
        if self.labels == "folders":
            return list(range(len(self.folder_names)))
        info = ImageNetInfo()
        numbers = {info.index_to_label_name(label): label for label in range(IMAGENET_CLASSES)}
        unknown = set(self.folder_names) - numbers.keys()
        if unknown:
            raise DataError(
                f"not WordNet ids of ImageNet-1k classes: {some(unknown)} in {self.root}: "
                "with labels 'imagenet', folders are named like n01440764; else use 'folders'"
            )
        return [numbers[name] for name in self.folder_names]

    @property
    def class_names(self) -> list[str]:
        """See :attr:`ImageDataModule.class_names`."""
        if self.labels == "folders":
            return list(self.folder_names)
        info = ImageNetInfo()
        return [info.index_to_description(label) for label in range(IMAGENET_CLASSES)]

    @property
    def present_classes(self) -> list[int]:
        """See :attr:`ImageDataModule.present_classes`."""
        return sorted(self.folder_labels)

    def setup(self, stage: str | None = None) -> None:
        """See :meth:`ImageDataModule.setup`.

        Says, once, how images were split here, and which files are not read.
        """
        super().setup(stage)
        news = {root: skipped for root, skipped in self._skipped.items() if root not in self._said}
        if self.is_split_here and self.root in news:
            train, test = (len(part.files) for part in self._parts)
            rank_zero_info(
                f"no {self.train_dir} and {self.val_dir} folders in {self.root}: {train} of "
                f"{train + test} images train, {test} test, chosen by name"
            )
        self._said |= news.keys()
        together = Skipped()
        for root, skipped in news.items():
            together.update(skipped, "" if len(news) == 1 else f"{root.name}/")
        if len(together):
            where = " and ".join(map(str, news))
            rank_zero_warn(f"{len(together)} files in {where} are not read: {together}")

    def sources(self) -> dict[str, ImageSource]:
        """See :meth:`ImageDataModule.sources`; without training images where there are none."""
        if self.is_split_here or (self.root / self.train_dir).is_dir():
            return super().sources()
        return {"val": self.evaluation_source()}

    def training_source(self) -> FolderSource:
        """See :meth:`ImageDataModule.training_source`."""
        return self._source(self._training_index, *self._training_transform())

    def evaluation_source(self) -> FolderSource:
        """See :meth:`ImageDataModule.evaluation_source`."""
        # No draft: a measured accuracy must not depend on a decoder's shortcut.
        return self._source(self._evaluation_index, self._centre_crop(self.image_size), None)

    def _source(
        self, index: Callable[[], FolderIndex], transform: Transform, draft_size: int | None
    ) -> FolderSource:
        class_labels = self.folder_labels  # First: its errors say more than those of the listing.
        return FolderSource(index(), class_labels, transform, draft_size, self.exif_orientation)

    def _training_index(self) -> FolderIndex:
        return self._parts[0] if self.is_split_here else self._listed(self.root / self.train_dir)

    def _evaluation_index(self) -> FolderIndex:
        return self._parts[1] if self.is_split_here else self._listed(self.root / self.val_dir)

    def _listed(self, split: Path) -> FolderIndex:
        """Lists a split, and keeps what is not read of it to be said."""
        index = index_folder(split)
        self._skipped[split] = index.skipped
        return index

    @cached_property
    def _parts(self) -> tuple[FolderIndex, FolderIndex]:
        """The images for training and for test where the folders do not say which is which."""
        whole = self._listed(self.root)
        counts = np.bincount(whole.members)
        if single := [name for name, n in zip(whole.classes, counts, strict=True) if n < 2]:
            raise DataError(
                f"one image only in the class folders {some(set(single))} of {self.root}, which "
                "has to give images for training and for test: add some, or remove the folder"
            )
        keys = [whole.key(index) for index in range(len(whole.files))]
        test = held_out(keys, whole.members, self.test_share)
        # What is not read belongs to neither; it is named with the first.
        return whole.part(~test), replace(whole.part(test), skipped=Skipped())
