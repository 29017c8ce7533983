"""Data modules of folders: one folder per class, in a training and a validation folder."""

from __future__ import annotations

import math
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from timm.data.imagenet_info import ImageNetInfo
from torchvision.transforms import v2

from entres.data.base import ImageDataModule
from entres.data.checks import DataError, require_at_least, require_choice
from entres.data.folder_source import (
    CentreCrop,
    FolderSource,
    Transform,
    index_folder,
    same_classes,
    some,
)

IMAGENET_CLASSES = 1000
RESIZE_RATIO = 256 / 224  # What published ImageNet accuracies are measured with.
SQUEEZE = 3 / 4  # Most extreme aspect ratio of RandomResizedCrop, its default.


class ImageFolderDataModule(ImageDataModule):
    """Images in ``<data_dir>/train/<class>/*.jpg`` and ``<data_dir>/val/<class>/*.jpg``.

    Training takes a random resized crop and a flip; evaluation resizes the short side and takes
    the centre, and does without the training folder.

    Args:
        data_dir: folder that holds the training and the validation folder.
        image_size: side of the evaluation images in pixels.
        train_size: side of the training images in pixels; ``None``: ``image_size``.
        resize: length of the short side before the centre crop, in pixels. ``auto``: 256/224 of
            the crop (256 for 224). ``stored``: images are used as they are and must be large
            enough.
        interpolation: of all resizing.
        scale: part of the area that the random resized crop takes, smallest and largest, in (0, 1].
        labels: ``folders``: a class's place among the sorted folder names. ``imagenet``: folders
            are WordNet ids, labels are ImageNet-1k's 1,000.
        train_dir: name of the training folder.
        val_dir: name of the validation folder.
        expected_classes: number of class folders that there must be; ``None``: any.
        kwargs: for :class:`ImageDataModule`.

    Raises:
        ValueError: if a value is out of range.
        DataError: when the data are first looked at, if they are missing or not as described.
    """

    def __init__(
        self,
        data_dir: str | Path,
        image_size: int = 224,
        train_size: int | None = None,
        resize: int | Literal["auto", "stored"] = "auto",
        interpolation: Literal["bilinear", "bicubic"] = "bilinear",
        scale: tuple[float, float] = (0.25, 1.0),
        labels: Literal["folders", "imagenet"] = "folders",
        train_dir: str = "train",
        val_dir: str = "val",
        expected_classes: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        require_at_least("image_size", image_size, 1)
        require_at_least("train_size", train_size, 1, optional=True)
        if isinstance(resize, str):
            require_choice("resize", resize, ("auto", "stored"))
        else:
            # Training takes the centre crop too when it does not augment.
            largest = image_size if self.augment else max(image_size, train_size or 1)
            require_at_least("resize", resize, largest)
        require_choice("interpolation", interpolation, ("bilinear", "bicubic"))
        require_choice("labels", labels, ("folders", "imagenet"))
        require_at_least("expected_classes", expected_classes, 1, optional=True)
        if not 0 < scale[0] <= scale[1] <= 1:
            raise ValueError(f"scale must be (smallest, largest) in (0, 1], got {tuple(scale)}")
        self.data_dir = Path(data_dir)
        self.name = self.data_dir.resolve().name
        self.image_size = image_size
        self.train_size = train_size or image_size
        self.resize = resize
        self.interpolation = v2.InterpolationMode(interpolation)
        self.scale = (scale[0], scale[1])
        self.labels = labels
        self.train_dir = train_dir
        self.val_dir = val_dir
        self.expected_classes = expected_classes

    @property
    def root(self) -> Path:
        """Folder that holds the training and the validation folder."""
        return self.data_dir

    @cached_property
    def folder_names(self) -> tuple[str, ...]:
        """Names of the class folders, the same in both splits, sorted.

        Evaluation needs no training images: where their folder is not there, the classes are those
        of the validation folder.
        """
        train, val = self.root / self.train_dir, self.root / self.val_dir
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

    def training_source(self) -> FolderSource:
        """See :meth:`ImageDataModule.training_source`."""
        transform: Transform = self._centre_crop(self.train_size)
        draft_size = None
        if self.augment:
            transform = v2.Compose(
                [
                    v2.RandomResizedCrop(
                        self.train_size,
                        scale=self.scale,
                        ratio=(SQUEEZE, 1 / SQUEEZE),
                        interpolation=self.interpolation,
                    ),
                    v2.RandomHorizontalFlip(),
                ]
            )
            # Even the smallest and flattest crop of such a draft is not enlarged by the resizing.
            draft_size = math.ceil(self.train_size / math.sqrt(self.scale[0] * SQUEEZE))
        return self._source(self.train_dir, transform, draft_size)

    def evaluation_source(self) -> FolderSource:
        """See :meth:`ImageDataModule.evaluation_source`."""
        # No draft: a measured accuracy must not depend on a decoder's shortcut.
        return self._source(self.val_dir, self._centre_crop(self.image_size), None)

    def _centre_crop(self, size: int) -> CentreCrop:
        lengths = {"auto": round(size * RESIZE_RATIO), "stored": None}
        resize = lengths[self.resize] if isinstance(self.resize, str) else self.resize
        return CentreCrop(size, resize, self.interpolation)

    def _source(self, split: str, transform: Transform, draft_size: int | None) -> FolderSource:
        class_labels = self.folder_labels  # First: its errors say more than those of the listing.
        return FolderSource(index_folder(self.root / split), class_labels, transform, draft_size)
