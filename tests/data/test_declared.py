"""What data modules say of themselves: what they are, and which arguments change nothing."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from entres.data import (
    CIFAR10DataModule,
    HuggingFaceDataModule,
    ImageDataModule,
    ImageFolderDataModule,
    ImageNetCDataModule,
    ImageNetDataModule,
    ImagenetteDataModule,
    PhotosDataModule,
)

EVERY = [
    CIFAR10DataModule,
    HuggingFaceDataModule,
    ImageFolderDataModule,
    ImageNetCDataModule,
    ImageNetDataModule,
    ImagenetteDataModule,
    PhotosDataModule,
]


def parameters(module: type) -> set[str]:
    every = (
        inspect.signature(vars(c)["__init__"]) for c in module.__mro__ if "__init__" in vars(c)
    )
    return {name for signature in every for name in signature.parameters}


@pytest.mark.parametrize("module", EVERY)
def test_every_name_that_changes_nothing_is_a_parameter(module: type[ImageDataModule]) -> None:
    for declared in (module.changes_no_training, module.changes_no_evaluation):
        assert declared <= parameters(module)
        assert declared >= {"num_workers", "eval_batch_size", "val_limit_per_class"}
    # What the pixels or the labels depend on is never among them.
    both = module.changes_no_training & module.changes_no_evaluation
    assert not both & {
        "image_size",
        "resize",
        "interpolation",
        "labels",
        "exif_orientation",
        "seed",
    }


def test_a_class_declares_its_own_and_those_of_its_bases_are_added() -> None:
    class Own(ImageFolderDataModule):
        changes_no_training = frozenset({"cache"})

    assert Own.changes_no_training == ImageFolderDataModule.changes_no_training | {"cache"}
    assert Own.changes_no_evaluation == ImageFolderDataModule.changes_no_evaluation
    assert "cache" not in ImageFolderDataModule.changes_no_training
    assert ImageFolderDataModule.changes_no_training == {
        "data_dir",
        "eval_batch_size",
        "eval_limit_per_class",
        "expected_classes",
        "num_workers",
        "val_dir",
        "val_limit_per_class",
    }
    assert ImagenetteDataModule.changes_no_evaluation == {
        "augment",
        "batch_size",
        "data_dir",
        "download",
        "eval_batch_size",
        "expected_classes",
        "limit_per_class",
        "num_workers",
        "scale",
        "train_dir",
        "train_size",
        "val_limit_per_class",
    }
    assert "test_per_class" in PhotosDataModule.changes_no_training
    assert "train_per_class" in PhotosDataModule.changes_no_evaluation


def test_what_is_declared_does_change_nothing() -> None:
    """The images themselves, where they can be made without files."""
    few = {"image_size": 32, "train_per_class": 2, "test_per_class": 2, "num_workers": 0}
    plain = PhotosDataModule(**few)
    others = {"batch_size": 3, "train_per_class": 5, "augment": False, "limit_per_class": 1}
    other = PhotosDataModule(**few | others)
    for one, same in zip(plain.test_dataset, other.test_dataset, strict=True):
        assert (one[0] == same[0]).all()
    other = PhotosDataModule(**few | {"test_per_class": 7, "eval_batch_size": 3})
    assert all(
        (plain.train_dataset[i][0] == other.train_dataset[i][0]).all()
        for i in range(len(plain.train_dataset))
    )


def test_identity_is_what_the_data_are_and_not_where(make_folders, tmp_path: Path) -> None:
    one = ImageFolderDataModule(make_folders(("bear", "ant"), tmp_path / "a" / "pets"))
    same = ImageFolderDataModule(make_folders(("ant", "bear"), tmp_path / "b" / "pets"))
    assert one.identity == same.identity == {"name": "pets", "classes": ["ant", "bear"]}
    other = ImageFolderDataModule(make_folders(("ant", "eel"), tmp_path / "c" / "pets"))
    assert other.identity != one.identity
    assert CIFAR10DataModule("anywhere").identity["classes"][0] == "airplane"


def test_identity_of_many_classes_is_a_digest_of_those_that_occur(
    make_folders, tmp_path: Path
) -> None:
    many = tuple(f"n{number:02}" for number in range(21))
    data = ImageFolderDataModule(make_folders(many, tmp_path / "a" / "many", count=1))
    other = ImageFolderDataModule(make_folders((*many[:20], "x"), tmp_path / "b" / "many", count=1))
    assert data.identity["classes"].startswith("21 classes, ")
    assert data.identity != other.identity
    ids = ("n01440764", "n02102040")
    part = ImageFolderDataModule(make_folders(ids, tmp_path / "c"), labels="imagenet")
    assert len(part.identity["classes"]) == 2
