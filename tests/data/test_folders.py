"""Class folders: labels, crops, and errors that name what is wrong."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from entres.data import DataError, ImageFolderDataModule, ImageNetCDataModule
from entres.data.folder_source import FolderSource, index_folder


def stored(path: Path) -> torch.Tensor:
    return torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1)


def test_labels_are_the_sorted_folder_names(make_folders) -> None:
    data = ImageFolderDataModule(make_folders(("bear", "ant", "cat")), image_size=32)
    assert data.name == "pets"
    assert data.class_names == ["ant", "bear", "cat"]
    assert data.num_classes == 3
    source = data.evaluation_source()
    assert source.labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert source.index.path(4) == data.data_dir / "val" / "bear" / "1.png"


def test_images_as_stored_are_cropped_in_the_centre_and_not_touched(make_folders) -> None:
    root = make_folders(size=(48, 40))
    data = ImageFolderDataModule(root, image_size=40, resize="stored")
    expected = stored(root / "val" / "ant" / "0.png")[:, :, 4:44]
    assert torch.equal(data.evaluation_source().image(0), expected)


def test_resize_scales_the_short_side(make_folders) -> None:
    root = make_folders(size=(48, 40))
    picture = Image.open(root / "val" / "ant" / "0.png")
    data = ImageFolderDataModule(root, image_size=20, resize=20, interpolation="bicubic")
    whole = picture.resize((24, 20), Image.Resampling.BICUBIC).crop((2, 0, 22, 20))
    expected = torch.from_numpy(np.array(whole)).permute(2, 0, 1)
    assert torch.equal(data.evaluation_source().image(0), expected)
    automatic = ImageFolderDataModule(root, image_size=28, resize="auto").evaluation_source()
    explicit = ImageFolderDataModule(root, image_size=28, resize=32).evaluation_source()
    assert torch.equal(automatic.image(0), explicit.image(0))


def test_training_crops_are_random_and_have_their_own_size(make_folders) -> None:
    data = ImageFolderDataModule(make_folders(), image_size=40, train_size=24, resize="stored")
    images = [data.train_dataset[(0, epoch)][0] for epoch in range(4)]
    assert {image.shape for image in images} == {(3, 24, 24)}
    assert len(torch.stack(images).unique(dim=0)) == 4
    plain = ImageFolderDataModule(data.data_dir, image_size=40, train_size=24, augment=False)
    assert torch.equal(plain.train_dataset[(0, 0)][0], plain.train_dataset[(0, 1)][0])


def test_full_scale_without_resizing_reproduces_the_stored_pixels(make_folders) -> None:
    """Crop and flip are all that training does to the pixels."""
    root = make_folders(size=(32, 32))
    data = ImageFolderDataModule(root, image_size=32, scale=(1.0, 1.0), seed=1)
    picture = stored(root / "train" / "ant" / "0.png")
    images = [data.train_dataset[(0, epoch)][0] for epoch in range(12)]
    found = {
        "plain": any(torch.equal(image, picture) for image in images),
        "flipped": any(torch.equal(image, picture.flip(-1)) for image in images),
    }
    assert found == {"plain": True, "flipped": True}


def test_large_jpegs_are_decoded_smaller_for_training_only(tmp_path: Path, make_folders) -> None:
    root = make_folders(("ant",), count=1)
    photo = Image.open(root / "train" / "ant" / "0.png").resize((800, 640))
    for split in ("train", "val"):
        (root / split / "ant" / "0.png").unlink()
        photo.save(root / split / "ant" / "0.jpeg")
    sizes: list[tuple[int, int]] = []

    def record(image: Image.Image) -> Image.Image:
        sizes.append(image.size)
        return image

    data = ImageFolderDataModule(root, image_size=32)
    for source in (data.training_source(), data.evaluation_source()):
        FolderSource(source.index, [0], record, source.draft_size).image(0)
    assert sizes == [(100, 80), (800, 640)]


def test_index_is_sorted_and_skips_other_files(make_folders) -> None:
    root = make_folders(("ant",), count=2)
    folder = root / "train" / "ant"
    (folder / "0.png").rename(folder / "z.PNG")
    (folder / "notes.txt").touch()
    (folder / "._1.png").touch()
    (folder / "sub.png").mkdir()
    index = index_folder(root / "train")
    assert index.files.tolist() == [b"1.png", b"z.PNG"]


def test_grey_and_transparent_images_become_colour(make_folders) -> None:
    root = make_folders(("ant",), count=2)
    folder = root / "val" / "ant"
    Image.open(folder / "0.png").convert("L").save(folder / "0.png")
    Image.open(folder / "1.png").convert("RGBA").save(folder / "1.png")
    source = ImageFolderDataModule(root, image_size=32).evaluation_source()
    grey, colour = source.image(0), source.image(1)
    assert grey.shape == colour.shape == (3, 32, 32)
    assert torch.equal(grey[0], grey[2])
    assert not torch.equal(colour[0], colour[2])


def spoil(root: Path, how: str) -> None:
    ant = root / "val" / "ant"
    if how == "missing":
        (root / "val").rename(root / "test")
    elif how == "flat":
        for folder in (root / "val").iterdir():
            for number, file in enumerate(folder.iterdir()):
                file.rename(root / "val" / f"{folder.name}{number}.png")
            folder.rmdir()
    elif how == "empty":
        for file in ant.iterdir():
            file.rename(file.with_suffix(".txt"))
    elif how == "differ":
        ant.rename(root / "val" / "eel")


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("missing", r"no folder .*pets/val: expected .*pets/val/<class>/\*\.jpg; check data_dir"),
        ("flat", r"no class folders in .*pets/val \(6 images lie in it directly\)"),
        ("empty", r"no images in the class folder .*pets/val/ant"),
        ("differ", r"only in train: ant; only in val: eel"),
    ],
)
def test_errors_name_what_is_wrong(make_folders, how: str, message: str) -> None:
    root = make_folders()
    spoil(root, how)
    with pytest.raises(DataError, match=message):
        ImageFolderDataModule(root, image_size=32).setup()


def test_a_folder_that_is_not_there_is_named_and_no_part_of_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"^no folder {tmp_path}/nowhere: check data_dir$"):
        ImageFolderDataModule(tmp_path / "nowhere").setup("test")
    (tmp_path / "pets.zip").touch()
    with pytest.raises(DataError, match=rf"^{tmp_path}/pets.zip is no folder: check data_dir$"):
        ImageFolderDataModule(tmp_path / "pets.zip").setup()
    with pytest.raises(DataError, match=rf"^no folder {tmp_path}/nowhere: check data_dir$"):
        ImageNetCDataModule(tmp_path / "nowhere").setup("test")


def test_evaluation_does_without_training_images(make_folders) -> None:
    root = make_folders()
    (root / "train").rename(root.parent / "elsewhere")
    data = ImageFolderDataModule(root, image_size=32)
    data.setup("test")
    assert data.class_names == ["ant", "bear"]
    assert len(data.test_dataset) == 6
    with pytest.raises(DataError, match=r"no folder .*pets/train: expected .*; check data_dir"):
        data.setup("fit")


def test_wrong_number_of_classes_is_an_error(make_folders) -> None:
    with pytest.raises(DataError, match=r"expected 3 class folders in .*found 2 \(ant, bear\)"):
        ImageFolderDataModule(make_folders(), image_size=32, expected_classes=3).setup()


@pytest.mark.parametrize("content", [b"", b"no image", None])
def test_unreadable_image_is_named(make_folders, content: bytes | None) -> None:
    root = make_folders()
    file = root / "val" / "ant" / "1.png"
    file.write_bytes(file.read_bytes()[:-200] if content is None else content)
    data = ImageFolderDataModule(root, image_size=32)
    with pytest.raises(DataError, match=r"cannot read the image .*val/ant/1\.png"):
        data.test_dataset[1]


def test_image_smaller_than_asked_is_named(make_folders) -> None:
    data = ImageFolderDataModule(make_folders(size=(48, 40)), image_size=41, resize="stored")
    with pytest.raises(DataError, match=r"val/ant/0\.png: the image has 48 x 40 pixels.*41"):
        data.test_dataset[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"resize": 200}, "resize must be >= 224, got 200"),
        ({"resize": "none"}, r"resize must be one of \['auto', 'stored'\], got 'none'"),
        ({"resize": 256, "train_size": 300, "augment": False}, "resize must be >= 300"),
        ({"train_size": 0}, "train_size must be >= 1 or null, got 0"),
        ({"interpolation": "nearest"}, "interpolation must be one of .* got 'nearest'"),
        ({"labels": "names"}, "labels must be one of .* got 'names'"),
        ({"scale": (0.0, 1.0)}, r"scale must be .* got \(0.0, 1.0\)"),
        ({"scale": (0.5, 0.25)}, r"scale must be .* got \(0.5, 0.25\)"),
    ],
)
def test_bad_values_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ImageFolderDataModule("anywhere", **arguments)
