"""Photographs as a student takes them, and the names of its classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from entres.card import StudentCard
from entres.errors import EntresError

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

SIDE = 224
"""Of the images, in px."""
RESIZED = 256
"""Their shorter side before the centre is cut out, as published accuracies are measured."""
PHOTOGRAPHS = ("coffee", "cat", "rocket", "motorcycle")
"""Of scikit-image's, where none are given."""
IMAGENET_CLASSES = 1000
IMAGENETTE_CLASSES = (0, 217, 482, 491, 497, 566, 569, 571, 574, 701)
"""Those of ImageNet's that Imagenette has."""
LISTED = 20


def read_photograph(file: str) -> Image:
    """One photograph, upright, mode RGB.

    Raises:
        EntresError: if it cannot be read.
    """
    from entres.data.reading import read_rgb, why

    try:
        return read_rgb(Path(file), exif_orientation=True)
    except Exception as error:  # Pillow reports damage as errors of a dozen types
        raise EntresError(f"cannot read the photo {file}: {why(error)}") from error


def photographs(files: Sequence[str]) -> tuple[list[str], Tensor]:
    """Names and images, float32 in [0, 1], shape (N, 3, 224, 224).

    Args:
        files: some of scikit-image's photographs are taken where there is none.

    Raises:
        EntresError: if one cannot be read.
    """
    import torch
    from PIL import Image

    from entres.data.photos import PHOTOS, load_photos

    if files:
        read = [(Path(file).name, read_photograph(file)) for file in files]
    else:
        there = dict(zip(PHOTOS, load_photos(), strict=True))
        read = [(name, Image.fromarray(there[name])) for name in PHOTOGRAPHS]
    images = torch.stack([as_image(photograph) for _, photograph in read])
    return [name for name, _ in read], images.float() / 255


def as_image(photograph: Image, whole: bool = False) -> Tensor:
    """A photograph as a student takes it.

    Args:
        photograph: of any size, mode RGB.
        whole: whether it is left as it is; else its shorter side becomes 256 px and the centre of
            224 px is cut out.

    Returns:
        The image, uint8 in [0, 255], shape (3, H, W).
    """
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms.v2 import functional as F

    from entres.data.sized import CentreCrop

    if not whole:
        photograph = CentreCrop(SIDE, RESIZED, InterpolationMode.BILINEAR)(photograph)
    image: Tensor = F.pil_to_tensor(photograph)
    return image


def class_name(card: StudentCard, label: int) -> str:
    """What a class is called: as the student's card says, else as in ImageNet, else its number."""
    if card.class_names is not None:
        return card.class_names[label].split(",")[0]
    if card.num_classes == IMAGENET_CLASSES:
        from timm.data.imagenet_info import ImageNetInfo

        return str(ImageNetInfo().index_to_description(label)).split(",")[0]
    return f"class {label}"


def known_classes(card: StudentCard) -> str:
    """A sentence on the classes that a student was trained on."""
    labels: Sequence[int] = range(card.num_classes)
    if card.dataset == "imagenette" and card.num_classes == IMAGENET_CLASSES:
        labels = IMAGENETTE_CLASSES
    names = ", ".join(class_name(card, label) for label in labels[:LISTED])
    more = ", ..." if len(labels) > LISTED else ""
    where = f" ({card.dataset})" if card.dataset else ""
    return f"it was trained on {len(labels)} classes{where}, no others: {names}{more}"
