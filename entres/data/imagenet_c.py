"""ImageNet-C as it is published: files that are corrupted already."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

from entres.data.batches import BatchLoader
from entres.data.checks import DataError, require_choices
from entres.data.folder_source import (
    FolderSource,
    list_classes,
    need_folder,
    same_classes,
    some,
)
from entres.data.folders import IMAGENET_CLASSES, ImageFolderDataModule
from entres.data.sampling import evenly_spaced
from entres.data.sized import RESIZE_RATIO, CentreCrop
from entres.data.sources import EvaluationDataset, ImageSource
from entres.results import EXTRA_CORRUPTIONS, FIFTEEN, SEVERITIES, Condition

ARCHIVES = ("", "noise", "blur", "weather", "digital", "extra")
"""Folders of the published archives; empty where all were unpacked into one."""


class ImageNetCDataModule(ImageFolderDataModule):
    """ImageNet-C: one test dataloader per corruption and severity.

    Images lie in ``<data_dir>/<corruption>/<severity>/<wnid>/*.JPEG``, or in the folders of the
    published archives, ``<data_dir>/noise/<corruption>/...``. They are stored at 224 px and used as
    they are. There are none to train on.

    Args:
        data_dir: folder that holds the corruptions, or the archives' folders.
        corruptions: names; if None the fifteen, and those of the four extra ones that are there.
        severities: 1 to 5 each; all five if None.
        clean_dir: folder of the clean validation images, ``<clean_dir>/<wnid>/*.JPEG``: they are
            then the first test dataloader, which changes are measured against.
        second_resize: enlarge the stored images from 224 to 256 px and cut out the middle 224, as
            the published evaluation does. It blurs: it takes away much of what noise adds.
        expected_classes: number of class folders that there must be; None for a part of them.
        exif_orientation: whether images are turned as their EXIF data say; published, they are not.
        kwargs: for :class:`ImageFolderDataModule` and :class:`ImageDataModule`.

    Raises:
        ValueError: if a name or a value is none of these, or occurs twice.
        DataError: in ``setup``, naming every corruption and severity that is missing.
    """

    evaluation = "imagenet-c"
    published = True
    # Nothing is trained on it.
    changes_no_training = frozenset({"corruptions", "severities", "clean_dir", "second_resize"})

    def __init__(
        self,
        data_dir: str | Path,
        corruptions: list[str] | None = None,
        severities: list[int] | None = None,
        clean_dir: str | Path | None = None,
        second_resize: bool = False,
        expected_classes: int | None = IMAGENET_CLASSES,
        exif_orientation: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            data_dir,
            resize="auto" if second_resize else "stored",
            labels="imagenet",
            expected_classes=expected_classes,
            exif_orientation=exif_orientation,
            **kwargs,
        )
        self.name = "imagenet-c"
        self.asked = corruptions
        if corruptions is not None:
            require_choices("corruptions", corruptions, FIFTEEN + EXTRA_CORRUPTIONS)
        self.severities: list[int] = require_choices("severities", severities, SEVERITIES)
        self.clean_dir = None if clean_dir is None else Path(clean_dir)

    @cached_property
    def corruptions(self) -> list[str]:
        """Names of the corruptions that are read."""
        if self.asked is not None:
            return self.asked
        return [*FIFTEEN, *(name for name in EXTRA_CORRUPTIONS if self._folder(name).is_dir())]

    @property
    def conditions(self) -> Sequence[Condition]:
        """What was done to the images of each test dataloader."""
        corrupted = [
            Condition("corruption", c, s) for c in self.corruptions for s in self.severities
        ]
        return corrupted if self.clean_dir is None else [Condition(), *corrupted]

    def _folder(self, corruption: str) -> Path:
        candidates = [self.data_dir / archive / corruption for archive in ARCHIVES]
        return next((folder for folder in candidates if folder.is_dir()), candidates[0])

    def _split(self, condition: Condition) -> Path:
        """The folder of a condition's class folders."""
        if condition.corruption is None:
            assert self.clean_dir is not None
            return self.clean_dir
        return self._folder(condition.corruption) / str(condition.severity)

    def _short(self, split: Path) -> str:
        return str(split.relative_to(self.data_dir) if split != self.clean_dir else split)

    @cached_property
    def folder_names(self) -> tuple[str, ...]:
        """Names of the class folders, the same under every condition, sorted."""
        need_folder(self.data_dir)
        splits = [self._split(condition) for condition in self.conditions]
        if missing := [split for split in splits if not split.is_dir()]:
            raise DataError(
                f"{len(missing)} of {len(splits)} folders of ImageNet-C are missing in "
                f"{self.data_dir}: {', '.join(map(self._short, missing))}; expected "
                "<corruption>/<severity>/<wnid>/*.JPEG, or the same in noise, blur, weather, "
                "digital and extra; unpack them, or choose others with corruptions and severities"
            )
        first = list_classes(splits[0])
        for split in splits[1:]:
            same_classes(splits[0], split)
        if self.expected_classes not in (None, len(first)):
            raise DataError(
                f"expected {self.expected_classes} class folders in {splits[0]}, found "
                f"{len(first)} ({some(set(first))}): check data_dir, or set expected_classes: null "
                "for a part of the classes"
            )
        return first

    def training_source(self) -> NoReturn:
        """Refuses: ImageNet-C is for tests.

        Raises:
            DataError: always.
        """
        raise DataError("ImageNet-C has no training images: train on imagenet, evaluate on it")

    def _source_of(self, condition: Condition) -> FolderSource:
        class_labels = self.folder_labels
        transform = self._centre_crop(self.image_size)
        if condition.corruption is None:
            # Not stored at its final size, like the rest.
            resized = round(self.image_size * RESIZE_RATIO)
            transform = CentreCrop(self.image_size, resized, self.interpolation)
        index = self._listed(self._split(condition))
        return FolderSource(index, class_labels, transform, None, self.exif_orientation)

    def sources(self) -> dict[str, ImageSource]:
        """See :meth:`ImageDataModule.sources`: the images of every condition."""
        return {self._short(self._split(c)): self._source_of(c) for c in self.conditions}

    def evaluation_source(self) -> FolderSource:
        """The images of the first condition."""
        return self._source_of(self.conditions[0])

    @cached_property
    def test_datasets(self) -> list[EvaluationDataset]:
        """The images of every condition."""
        sources = [self._source_of(condition) for condition in self.conditions]
        for source in sources:
            # An image has the same index under every condition.
            if len(source) != len(sources[0]):
                roots = [str(s.index.root) for s in (sources[0], source)]
                raise DataError(
                    f"{len(sources[0])} images in {roots[0]}, but {len(source)} in {roots[1]}: "
                    "unpack the archives again"
                )
        return [
            EvaluationDataset(source, evenly_spaced(source.labels, self.eval_limit_per_class))
            for source in sources
        ]

    @cached_property
    def test_dataset(self) -> EvaluationDataset:
        """The images of the first condition; ``setup`` asks for it, and so looks at all."""
        return self.test_datasets[0]

    def test_dataloader(self) -> list[BatchLoader]:  # type: ignore[override]
        """One loader per condition."""
        return [
            self._evaluation_loader(dataset, False, self.evaluated.get(number, ()))
            for number, dataset in enumerate(self.test_datasets)
        ]
