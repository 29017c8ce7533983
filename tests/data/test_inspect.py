"""What the check before the work finds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from entres.conditions import CorruptedDataModule
from entres.data import (
    DataError,
    ImageFolderDataModule,
    PhotosDataModule,
    check_data,
)
from entres.data.photos import load_photos
from entres.data.reading import ORIENTATION

PHOTO = Image.fromarray(load_photos()[0])


def photo(path: Path, number: int, size: tuple[int, int] = (64, 48), **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    box = (7 * number, 0, 7 * number + size[0], size[1])
    PHOTO.crop(box).save(path, **options)
    return path


@pytest.fixture
def messy(tmp_path: Path) -> Path:
    """Two classes with one of each kind of trouble."""
    root = tmp_path / "messy"
    for number in range(4):
        photo(root / "train" / "ant" / f"{number}.png", number)
        photo(root / "train" / "bear" / f"{number}.jpg", 10 + number)
        photo(root / "val" / "bear" / f"{number}.tif", 20 + number)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    photo(root / "train" / "bear" / "turned.jpg", 30, exif=exif)
    photo(root / "val" / "ant" / "same.png", 2)
    photo(root / "val" / "ant" / "again.png", 2)
    photo(root / "val" / "ant" / "tiny.png", 3, size=(40, 31))
    photo(root / "val" / "ant" / "large.png", 4, size=(400, 300))
    deep = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64) * 16
    Image.fromarray(deep).save(root / "val" / "ant" / "deep.png")
    whole = photo(root / "train" / "ant" / "cut.png", 5)
    whole.write_bytes(whole.read_bytes()[:-300])
    (root / "train" / "bear" / "text.jpg").write_text("no image")
    (root / "val" / "ant" / "empty.png").touch()
    (root / "val" / "ant" / "note.txt").touch()
    return root


def test_everything_is_found_at_once(messy: Path) -> None:
    report = check_data(ImageFolderDataModule(messy, image_size=32), workers=3, progress=False)
    train, val = report.splits["train"], report.splits["val"]
    assert report.name == "messy"
    assert (train.images, val.images) == (11, 10)
    assert train.per_class == {"ant": 5, "bear": 6}
    assert val.per_class == {"ant": 6, "bear": 4}
    assert train.formats == {"PNG": 4, "JPEG": 5}
    assert val.formats == {"PNG": 5, "TIFF": 4}
    assert val.modes == {"RGB": 8, "I;16": 1}
    assert (train.turned, val.turned) == (1, 0)
    assert (val.smallest, val.largest) == ((40, 31), (400, 300))
    assert val.short_side == 48
    assert train.size == sum(file.stat().st_size for file in (messy / "train").rglob("*.*"))
    assert val.not_read == {".txt": (1, "ant/note.txt")}
    ant, bear = messy / "train" / "ant", messy / "train" / "bear"
    unreadable = dict(report.unreadable)
    assert list(unreadable) == [
        str(ant / "cut.png"),
        str(bear / "text.jpg"),
        str(messy / "val" / "ant" / "empty.png"),
    ]
    assert "no image that Pillow knows" in unreadable[str(bear / "text.jpg")]
    again, same = (str(messy / "val" / "ant" / f"{name}.png") for name in ("again", "same"))
    assert report.in_training_and_test == [(str(ant / "2.png"), again)]
    assert report.twice == [(again, same)]
    assert report.tiny == [f"{messy}/val/ant/tiny.png: 40 x 31"]
    assert not report.is_fine


def test_it_says_so_in_words_and_in_json(messy: Path) -> None:
    report = check_data(ImageFolderDataModule(messy, image_size=32), progress=False)
    words = str(report)
    for part in (
        "train: 11 images in 2 classes, 5 to 6 of each; ",
        "5 JPEG, 4 PNG; 9 RGB; 64 x 48 to 64 x 48 pixels",
        "1 lie on their side or head, as their EXIF data say",
        "val: files that are not read: 1 .txt (ant/note.txt)",
        f"3 cannot be read:\n  {messy}/train/ant/cut.png: ",
        "1 are in training and in test:",
        "1 are there twice:",
        "1 have a side of less than 32 pixels:",
    ):
        assert part in words
    saved = json.loads(json.dumps(report.as_dict()))
    assert saved["splits"]["train"]["formats"] == {"PNG": 4, "JPEG": 5}
    assert saved["unreadable"] == [list(pair) for pair in report.unreadable]


def test_what_it_names_is_what_would_stop_a_training_and_nothing_else(messy: Path) -> None:
    data = ImageFolderDataModule(messy, image_size=32)
    stopped = []
    for source in (data.training_source(), data.evaluation_source()):
        for index in range(len(source)):
            try:
                source.image(index)
            except DataError:
                stopped.append(source.where(index))
    report = check_data(data, progress=False)
    assert stopped == [place for place, _ in report.unreadable]


def test_many_of_a_kind_are_counted(tmp_path: Path) -> None:
    for split in ("train", "val"):
        (tmp_path / split / "ant").mkdir(parents=True)
        for number in range(300):  # more than are under way at once
            (tmp_path / split / "ant" / f"{number:03}.png").touch()
    report = check_data(ImageFolderDataModule(tmp_path, image_size=32), progress=True)
    assert len(report.unreadable) == 600
    assert "600 cannot be read:" in str(report)
    assert "  and 590 more" in str(report)


def test_limits_and_augmentation_do_not_count(make_folders) -> None:
    data = ImageFolderDataModule(make_folders(count=3), image_size=32, limit_per_class=1)
    report = check_data(data, progress=False)
    assert (report.splits["train"].images, report.splits["val"].images) == (6, 6)
    assert report.is_fine
    assert str(report).endswith("every image can be read, and none is in training and in test")
    assert data.augment


def test_other_data_are_read_too(make_folders) -> None:
    photos = PhotosDataModule(image_size=32, train_per_class=3, test_per_class=2)
    report = check_data(photos, progress=False)
    assert (report.splits["train"].images, report.splits["val"].images) == (24, 16)
    assert set(report.splits["val"].per_class.values()) == {2}
    assert check_data(CorruptedDataModule(photos), progress=False) == report
    root = make_folders()
    (root / "train").rename(root.parent / "elsewhere")
    assert list(check_data(ImageFolderDataModule(root), progress=False).splits) == ["val"]


def test_a_split_by_name_is_checked_like_any_other(tmp_path: Path) -> None:
    for number in range(10):
        photo(tmp_path / "ant" / f"{number}.png", number % 5)
    (tmp_path / "ant" / "note.txt").touch()
    report = check_data(ImageFolderDataModule(tmp_path), progress=False)
    assert (report.splits["train"].images, report.splits["val"].images) == (8, 2)
    # Every photo is there under two names, whose numbers are 5 apart.
    assert [(Path(train).name, Path(test).name) for train, test in report.in_training_and_test] == [
        ("0.png", "5.png"),
        ("8.png", "3.png"),
    ]
    assert str(report).count("files that are not read") == 1
