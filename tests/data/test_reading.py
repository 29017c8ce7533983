"""From any file to RGB: formats, bit depths, orientation, and thin or huge images."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, features

from entres.data import DataError, ImageFolderDataModule, ImageNetDataModule, ImagenetteDataModule
from entres.data.folder_source import FolderSource
from entres.data.photos import load_photos
from entres.data.reading import ORIENTATION, read_rgb, readable_suffixes
from entres.data.sized import CentreCrop


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)


def through(image: Image.Image, form: str, **options: object) -> np.ndarray:
    """What is read of an image that was saved in a format."""
    file = io.BytesIO()
    image.save(file, form, **options)
    file.seek(0)
    read = read_rgb(file)
    assert read.mode == "RGB"
    return pixels(read)


@pytest.fixture
def photo() -> Image.Image:
    return Image.fromarray(load_photos()[0][:48, :64])


@pytest.mark.parametrize("form", ["TIFF", "PNG", "BMP", "PPM", "TGA", "PCX", "SGI", "QOI"])
def test_lossless_formats_give_the_pixels(photo: Image.Image, form: str) -> None:
    assert (through(photo, form) == pixels(photo)).all()


@pytest.mark.parametrize("form", ["JPEG", "WEBP", "AVIF", "JPEG2000", "GIF"])
def test_other_formats_give_about_the_pixels(photo: Image.Image, form: str) -> None:
    name = {"WEBP": "webp", "AVIF": "avif", "JPEG2000": "jpg_2000"}.get(form)
    if name and not features.check(name):
        pytest.skip(f"this Pillow has no {form}")
    assert np.abs(through(photo, form) - pixels(photo)).mean() < 12


def test_the_suffixes_are_those_of_pictures() -> None:
    suffixes = readable_suffixes()
    assert suffixes >= {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".jp2"}
    assert not suffixes & {".pdf", ".eps", ".ps", ".mpg", ".mpeg", ".h5", ".fits", ".ico", ".wmf"}


@pytest.mark.parametrize("form", ["TIFF", "PNG", "PPM", "JPEG2000"])
def test_sixteen_bits_are_scaled_and_not_clipped(form: str) -> None:
    ramp = np.linspace(0, 65535, 32 * 32).round().astype(np.uint16).reshape(32, 32)
    read = through(Image.fromarray(ramp), form)
    assert (read == (ramp // 256)[..., None]).all()
    assert (read.min(), read.max()) == (0, 255)


@pytest.mark.parametrize("mode", ["I", "F"])
def test_a_range_that_is_unknown_is_refused(mode: str) -> None:
    with pytest.raises(ValueError, match="whose range is unknown: save it with 8 or 16 bits"):
        through(Image.new(mode, (8, 8), 1), "TIFF")


def test_greys_palettes_and_cmyk_become_rgb(photo: Image.Image) -> None:
    grey = photo.convert("L")
    assert (through(grey, "TIFF") == pixels(grey)[..., None]).all()
    for form in ("PNG", "GIF", "TIFF"):
        palette = photo.quantize(256)
        assert (through(palette, form) == pixels(palette.convert("RGB"))).all()
    cmyk = photo.convert("CMYK")
    assert np.abs(through(cmyk, "TIFF") - pixels(photo)).max() <= 2
    assert (through(photo.convert("1"), "TIFF") % 255 == 0).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_is_white_and_what_is_not_is_left_alone(mode: str) -> None:
    black = Image.new("L" if mode == "LA" else "RGB", (8, 8), 0)
    if mode == "P":
        black = Image.new("P", (8, 8), 0)
        black.info["transparency"] = 0
        assert (through(black, "PNG", transparency=0) == 255).all()
        return
    black.putalpha(0)
    assert (through(black, "PNG") == 255).all()
    black.putalpha(255)
    assert (through(black, "PNG") == 0).all()
    black.putalpha(128)
    assert (through(black, "PNG") == 127).all()


@pytest.mark.parametrize("form", ["GIF", "PNG", "TIFF", "WEBP"])
def test_of_several_frames_the_first_is_read(form: str) -> None:
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "lime", "blue")]
    more = {"lossless": True} if form == "WEBP" else {}
    read = through(frames[0], form, save_all=True, append_images=frames[1:], **more)
    assert (read == [255, 0, 0]).all()


def lying(path: Path, number: int, form: str = "JPEG") -> Image.Image:
    """Stores a photo so that EXIF's orientation turns it upright; gives it upright."""
    upright = Image.fromarray(load_photos()[0][:48, :64])
    back = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    exif = Image.Exif()
    exif[ORIENTATION] = number
    stored = upright.transpose(back[number]) if number in back else upright
    stored.save(path, form, exif=exif, quality=95)
    return upright


