"""Data sets of the hub: with the package where it is installed, with a small stand-in where not."""

from __future__ import annotations

import builtins
import importlib.util
import io
import logging
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from entres.data import DataError, HuggingFaceDataModule, check_data
from entres.data.photos import load_photos

PHOTO = Image.fromarray(load_photos()[0])
NAMES = ["ant", "bear"]


class StoredImage:
    """Of the package: the type of a column of images."""

    def __init__(self, decode: bool = True) -> None:
        self.decode = decode


class ClassLabel:
    def __init__(self, names: list[str]) -> None:
        self.names = names


class Table:
    """What is used of the package's Dataset."""

    def __init__(self, columns: dict[str, list[Any]], features: dict[str, Any]) -> None:
        self.columns, self.features = columns, features

    def cast_column(self, name: str, feature: Any) -> Table:
        return Table(self.columns, self.features | {name: feature})

    def select_columns(self, names: list[str]) -> Table:
        return Table(
            {name: self.columns[name] for name in names},
            {name: self.features[name] for name in names},
        )

    def __getitem__(self, rows: int | slice) -> dict[str, Any]:
        for feature in self.features.values():
            assert getattr(feature, "decode", False) is False, "decoded here, with its own errors"
        return {name: column[rows] for name, column in self.columns.items()}


def content(number: int, form: str = "PNG") -> bytes:
    file = io.BytesIO()
    PHOTO.crop((7 * number, 0, 7 * number + 48, 40)).save(file, form)
    return file.getvalue()


