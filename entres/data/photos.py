"""The data set that needs no data: colour photographs inside scikit-image's wheel."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from entres.data.base import ImageDataModule
from entres.data.checks import DataError, require_at_least
from entres.data.sources import ImageSource

Box = tuple[int, int, int, int]
"""Left, top, right, bottom, in pixels; right and bottom are outside."""

# The right image of the motorcycle pair is left out: it is the same scene.
PHOTOS: dict[str, tuple[str, Box | None]] = {
    "astronaut": ("astronaut.png", None),
    "cat": ("chelsea.png", None),
    "coffee": ("coffee.png", None),
    "galaxies": ("hubble_deep_field.jpg", None),
    "motorcycle": ("motorcycle_left.png", None),
    # The square inside the round field of view: the corners of the photo are black.
    "retina": ("retina.jpg", (207, 207, 1204, 1204)),
    "rocket": ("rocket.jpg", None),
    "tissue": ("ihc.png", None),
}
"""Class name -> file in scikit-image's wheel (the same in 0.22 to 0.26), part that is used."""

MINIMUM_SIZE = 32  # The deepest stage of the usual backbones has stride 32.
SCALES = (1.0, 1.5, 2.0, 3.0)
ROOM = 1.5  # Wanted side of a cell in units of the crop, so that crops have room to move.
MOST_COLUMNS, MOST_ROWS = 4, 4  # Bounds the grid, so that a large photo has large cells.


class Crop(NamedTuple):
    """A square of a photo, and the cell of the photo that it may move in.

    Attributes:
        label: number of the photo.
        cell: the cell.
        left, top, side: the square, in pixels.
    """

    label: int
    cell: Box
    left: int
    top: int
    side: int


@cache
def load_photos() -> tuple[NDArray[np.uint8], ...]:
    """Reads the photos from the installed wheel, never from the network.

    Returns:
        One array per class, uint8, shape (H, W, 3).

    Raises:
        DataError: if the installed scikit-image lacks one.
    """
    photos = []
    for file, part in PHOTOS.values():
        try:
            # By path and not through skimage.data: its functions download what they do not find.
            with (files("skimage") / "data" / file).open("rb") as stream:
                image = Image.open(stream).convert("RGB")
        except FileNotFoundError as error:
            raise DataError(
                f"the installed scikit-image has no photo {file}: install the wheel of "
                "scikit-image >= 0.22"
            ) from error
        photos.append(np.asarray(image.crop(part) if part else image))
    return tuple(photos)