@pytest.mark.parametrize("number", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
def test_photos_of_ones_own_are_turned_upright(tmp_path: Path, make_folders, number: int) -> None:
    root = make_folders(("ant",), count=1)
    for split in ("train", "val"):
        (root / split / "ant" / "0.png").unlink()
        upright = lying(root / split / "ant" / "0.jpg", number)
    data = ImageFolderDataModule(root, image_size=48, resize="stored", augment=False)
    wanted = pixels(upright)[:, 8:56]
    for source in (data.evaluation_source(), data.training_source()):
        difference = np.abs(source.image(0).permute(1, 2, 0).numpy().astype(int) - wanted)
        assert difference.mean() < 8
    plain = ImageFolderDataModule(root, image_size=48, resize="stored", exif_orientation=False)
    stored = pixels(Image.open(root / "val" / "ant" / "0.jpg"))
    height, width = stored.shape[:2]
    top, left = (height - 48) // 2, (width - 48) // 2
    untouched = plain.evaluation_source().image(0).permute(1, 2, 0).numpy()
    assert (untouched == stored[top : top + 48, left : left + 48]).all()


def test_a_reduced_draft_is_turned_too(tmp_path: Path) -> None:
    big = Image.fromarray(load_photos()[0]).resize((640, 480))
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    big.save(tmp_path / "0.jpg", exif=exif)
    assert read_rgb(tmp_path / "0.jpg", 100, exif_orientation=True).size == (120, 160)
    assert read_rgb(tmp_path / "0.jpg", 100).size == (160, 120)


def test_published_data_sets_are_read_as_published() -> None:
    for module in (ImageNetDataModule, ImagenetteDataModule):
        assert module("anywhere").exif_orientation is False
        assert module("anywhere", exif_orientation=True).exif_orientation is True
    assert ImageFolderDataModule("anywhere").exif_orientation is True


def test_damaged_exif_data_do_not_refuse_the_picture(tmp_path: Path) -> None:
    Image.new("RGB", (32, 32)).save(tmp_path / "0.jpg", exif=b"Exif\0\0" + b"\xff" * 20)
    assert read_rgb(tmp_path / "0.jpg", exif_orientation=True).size == (32, 32)


@pytest.mark.parametrize("size", [(6000, 200), (200, 6000), (2000, 100), (90, 1500)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_the_centre_of_a_thin_image_is_that_of_the_whole_resized(
    size: tuple[int, int], interpolation: str
) -> None:
    photo = Image.fromarray(load_photos()[0]).resize(size)
    method = Image.Resampling[interpolation.upper()]
    crop = ImageFolderDataModule(".", image_size=224, interpolation=interpolation)._centre_crop(224)
    short, long = 256, int(256 * max(size) / min(size))
    whole = photo.resize((long, short) if size[0] > size[1] else (short, long), method)
    left, top = (round((side - 224) / 2) for side in whole.size)
    wanted = whole.crop((left, top, left + 224, top + 224))
    assert np.abs(pixels(crop(photo)) - pixels(wanted)).max() <= 2


def test_ordinary_images_are_resized_as_ever_bit_for_bit() -> None:
    photo = Image.fromarray(load_photos()[0]).resize((1600, 100))
    crop = ImageFolderDataModule(".", image_size=56, resize=64)._centre_crop(56)
    assert isinstance(crop, CentreCrop)
    wanted = photo.resize((1024, 64), Image.Resampling.BILINEAR).crop((484, 4, 540, 60))
    assert (pixels(crop(photo)) == pixels(wanted)).all()


@pytest.mark.parametrize("size", [(10_000, 1), (1, 10_000)])
def test_one_row_of_pixels_takes_little_memory(make_folders, size: tuple[int, int]) -> None:
    root = make_folders(("ant",), count=1)
    for split in ("train", "val"):
        Image.new("RGB", size, (200, 10, 30)).save(root / split / "ant" / "0.png")
    for augment in (True, False):
        data = ImageFolderDataModule(root, image_size=224, augment=augment)
        for source in (data.evaluation_source(), data.training_source()):
            image = source.image(0)
            assert (image == torch.tensor([200, 10, 30]).view(3, 1, 1)).all()
            assert image.shape == (3, 224, 224)


def test_memory_of_a_thin_image_is_bounded_by_the_crop(monkeypatch: pytest.MonkeyPatch) -> None:
    largest = 0
    resize = Image.Image.resize

    def watch(image: Image.Image, size: tuple[int, int], *rest: object, **more: object) -> object:
        nonlocal largest
        largest = max(largest, size[0] * size[1])
        return resize(image, size, *rest, **more)

    monkeypatch.setattr(Image.Image, "resize", watch)
    crop = ImageFolderDataModule(".", image_size=224)._centre_crop(224)
    for size in ((10_000, 1), (1, 10_000), (4000, 250), (4001, 250)):
        crop(Image.new("RGB", size))
    assert largest <= 16 * 256 * 256


def test_more_pixels_than_pillow_opens_is_a_sentence(
    make_folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = ImageFolderDataModule(make_folders(("ant",)), image_size=32)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    with pytest.raises(DataError, match=r"ant/0\.png \(more than the 1,000 pixels that Pillow"):
        data.test_dataset[0]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), "does not fit in memory"),
        (SyntaxError("broken PNG file"), "broken PNG file"),
        (IndexError(), "IndexError"),
        (PermissionError(13, "Permission denied"), r"\(permission denied\)"),
    ],
)
def test_whatever_a_decoder_raises_names_the_file_and_the_check(
    make_folders, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    source = ImageFolderDataModule(make_folders(), image_size=32).evaluation_source()
    assert isinstance(source, FolderSource)
    monkeypatch.setattr(Image, "open", fail)
    with pytest.raises(DataError, match=rf"val/ant/0\.png .*{words}.*`entres check-data`"):
        source.image(0)


def test_a_file_that_vanishes_is_named(make_folders) -> None:
    root = make_folders()
    data = ImageFolderDataModule(root, image_size=32)
    data.setup()
    (root / "val" / "ant" / "0.png").unlink()
    with pytest.raises(DataError, match=r"val/ant/0\.png \(it is not there\)"):
        data.test_dataset[0]
