"""Known data sets: ImageNet, its ten-class part Imagenette, and CIFAR-10."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision import datasets
from torchvision.transforms import v2

from entres.data.base import ImageDataModule
from entres.data.checks import DataError, require_choice
from entres.data.folders import IMAGENET_CLASSES, ImageFolderDataModule
from entres.data.sources import ImageSource

IMAGENETTE_FOLDERS = {
    "full": "imagenette2",
    "320px": "imagenette2-320",
    "160px": "imagenette2-160",
}
"""torchvision's name of a size -> the folder that its archive holds."""


CIFAR10_CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)


class ImageNetDataModule(ImageFolderDataModule):
    """ImageNet-1k: ``train/<wnid>/*.JPEG`` and ``val/<wnid>/*.JPEG``, 1,000 folders each.

    The archive of the validation images is flat: they must be moved into the folders of their
    classes once.

    Args:
        data_dir: folder that holds ``train`` and ``val``.
        exif_orientation: whether images are turned as their EXIF data say. Published accuracies
            are measured without.
        kwargs: for :class:`ImageFolderDataModule` and :class:`ImageDataModule`.
    """

    published = True

    def __init__(self, data_dir: str | Path, exif_orientation: bool = False, **kwargs: Any) -> None:
        super().__init__(
            data_dir,
            labels="imagenet",
            expected_classes=IMAGENET_CLASSES,
            exif_orientation=exif_orientation,
            **kwargs,
        )
        self.name = "imagenet"


class ImagenetteDataModule(ImageFolderDataModule):
    """Imagenette: ten ImageNet classes, with their labels among ImageNet's 1,000.

    A classifier of ImageNet needs no change; ``present_classes`` are the ten.

    Args:
        data_dir: folder that holds ``train`` and ``val``, or one of torchvision's folders
            ``imagenette2``, ``imagenette2-320`` and ``imagenette2-160``.
        download: whether to download into ``data_dir`` if nothing is there.
        download_size: which of the three sizes to download.
        exif_orientation: whether images are turned as their EXIF data say; published, they are not.
        kwargs: for :class:`ImageFolderDataModule` and :class:`ImageDataModule`.
    """

    published = True
    changes_no_training = frozenset({"download"})
    changes_no_evaluation = frozenset({"download"})

    def __init__(
        self,
        data_dir: str | Path,
        download: bool = False,
        download_size: Literal["full", "320px", "160px"] = "320px",
        exif_orientation: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            data_dir,
            labels="imagenet",
            expected_classes=10,
            exif_orientation=exif_orientation,
            **kwargs,
        )
        require_choice("download_size", download_size, tuple(IMAGENETTE_FOLDERS))
        self.name = "imagenette"
        self.download = download
        self.download_size = download_size

    def _found(self) -> Path | None:
        candidates = ["", *IMAGENETTE_FOLDERS.values()]
        if self.download:
            # What would be downloaded goes before other sizes that may lie beside it.
            candidates.insert(1, IMAGENETTE_FOLDERS[self.download_size])
        splits = (self.train_dir, self.val_dir)
        folders = (self.data_dir / candidate for candidate in candidates)
        return next((f for f in folders if any((f / split).is_dir() for split in splits)), None)

    @cached_property
    def root(self) -> Path:
        """See :attr:`ImageFolderDataModule.root`."""
        found = self._found()
        if found is None:
            raise DataError(
                f"no Imagenette in {self.data_dir}: expected "
                f"{self.data_dir}/{self.train_dir}/<wnid>/*.JPEG, or the same in one of its "
                f"folders {', '.join(IMAGENETTE_FOLDERS.values())}; check data_dir or set "
                "download: true"
            )
        return found

    def prepare_data(self) -> None:
        """Downloads if asked to and needed."""
        if self.download and self._found() is None:
            datasets.Imagenette(self.data_dir, size=self.download_size, download=True)


class ArraySource(ImageSource):
    """Small images held in memory.

    Args:
        images: uint8, shape (N, H, W, 3).
        labels: shape (N,).
        augment: whether to shift by up to 4 pixels, with a black border, and to flip at random.
    """

    def __init__(self, images: NDArray[np.uint8], labels: NDArray[np.int64], augment: bool) -> None:
        self.images = images
        self.labels = labels
        self.transform = None
        if augment:
            self.transform = v2.Compose(
                [v2.RandomCrop(images.shape[1:3], padding=4), v2.RandomHorizontalFlip()]
            )

    def image(self, index: int) -> Tensor:
        """See :meth:`ImageSource.image`."""
        image = torch.from_numpy(self.images[index]).permute(2, 0, 1).contiguous()
        if self.transform is not None:
            image = self.transform(image)
        return image


class CIFAR10DataModule(ImageDataModule):
    """CIFAR-10: 32-pixel images of ten classes.

    Args:
        data_dir: folder that holds ``cifar-10-batches-py``.
        download: whether to download into ``data_dir`` if it is not there.
        kwargs: for :class:`ImageDataModule`.
    """

    name = "cifar10"
    changes_no_training = frozenset({"data_dir", "download"})
    changes_no_evaluation = frozenset({"data_dir", "download"})

    def __init__(self, data_dir: str | Path, download: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_dir = Path(data_dir)
        self.download = download
        self.image_size = 32

    @property
    def class_names(self) -> list[str]:
        """See :attr:`ImageDataModule.class_names`."""
        return list(CIFAR10_CLASSES)

    def prepare_data(self) -> None:
        """Downloads if asked to; torchvision does nothing if the files are there."""
        if self.download:
            datasets.CIFAR10(self.data_dir, download=True)

    def training_source(self) -> ArraySource:
        """See :meth:`ImageDataModule.training_source`."""
        return self._source(train=True, augment=self.augment)

    def evaluation_source(self) -> ArraySource:
        """See :meth:`ImageDataModule.evaluation_source`."""
        return self._source(train=False, augment=False)

    def _source(self, train: bool, augment: bool) -> ArraySource:
        try:
            split = datasets.CIFAR10(self.data_dir, train=train)
        except RuntimeError as error:
            raise DataError(
                f"no complete CIFAR-10 in {self.data_dir}: expected "
                f"{self.data_dir}/cifar-10-batches-py; check data_dir or set download: true"
            ) from error
        return ArraySource(split.data, np.array(split.targets, dtype=np.int64), augment)
