"""The images of a class folder tree: listing, decoding, and the transform of evaluation."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from entres.data.checks import DataError
from entres.data.sources import ImageSource

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".webp")

Transform = Callable[[Image.Image], Image.Image]


@dataclass(frozen=True)
class FolderIndex:
    """The images of one split. Arrays, not lists of strings: a million paths fit in some 50 MB.

    Attributes:
        root: folder of the split.
        classes: names of the class folders, sorted.
        files: file name of every image as bytes, sorted within a class, shape (N,).
        members: number of every image's class folder, shape (N,).
    """

    root: Path
    classes: tuple[str, ...]
    files: NDArray[np.bytes_]
    members: NDArray[np.int64]

    def path(self, index: int) -> Path:
        """Path of one image."""
        file: bytes = self.files[index]
        return Path(self.root, self.classes[self.members[index]], os.fsdecode(file))


def list_classes(root: Path) -> tuple[str, ...]:
    """Names of the class folders in a split's folder, sorted.

    Raises:
        DataError: if the folder is missing or holds no folders.
    """
    layout = f"expected {root}/<class>/*.jpg"
    if not root.is_dir():
        raise DataError(f"no folder {root}: {layout}; check data_dir")
    with os.scandir(root) as entries:
        visible = [entry for entry in entries if not entry.name.startswith(".")]
    classes = tuple(sorted(entry.name for entry in visible if entry.is_dir()))
    if not classes:
        images = sum(entry.name.lower().endswith(EXTENSIONS) for entry in visible)
        found = f"{images} images lie in it directly" if images else "it holds no images either"
        raise DataError(
            f"no class folders in {root} ({found}): {layout}; move every image into the folder "
            "of its class"
        )
    return classes


def same_classes(
    first: Path, second: Path, called: tuple[str, str] = ("the first", "the second")
) -> tuple[str, ...]:
    """Names of the class folders of two splits, sorted.

    Args:
        first: folder of a split.
        second: folder of another.
        called: short names of the two, for the message.

    Raises:
        DataError: if they are not the same in both; see also :func:`list_classes`.
    """
    classes, others = list_classes(first), list_classes(second)
    if classes != others:
        raise DataError(
            f"the classes in {first} and {second} differ: only in {called[0]}: "
            f"{some(set(classes) - set(others))}; only in {called[1]}: "
            f"{some(set(others) - set(classes))}; both need the same class folders"
        )
    return classes


def some(names: set[str], most: int = 5) -> str:
    """Lists a few names for a message."""
    listed = ", ".join(sorted(names)[:most]) or "none"
    return f"{listed}, ... ({len(names)} in all)" if len(names) > most else listed


def index_folder(root: Path) -> FolderIndex:
    """Lists a split once, in an order that depends on names alone.

    Args:
        root: folder that holds one folder per class.

    Raises:
        DataError: if the folder is missing, or a class is empty.
    """
    classes = list_classes(root)
    files: list[list[bytes]] = []
    for name in classes:
        with os.scandir(root / name) as entries:
            # scandir knows the type of most entries without a further system call.
            found = [
                os.fsencode(entry.name)
                for entry in entries
                if entry.name.lower().endswith(EXTENSIONS)
                and not entry.name.startswith(".")
                and entry.is_file()
            ]
        if not found:
            raise DataError(
                f"no images in the class folder {root / name}: expected files ending in "
                f"{', '.join(EXTENSIONS)}; add some or remove the folder"
            )
        files.append(sorted(found))
    members = np.repeat(np.arange(len(classes)), [len(found) for found in files])
    return FolderIndex(
        root,
        classes,
        np.array([file for found in files for file in found]),
        members.astype(np.int64),
    )


@dataclass(frozen=True)
class CentreCrop:
    """The transform of evaluation.

    Attributes:
        image_size: side of the result in pixels.
        resize: length that the short side gets before the crop; ``None``: image as stored.
        interpolation: of the resizing.
    """

    image_size: int
    resize: int | None
    interpolation: v2.InterpolationMode

    def __call__(self, image: Image.Image) -> Image.Image:
        """Transforms a decoded image.

        Raises:
            DataError: if the image is used as stored and is too small.
        """
        if self.resize is not None:
            image = F.resize(image, [self.resize], self.interpolation)
        elif min(image.size) < self.image_size:
            width, height = image.size
            raise DataError(
                f"the image has {width} x {height} pixels, fewer than image_size "
                f"{self.image_size}: set resize, or a smaller image_size"
            )
        cropped: Image.Image = F.center_crop(image, [self.image_size, self.image_size])
        return cropped


class FolderSource(ImageSource):
    """Decodes images of a folder.

    Args:
        index: the images.
        class_labels: label of every class folder.
        transform: from the decoded image to one of the final size.
        draft_size: a JPEG may be decoded at a fraction of its size, but not below this side, in
            pixels. Much faster for photos of many megapixels. ``None``: at its full size.
    """

    def __init__(
        self,
        index: FolderIndex,
        class_labels: list[int],
        transform: Transform,
        draft_size: int | None = None,
    ) -> None:
        self.index = index
        self.labels = np.array(class_labels, dtype=np.int64)[index.members]
        self.transform = transform
        self.draft_size = draft_size

    def image(self, index: int) -> Tensor:
        """See :meth:`ImageSource.image`."""
        path = self.index.path(index)
        try:
            with Image.open(path) as stored:
                if self.draft_size is not None:
                    stored.draft("RGB", (self.draft_size, self.draft_size))
                if stored.mode.startswith("I"):
                    raise ValueError(f"{stored.mode}: 8 bits per channel are read")
                decoded = stored.convert("RGB")
        # Pillow reports a broken PNG as a SyntaxError, and a missing file is an OSError.
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise DataError(
                f"cannot read the image {path} ({error}): replace or remove it"
            ) from error
        try:
            tensor: Tensor = F.pil_to_tensor(self.transform(decoded))
        except DataError as error:
            raise DataError(f"{path}: {error}") from error
        return tensor
