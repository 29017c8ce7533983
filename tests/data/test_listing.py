"""Which files of a folder are read, in which order, what is said of the rest, and the split."""

from __future__ import annotations

import logging
import shutil
import unicodedata
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from entres.data import DataError, ImageFolderDataModule, ImageNetDataModule, folder_source
from entres.data.folder_source import index_folder
from entres.data.sampling import held_out


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 40)).save(path)
    return path


def files(data: ImageFolderDataModule, split: str = "train") -> list[str]:
    source = data.training_source() if split == "train" else data.evaluation_source()
    return [str(source.index.path(i).relative_to(data.data_dir)) for i in range(len(source))]


def words(data: ImageFolderDataModule) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        data.setup()
        data.setup("test")
    return [str(warning.message) for warning in caught]


def test_every_format_and_folders_inside_belong_to_the_class(tmp_path: Path) -> None:
    names = ["0.tif", "1.TIFF", "2.gif", "3.jp2", "b/deep/4.png", "b/5.jpg", "c.png/6.bmp"]
    for split in ("train", "val"):
        for name in names:
            picture(tmp_path / split / "ant" / name)
    data = ImageFolderDataModule(tmp_path, image_size=32, num_workers=0)
    assert words(data) == []
    wanted = sorted(f"train/ant/{name}" for name in names)
    assert files(data) == wanted
    assert sum(len(batch.labels) for batch in data.test_dataloader()) == len(names)


def odd(root: Path) -> None:
    for split in ("train", "val"):
        ant = root / split / "ant"
        picture(ant / "0.png")
        for number in range(5):
            (ant / f"broken{number}.png").symlink_to("/nowhere/at/all")
        (ant / "1.heic").touch()
        (ant / "2.HEIC").touch()
        (ant / "notes.txt").touch()
        (ant / "README").touch()
        (ant / "._0.png").touch()
        (ant / ".DS_Store").touch()
        picture(root / split / "__MACOSX" / "0.png")
        picture(ant / "@eaDir" / "0.png" / "THUMB.jpg")
        picture(ant / ".ipynb_checkpoints" / "0.png")
    picture(root / "train" / "lost.png")


def test_what_is_not_read_is_counted_and_named_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = folder_source.readable_suffixes() - {".heic"}
    monkeypatch.setattr(folder_source, "readable_suffixes", lambda: plain)
    odd(tmp_path)
    data = ImageFolderDataModule(tmp_path, image_size=32)
    (sentence,) = words(data)
    assert sentence == (
        f"21 files in {tmp_path}/train and {tmp_path}/val are not read: "
        "10 broken links (train/ant/broken0.png, ...), "
        "4 .heic that `pip install pillow-heif` would read (train/ant/1.heic, ...), "
        "2 .txt (train/ant/notes.txt, ...), "
        "2 hidden (train/ant/._0.png, ...), "
        "2 without a suffix (train/ant/README, ...), "
        "1 images beside the class folders (train/lost.png)"
    )
    assert files(data) == ["train/ant/0.png"]
    assert data.class_names == ["ant"]


def test_a_class_without_a_readable_image_says_what_it_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = folder_source.readable_suffixes() - {".heic"}
    monkeypatch.setattr(folder_source, "readable_suffixes", lambda: plain)
    (tmp_path / "ant").mkdir()
    with pytest.raises(DataError, match=r"class folder .*ant \(it is empty\): add some"):
        index_folder(tmp_path)
    (tmp_path / "ant" / "0.heic").touch()
    with pytest.raises(DataError, match=r"it holds 1 \.heic that `pip install pillow-heif` would"):
        index_folder(tmp_path)


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    picture(tmp_path / "elsewhere" / "1.png")
    ant = picture(tmp_path / "set" / "ant" / "0.png").parent
    (ant / "up").symlink_to(ant)
    (ant / "top").symlink_to(tmp_path / "set")
    (ant / "more").symlink_to(tmp_path / "elsewhere")
    (ant / "2.png").symlink_to(ant / "0.png")
    index = index_folder(tmp_path / "set")
    assert b"more/1.png" in index.files.tolist()
    assert b"2.png" in index.files.tolist()
    assert len(index.files) < 10
    assert "links to a folder that they lie in" in str(index.skipped)


def test_many_kinds_of_files_are_still_one_sentence(tmp_path: Path) -> None:
    ant = picture(tmp_path / "ant" / "0.png").parent
    for number in range(30):
        (ant / f"file.k{number:02}").touch()
    assert str(index_folder(tmp_path).skipped).endswith("1 .k07 (ant/file.k07), 22 others")


def test_a_folder_that_cannot_be_listed_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture(tmp_path / "ant" / "0.png")
    scandir = folder_source.os.scandir

    def forbid(path: Path) -> object:
        if Path(path).name == "ant":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(folder_source.os, "scandir", forbid)
    with pytest.raises(DataError, match=r"cannot list the folder .*/ant: permission denied"):
        index_folder(tmp_path)


NFC, NFD = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))


