"""Which files are images, and one file to one RGB image."""

from __future__ import annotations

import hashlib
import importlib
import io
from functools import cache
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from entres.data.sources import Examined
from entres.errors import reason_of

# fmt: off
STILL = frozenset((
    "AVIF", "BMP", "DIB", "GIF", "HEIF", "JPEG", "JPEG2000", "JXL", "MPO", "PCX", "PNG", "PPM",
    "PSD", "QOI", "SGI", "SUN", "TGA", "TIFF", "WEBP",
))
# fmt: on
"""Pillow's formats of pictures; not those of pages (PDF, EPS), films, icons and measurements."""

PLUG_INS = {
    ".heic": "pillow-heif",
    ".heif": "pillow-heif",
    ".hif": "pillow-heif",
    ".avif": "'pillow>=11.3'",
    ".jxl": "pillow-jxl-plugin",
}
"""Suffix of a photo that Pillow needs something more for -> what to install."""

ORIENTATION = 0x0112  # EXIF's tag; 1 is upright.
BITS_PER_SAMPLE = 258  # TIFF's tag.


@cache
def readable_suffixes() -> frozenset[str]:
    """Suffixes of the images that can be read, with the plug-ins that are installed.

    Returns:
        For example ``.jpg``: lower case, with the dot.
    """
    Image.init()
    for module in ("pillow_heif", "pillow_avif", "pillow_jxl"):
        try:
            plug_in = importlib.import_module(module)
        except ImportError:
            continue
        if module == "pillow_heif":  # the others register themselves
            plug_in.register_heif_opener()
    registered = Image.registered_extensions()
    return frozenset(
        suffix for suffix, kind in registered.items() if kind in STILL and kind in Image.OPEN
    )


def read_rgb(
    file: Path | IO[bytes], draft_size: int | None = None, exif_orientation: bool = False
) -> Image.Image:
    """Reads an image; of one with several frames or pages, the first.

    16 bits per channel are scaled to 8, what is transparent is laid on white, and palettes, greys
    and CMYK become RGB.

    Args:
        file: path or contents.
        draft_size: a JPEG may be decoded at a fraction of its size, but not below this side, in
            pixels. Much faster for photos of many megapixels. ``None``: at its full size.
        exif_orientation: whether to turn the image upright, as its EXIF data say. (Pillow does so
            with a TIFF in any case.)

    Returns:
        The image, mode RGB.

    Raises:
        Exception: what Pillow or a plug-in raises; :func:`why` puts it in words.
    """
    readable_suffixes()  # registers the plug-ins, in a loader's process too
    with Image.open(file) as stored:
        if draft_size is not None:
            stored.draft("RGB", (draft_size, draft_size))
        stored.load()
        image: Image.Image = stored
        if exif_orientation and orientation(stored) != 1:
            image = ImageOps.exif_transpose(stored)
        return _to_rgb(image, stored)


def examine(content: bytes) -> Examined:
    """Reads an image to the end, and says what it found instead of failing.

    Args:
        content: of a file.
    """
    digest = hashlib.blake2b(content, digest_size=16).digest()
    kind, mode, (width, height), turned = "none", "none", (0, 0), 1
    error = None
    readable_suffixes()
    # Decoders raise errors of a dozen types.
    try:
        with Image.open(io.BytesIO(content)) as image:
            kind, mode, (width, height) = image.format or "none", image.mode, image.size
            turned = orientation(image)
        read_rgb(io.BytesIO(content))
    except Exception as reason:
        error = why(reason)
    return Examined(kind, mode, width, height, len(content), turned, digest, error)


def orientation(image: Image.Image) -> int:
    """How an image lies: EXIF's number, 1 to 8; 1, upright, where it does not say."""
    try:
        number = image.getexif().get(ORIENTATION, 1)
    # Damaged EXIF data are no reason to refuse the picture; Pillow's parser raises all sorts.
    except Exception:
        return 1
    return number if number in range(1, 9) else 1


def why(error: BaseException) -> str:
    """The reason why an image could not be read, in a few words.

    Args:
        error: what was raised.
    """
    if isinstance(error, Image.DecompressionBombError):
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        return f"more than the {most:,} pixels that Pillow opens"
    if isinstance(error, UnidentifiedImageError):
        return "its contents are no image that Pillow knows"
    if isinstance(error, MemoryError):
        return "it does not fit in memory"
    return reason_of(error)


def _to_rgb(image: Image.Image, stored: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        return _eight_bits(image, stored).convert("RGB")
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        lowest, _ = image.getchannel("A").getextrema()
        if lowest != 255:
            # What lies under transparent pixels is arbitrary, and was never seen by anyone.
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def _eight_bits(image: Image.Image, stored: Image.Image) -> Image.Image:
    """Scales one channel of more bits; Pillow's own conversion clips it at 255.

    Raises:
        ValueError: if its range is not known.
    """
    # Pillow gives what PNG and PPM hold in 16 bits as 32, in some versions.
    if image.mode in ("I", "F") and not (image.mode == "I" and stored.format in ("PNG", "PPM")):
        kind = "whole numbers" if image.mode == "I" else "floating point"
        raise ValueError(f"32 bits of {kind}, whose range is unknown: save it with 8 or 16 bits")
    bits = 16
    if stored.format == "TIFF":
        bits = getattr(stored, "tag_v2", {}).get(BITS_PER_SAMPLE, (16,))[0]
    # As Pillow does with colours of 16 bits: the upper byte.
    return Image.fromarray((np.asarray(image) >> (bits - 8)).clip(0, 255).astype(np.uint8))