def split_cells(width: int, height: int, image_size: int) -> tuple[list[Box], list[Box]]:
    """Cuts a photo into a chessboard: one colour for training, the other for test.

    Args:
        width: of the photo, in pixels.
        height: of the photo, in pixels.
        image_size: side of the crops, in pixels.

    Returns:
        The training cells and the test cells; no two cells share a pixel.
    """
    columns = min(MOST_COLUMNS, max(2, int(width / (ROOM * image_size))))
    rows = min(MOST_ROWS, max(1, int(height / (ROOM * image_size))))
    across = [width * column // columns for column in range(columns + 1)]
    down = [height * row // rows for row in range(rows + 1)]
    cells: tuple[list[Box], list[Box]] = ([], [])
    for row in range(rows):
        for column in range(columns):
            box = (across[column], down[row], across[column + 1], down[row + 1])
            cells[(row + column) % 2].append(box)
    return cells


def spread_crops(label: int, cells: list[Box], count: int, image_size: int) -> list[Crop]:
    """Spreads crops over cells: all cells in turn, all scales that fit, even positions inside.

    Args:
        label: number of the photo.
        cells: where crops may lie.
        count: number of crops.
        image_size: side of a crop at scale 1, in pixels.

    Returns:
        The crops; nothing random, so they are the same in every run.
    """
    crops = []
    for number in range(count):
        turn, place = divmod(number, len(cells))
        cell = left, top, right, bottom = cells[place]
        room = min(right - left, bottom - top)
        sides = [side for scale in SCALES if (side := round(scale * image_size)) <= room]
        side = sides[(turn + place) % len(sides)]
        # A low-discrepancy sequence: powers of the plastic number, the golden ratio of the plane.
        across, down = 0.7548776662 * number % 1, 0.5698402910 * number % 1
        left += int(across * (right - left - side + 1))
        top += int(down * (bottom - top - side + 1))
        crops.append(Crop(label, cell, left, top, side))
    return crops


class PhotoSource(ImageSource):
    """Square crops of photos that are held in memory.

    Args:
        photos: uint8, shape (H, W, 3) each.
        crops: what is cut out.
        image_size: side of the images in pixels; larger crops are scaled down to it.
        augment: whether a crop moves within its cell and is flipped at random.
    """

    def __init__(
        self, photos: Sequence[NDArray[np.uint8]], crops: list[Crop], image_size: int, augment: bool
    ) -> None:
        self.photos = photos
        self.crops = crops
        self.image_size = image_size
        self.augment = augment
        self.labels = np.array([crop.label for crop in crops], dtype=np.int64)

    def image(self, index: int) -> Tensor:
        """See :meth:`ImageSource.image`."""
        crop = self.crops[index]
        if self.augment:
            crop = moved(crop)
        photo = self.photos[crop.label]
        cut = photo[crop.top : crop.top + crop.side, crop.left : crop.left + crop.side]
        # Cut first, then scale: the filter must not reach pixels of a neighbouring cell.
        image = Image.fromarray(cut)
        if crop.side != self.image_size:
            image = image.resize((self.image_size, self.image_size), Image.Resampling.BICUBIC)
        tensor: Tensor = F.pil_to_tensor(image)
        if self.augment and torch.rand(()) < 0.5:
            tensor = tensor.flip(-1)
        return tensor


def moved(crop: Crop) -> Crop:
    """Moves a crop to a random place in its cell (torch's global generator)."""
    left, top, right, bottom = crop.cell
    return crop._replace(
        left=int(torch.randint(left, right - crop.side + 1, ())),
        top=int(torch.randint(top, bottom - crop.side + 1, ())),
    )


class PhotosDataModule(ImageDataModule):
    """Crops of eight colour photographs; the photo is the class. Needs no files and no network.

    Every photo is cut into a chessboard of cells. Training crops lie in cells of one colour and
    test crops in cells of the other, so they share no pixel, augmented or not.

    Args:
        image_size: side of the images in pixels, from 32 to 225.
        train_per_class: training crops per photo.
        test_per_class: test crops per photo.
        num_workers: loader processes; the photos are in memory, so none is the fastest.
        kwargs: for :class:`ImageDataModule`.

    Raises:
        ValueError: if a value is out of range.
        DataError: if a photo is too small for ``image_size``.
    """

    name = "photos"
    changes_no_training = frozenset({"test_per_class"})
    changes_no_evaluation = frozenset({"train_per_class"})

    def __init__(
        self,
        image_size: int = 64,
        train_per_class: int = 80,
        test_per_class: int = 20,
        num_workers: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_workers=num_workers, **kwargs)
        require_at_least("image_size", image_size, MINIMUM_SIZE)
        require_at_least("train_per_class", train_per_class, 1)
        require_at_least("test_per_class", test_per_class, 1)
        self.image_size = image_size
        self.train_per_class = train_per_class
        self.test_per_class = test_per_class

    @property
    def class_names(self) -> list[str]:
        """See :attr:`ImageDataModule.class_names`."""
        return list(PHOTOS)

    def training_source(self) -> PhotoSource:
        """See :meth:`ImageDataModule.training_source`."""
        return self._source(0, self.train_per_class, self.augment)

    def evaluation_source(self) -> PhotoSource:
        """See :meth:`ImageDataModule.evaluation_source`."""
        return self._source(1, self.test_per_class, augment=False)

    def _source(self, colour: int, count: int, augment: bool) -> PhotoSource:
        photos = load_photos()
        crops: list[Crop] = []
        for label, (name, photo) in enumerate(zip(PHOTOS, photos, strict=True)):
            height, width = photo.shape[:2]
            cells = split_cells(width, height, self.image_size)[colour]
            for left, top, right, bottom in cells:
                largest = min(right - left, bottom - top)
                if largest < self.image_size:
                    raise DataError(
                        f"image_size must be <= {largest} for the photo '{name}' ({width} x "
                        f"{height} pixels, one half for training and one for test), got "
                        f"{self.image_size}: choose a smaller one or use another data set"
                    )
            crops += spread_crops(label, cells, count, self.image_size)
        return PhotoSource(photos, crops, self.image_size, augment)
