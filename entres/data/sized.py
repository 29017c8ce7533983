"""The template of data modules whose images have any size and are brought to one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from PIL import Image
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from entres.data.base import ImageDataModule
from entres.data.checks import DataError, require_at_least, require_choice
from entres.data.folder_source import Transform

RESIZE_RATIO = 256 / 224  # What published ImageNet accuracies are measured with.
SQUEEZE = 3 / 4  # Most extreme aspect ratio of RandomResizedCrop, its default.
THIN = 16  # Aspect ratio from which on a whole image, resized, is mostly thrown away.


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
            if max(image.size) > THIN * min(image.size):
                return self._of_thin(image, self.resize)
            image = F.resize(image, [self.resize], self.interpolation)
        elif min(image.size) < self.image_size:
            width, height = image.size
            raise DataError(
                f"the image has {width} x {height} pixels, fewer than image_size "
                f"{self.image_size}: set resize, or a smaller image_size"
            )
        cropped: Image.Image = F.center_crop(image, [self.image_size, self.image_size])
        return cropped

    def _of_thin(self, image: Image.Image, resize: int) -> Image.Image:
        """The same of an image that would become huge, were all of it resized.

        The same filter reads the same pixels, for the pixels of the crop alone. As their positions
        are rounded otherwise, a value may differ by 1 or 2.
        """
        scale = resize / min(image.size)

        def span(side: int) -> tuple[float, float]:
            length = int(side * scale)
            start = round((length - self.image_size) / 2)
            return start * side / length, min((start + self.image_size) * side / length, side)

        (left, right), (top, bottom) = map(span, image.size)
        size = (self.image_size, self.image_size)
        resampling = Image.Resampling[self.interpolation.name]
        return image.resize(size, resampling, box=(left, top, right, bottom))


class SizedDataModule(ImageDataModule):
    """Brings images of any size to one: a random crop for training, the centre for evaluation.

    Training takes a random resized crop and a flip; evaluation resizes the short side and takes
    the centre. (Of an image 16 times as long as wide and more, only the centre is resized: the same
    up to rounding, in little memory.)

    Args:
        image_size: side of the evaluation images in pixels.
        train_size: side of the training images in pixels; ``None``: ``image_size``.
        resize: length of the short side before the centre crop, in pixels. ``auto``: 256/224 of
            the crop (256 for 224). ``stored``: images are used as they are and must be large
            enough.
        interpolation: of all resizing.
        scale: part of the area that the random resized crop takes, smallest and largest, in (0, 1].
        exif_orientation: whether images are turned upright, as a camera notes it in their EXIF
            data. Published data sets are measured without.
        kwargs: for :class:`ImageDataModule`.

    Raises:
        ValueError: if a value is out of range.
    """

    changes_no_evaluation: ClassVar[frozenset[str]] = frozenset({"train_size", "scale"})

    def __init__(
        self,
        image_size: int = 224,
        train_size: int | None = None,
        resize: int | Literal["auto", "stored"] = "auto",
        interpolation: Literal["bilinear", "bicubic"] = "bilinear",
        scale: tuple[float, float] = (0.25, 1.0),
        exif_orientation: bool = True,
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
        if not 0 < scale[0] <= scale[1] <= 1:
            raise ValueError(f"scale must be (smallest, largest) in (0, 1], got {tuple(scale)}")
        self.image_size = image_size
        self.train_size = train_size or image_size
        self.resize = resize
        self.interpolation = v2.InterpolationMode(interpolation)
        self.scale = (scale[0], scale[1])
        self.exif_orientation = exif_orientation

    def _training_transform(self) -> tuple[Transform, int | None]:
        """What training does to a decoded image, and the side that a draft of it may have."""
        if not self.augment:
            return self._centre_crop(self.train_size), None
        transform: Transform = v2.Compose(
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
        return transform, math.ceil(self.train_size / math.sqrt(self.scale[0] * SQUEEZE))

    def _centre_crop(self, size: int) -> CentreCrop:
        lengths = {"auto": round(size * RESIZE_RATIO), "stored": None}
        resize = lengths[self.resize] if isinstance(self.resize, str) else self.resize
        return CentreCrop(size, resize, self.interpolation)