def table(count: int, first: int = 0, labels: list[Any] | None = None, named: bool = True) -> Table:
    columns: dict[str, list[Any]] = {
        "image": [{"bytes": content(first + n), "path": None} for n in range(count)],
        "label": labels if labels is not None else [n % 2 for n in range(count)],
    }
    label = ClassLabel(NAMES) if named else "string"
    return Table(columns, {"image": StoredImage(), "label": label})


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the hub has: path -> splits."""
    served: dict[str, Any] = {}
    package = ModuleType("datasets")

    def load_dataset(path: str, config: Any, revision: Any, cache_dir: Any) -> Any:
        if path not in served:
            raise ConnectionError(f"Couldn't reach '{path}' on the Hub (LocalEntryNotFoundError)")
        return served[path]

    package.Image = StoredImage  # type: ignore[attr-defined]
    package.load_dataset = load_dataset  # type: ignore[attr-defined]
    package.load_from_disk = lambda path: served[f"disk:{path}"]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", package)
    return served


def module(path: str = "someone/pets", **options: Any) -> HuggingFaceDataModule:
    return HuggingFaceDataModule(path, image_size=32, num_workers=0, **options)


def test_splits_labels_and_pixels(hub: dict[str, Any]) -> None:
    hub["someone/pets"] = {"train": table(6), "test": table(3, 10), "validation": table(4, 20)}
    data = module(resize="stored", eval_batch_size=4)
    data.setup()
    assert data.name == "pets"
    assert data.class_names == NAMES
    assert (len(data.train_dataset), len(data.test_dataset)) == (6, 4)
    (batch,) = data.test_dataloader()
    assert batch.labels.tolist() == [0, 1, 0, 1]
    wanted = np.asarray(PHOTO.crop((140, 0, 188, 40)))[4:36, 8:40]
    assert (batch.images[0].permute(1, 2, 0).numpy() == wanted / np.float32(255)).all()
    assert len(module(val_split="test").test_dataset) == 3
    assert len(next(iter(data.train_dataloader())).labels) == 6


def test_labels_of_strings_are_sorted(hub: dict[str, Any]) -> None:
    hub["someone/pets"] = {
        "train": table(4, labels=["cow", "bee", "cow", "ape"], named=False),
        "test": table(2, labels=["bee", "cow"], named=False),
    }
    data = module()
    assert data.class_names == ["ape", "bee", "cow"]
    assert data.training_source().labels.tolist() == [2, 1, 2, 0]
    assert data.evaluation_source().labels.tolist() == [1, 2]


def test_one_split_is_parted_by_the_number_of_the_row(
    hub: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    hub["someone/pets"] = {"train": table(20)}
    data = module()
    with caplog.at_level(logging.INFO):
        data.setup()
        data.setup("test")
    assert [record.getMessage() for record in caplog.records] == [
        "no split for evaluation in someone/pets: 16 of 20 images train, 4 test, chosen by the "
        "number of their row"
    ]
    train, test = data.training_source().numbers, data.evaluation_source().numbers
    assert sorted([*train, *test]) == list(range(20))
    assert np.bincount(data.evaluation_source().labels).tolist() == [2, 2]
    assert test.tolist() == module().evaluation_source().numbers.tolist()
    hub["someone/pets"] = {"train": table(3)}
    with pytest.raises(DataError, match="one image only of the classes bear of someone/pets"):
        module().setup()


def test_a_folder_that_was_saved_needs_no_network(hub: dict[str, Any], tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    folder.mkdir()
    (folder / "dataset_dict.json").touch()
    hub[f"disk:{folder}"] = {"train": table(2), "test": table(2)}
    assert module(str(folder)).identity == {"name": "saved", "classes": NAMES}
    (folder / "dataset_dict.json").rename(folder / "state.json")
    hub[f"disk:{folder}"] = table(8)  # one table, no splits
    data = module(str(folder))
    data.setup()
    assert len(data.train_dataset) + len(data.test_dataset) == 8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"path": "no/where"}, r"cannot load 'no/where' from .*Couldn't reach.*save_to_disk\(FOL"),
        ({"image_column": "img"}, "no column 'img' in the split 'train' .* image, label: name"),
        ({"label_column": "fine"}, "no column 'fine' .*label_column"),
        ({"image_column": "label"}, r"the column 'label' of someone/pets holds .* no images"),
        (
            {"train_split": "all"},
            "no split 'all' in someone/pets, which has test, train: .*train_s",
        ),
        ({"val_split": "dev"}, "no split 'dev' in someone/pets, which has .*val_split"),
    ],
)
def test_what_is_not_there_is_named(
    hub: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    hub["someone/pets"] = {"train": table(4), "test": table(4)}
    with pytest.raises(DataError, match=message):
        module(**options).setup()


def test_a_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "datasets", raising=False)
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name == "datasets":
            raise ImportError("No module named 'datasets'")
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(DataError, match=r"need the package datasets .*pip install 'entres\[hf\]'"):
        module().prepare_data()


def test_labels_that_are_kept_back_are_refused(hub: dict[str, Any]) -> None:
    hub["someone/pets"] = {"train": table(4), "test": table(2, labels=[-1, -1])}
    data = module()
    with pytest.raises(DataError, match=r"split 'test' of .* without a label \(-1\): name another"):
        data.setup("test")


def test_an_image_that_cannot_be_read_is_named_by_its_row(hub: dict[str, Any]) -> None:
    broken = table(4, first=10)
    broken.columns["image"][2] = {"bytes": b"no image", "path": None}
    broken.columns["image"][3] = None
    hub["someone/pets"] = {"train": table(4), "test": broken}
    data = module()
    data.setup()
    for row, reason in ((2, "its contents are no image"), (3, "it is empty")):
        with pytest.raises(
            DataError, match=f"row {row} of the split 'test' .*{reason}.*check-data"
        ):
            data.test_dataset[row]
    report = check_data(data, progress=False)
    assert [place for place, _ in report.unreadable] == [
        "row 2 of the split 'test' of someone/pets",
        "row 3 of the split 'test' of someone/pets",
    ]
    assert report.splits["train"].formats == {"PNG": 4}


@pytest.mark.skipif(not importlib.util.find_spec("datasets"), reason="needs the package datasets")
def test_with_the_package_itself(tmp_path: Path) -> None:
    import datasets

    features = datasets.Features(
        {"picture": datasets.Image(), "kind": datasets.ClassLabel(names=NAMES)}
    )
    photos = [PHOTO.crop((7 * n, 0, 7 * n + 48, 40)) for n in range(10)]
    rows = {"picture": photos, "kind": [n % 2 for n in range(10)]}
    whole = datasets.Dataset.from_dict(rows, features=features)
    folder = tmp_path / "pets"
    datasets.DatasetDict({"train": whole, "test": whole.select(range(4))}).save_to_disk(folder)
    data = HuggingFaceDataModule(
        str(folder),
        image_column="picture",
        label_column="kind",
        image_size=32,
        resize="stored",
        num_workers=1,
    )
    data.setup()
    assert data.class_names == NAMES
    (batch,) = data.test_dataloader()
    assert batch.labels.tolist() == [0, 1, 0, 1]
    wanted = np.asarray(photos[0])[4:36, 8:40] / np.float32(255)
    assert (batch.images[0].permute(1, 2, 0).numpy() == wanted).all()
    assert len(check_data(data, progress=False).in_training_and_test) == 4
    whole.save_to_disk(tmp_path / "one")
    options: dict = {"image_column": "picture", "label_column": "kind", "image_size": 32}
    assert len(HuggingFaceDataModule(str(tmp_path / "one"), **options).test_dataset) == 2
    with pytest.raises(DataError, match="cannot load 'entres/nothing' from the Hugging Face hub"):
        HuggingFaceDataModule("entres/nothing", **options).setup()


@pytest.mark.parametrize("path", ["uoft-cs/cifar100", "saved/pets/", "./pets"])
def test_a_name_is_that_of_the_experiment(path: str) -> None:
    from entres.experiment import Experiment

    name = HuggingFaceDataModule(path).name
    assert name == Experiment(data="huggingface", data_dir=path).data_name
    assert "/" not in name
