"""Tiny image folders cut from real photographs."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from entres.data.photos import load_photos

MakeFolders = Callable[..., Path]


@pytest.fixture
def make_folders(tmp_path: Path) -> MakeFolders:
    """Makes ``<root>/{train,val}/<class>/<number>.png`` from crops of a photo per class."""

    def make(
        classes: tuple[str, ...] = ("bear", "ant"),
        root: Path = tmp_path / "pets",
        count: int = 3,
        size: tuple[int, int] = (48, 40),
    ) -> Path:
        photos = load_photos()
        for number, name in enumerate(classes):
            photo = Image.fromarray(photos[number % len(photos)])
            for split, top in (("train", 0), ("val", 150)):
                folder = root / split / name
                folder.mkdir(parents=True)
                for index in range(count):
                    box = (10 * index, top, 10 * index + size[0], top + size[1])
                    photo.crop(box).save(folder / f"{index}.png")
        return root

    return make