def test_names_are_the_same_however_their_accents_are_stored(tmp_path: Path) -> None:
    picture(tmp_path / "train" / NFC / "é.png")
    picture(tmp_path / "val" / NFD / "e.png")
    picture(tmp_path / "val" / NFD / unicodedata.normalize("NFD", "é.png"))
    picture(tmp_path / "val" / NFD / "f.png")
    for split in ("train", "val"):
        picture(tmp_path / split / "cafz" / "0.png")
    data = ImageFolderDataModule(tmp_path, image_size=32)
    data.setup()
    # As composed: "é" after "z". As stored, the accent apart, val had it before.
    assert data.class_names == ["cafz", NFC]
    assert data.evaluation_source().labels.tolist() == [0, 1, 1, 1]
    source = data.evaluation_source()
    assert [source.index.key(i) for i in range(4)] == [
        "cafz/0.png", f"{NFC}/e.png", f"{NFC}/f.png", f"{NFC}/é.png"
    ]  # fmt: skip
    assert all(source.index.path(i).is_file() for i in range(4))
    assert len(list(data.test_dataset)) == 4


def test_two_folders_of_one_name_are_refused(tmp_path: Path) -> None:
    picture(tmp_path / NFC / "0.png")
    picture(tmp_path / NFD / "0.png")
    if len(list(tmp_path.iterdir())) < 2:
        pytest.skip("this file system has one form of names")
    with pytest.raises(DataError, match=r"both called 'café'.*move the images of one"):
        index_folder(tmp_path)


def test_a_missing_split_says_what_is_there(make_folders) -> None:
    root = make_folders()
    (root / "val").rename(root / "testing")
    with pytest.raises(DataError, match=r"no folder .*/val: .*pets holds testing, train\)"):
        ImageFolderDataModule(root, image_size=32).setup()
    (root / "train").rename(root / "valid")
    with pytest.raises(DataError, match=r"holds testing, valid: name its splits with train_dir"):
        ImageFolderDataModule(root, image_size=32).setup()
    named = ImageFolderDataModule(root, image_size=32, train_dir="valid", val_dir="testing")
    named.setup()
    assert len(named.test_dataset) == 6


@pytest.fixture
def classes_only(tmp_path: Path) -> Path:
    for name, count in (("ant", 50), ("bear", 40), ("cat", 2), ("dog", 3)):
        for number in range(count):
            picture(tmp_path / "own" / name / f"{number:03}.png")
    return tmp_path / "own"


def test_classes_alone_are_split_by_name(
    classes_only: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = ImageFolderDataModule(classes_only, image_size=32)
    with caplog.at_level(logging.INFO):
        data.setup()
        data.setup("test")
    assert [record.getMessage() for record in caplog.records] == [
        f"no train and val folders in {classes_only}: 75 of 95 images train, 20 test, "
        "chosen by name"
    ]
    train, test = files(data), files(data, "val")
    assert not set(train) & set(test)
    assert len(train) + len(test) == 95
    counts = np.bincount(data.evaluation_source().labels)
    assert counts.tolist() == [10, 8, 1, 1]
    assert data.class_names == ["ant", "bear", "cat", "dog"]
    assert train == sorted(train)
    assert test == sorted(test)
    # Not the first or last, nor every fifth: as good as random.
    gaps = np.diff([int(Path(name).stem) for name in test if name.startswith("ant")])
    assert len(set(gaps.tolist())) > 2


def test_the_split_is_the_same_elsewhere_and_mostly_after_an_addition(
    classes_only: Path, tmp_path: Path
) -> None:
    before = files(ImageFolderDataModule(classes_only), "val")
    assert before[:3] == ["ant/020.png", "ant/021.png", "ant/022.png"]
    copy = shutil.copytree(classes_only, tmp_path / "elsewhere")
    assert files(ImageFolderDataModule(copy), "val") == before
    for number in range(50, 55):
        picture(copy / "ant" / f"{number:03}.png")
    after = files(ImageFolderDataModule(copy), "val")
    assert len(set(before) - set(after)) <= 2
    assert len(files(ImageFolderDataModule(copy, test_share=0.5), "val")) == 28 + 20 + 1 + 2


def test_one_image_cannot_be_split(classes_only: Path) -> None:
    picture(classes_only / "eel" / "0.png")
    with pytest.raises(DataError, match=r"one image only in the class folders eel of .*add some"):
        ImageFolderDataModule(classes_only).setup()


def test_published_data_are_never_split_anew(classes_only: Path) -> None:
    with pytest.raises(DataError, match=r"no folder .*/val"):
        ImageNetDataModule(classes_only).setup()


@pytest.mark.parametrize("share", [0, 1, -0.5, 2])
def test_the_share_is_a_part(share: float) -> None:
    with pytest.raises(ValueError, match=f"test_share must be between 0 and 1, got {share}"):
        ImageFolderDataModule("anywhere", test_share=share)


def test_some_are_held_out_of_each_class_and_never_all() -> None:
    labels = np.array([0] * 100 + [1] * 2 + [2] * 3)
    keys = [f"{label}/{number}" for number, label in enumerate(labels)]
    for share, counts in ((0.2, [20, 1, 1]), (0.001, [1, 1, 1]), (0.999, [99, 1, 2])):
        assert np.bincount(labels[held_out(keys, labels, share)]).tolist() == counts
    order = np.random.default_rng(0).permutation(len(keys))
    shuffled = held_out([keys[i] for i in order], labels[order], 0.2)
    assert (shuffled == held_out(keys, labels, 0.2)[order]).all()
