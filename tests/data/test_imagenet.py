"""ImageNet's labels, Imagenette's place among them, CIFAR-10, and the configurations."""

import pickle
from pathlib import Path

import jsonargparse
import numpy as np
import pytest
import torch
import torchvision
from timm.data import ImageNetInfo
from torchvision import datasets

from entres.data import (
    CIFAR10DataModule,
    DataError,
    ImageDataModule,
    ImageFolderDataModule,
    ImageNetDataModule,
    ImagenetteDataModule,
)

IMAGENETTE = {  # WordNet id: label and a word of its description, from the ImageNet-1k list
    "n01440764": (0, "tench"),
    "n02102040": (217, "springer"),
    "n02979186": (482, "cassette player"),
    "n03000684": (491, "chain saw"),
    "n03028079": (497, "church"),
    "n03394916": (566, "French horn"),
    "n03417042": (569, "garbage truck"),
    "n03425413": (571, "gas pump"),
    "n03445777": (574, "golf ball"),
    "n03888257": (701, "parachute"),
}
CONFIGS = Path(__file__).parents[2] / "configs" / "data"


@pytest.mark.parametrize("folder", ["", "imagenette2", "imagenette2-160"])
def test_imagenette_has_the_labels_of_imagenet(make_folders, tmp_path: Path, folder: str) -> None:
    root = tmp_path / "somewhere"
    make_folders(tuple(IMAGENETTE), root / folder, count=1)
    data = ImagenetteDataModule(root, image_size=32)
    assert data.name == "imagenette"
    assert data.num_classes == 1000
    assert data.present_classes == [label for label, _ in IMAGENETTE.values()]
    for label, word in IMAGENETTE.values():
        assert word in data.class_names[label]
    data.setup()
    labels = [label for batch in data.test_dataloader() for label in batch.labels.tolist()]
    assert labels == data.present_classes


def test_imagenette_needs_its_ten_classes(make_folders, tmp_path: Path) -> None:
    root = make_folders(tuple(IMAGENETTE)[:3], count=1)
    with pytest.raises(DataError, match=r"expected 10 class folders in .*found 3"):
        ImagenetteDataModule(root).setup()
    with pytest.raises(DataError, match=r"no Imagenette in .*nothing.*download: true"):
        ImagenetteDataModule(tmp_path / "nothing").setup()


def test_imagenette_downloads_only_if_asked_and_needed(
    make_folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def download(root: Path, size: str, download: bool) -> None:
        calls.append(size)
        make_folders(tuple(IMAGENETTE), root / "imagenette2-160", count=1)

    monkeypatch.setattr(datasets, "Imagenette", download)
    ImagenetteDataModule(tmp_path).prepare_data()
    assert calls == []
    data = ImagenetteDataModule(tmp_path, download=True, download_size="160px")
    data.prepare_data()
    data.prepare_data()
    assert calls == ["160px"]
    assert data.present_classes[1] == 217


def test_folders_must_be_wordnet_ids(make_folders) -> None:
    data = ImageFolderDataModule(make_folders(("n01440764", "fish")), labels="imagenet")
    with pytest.raises(DataError, match="not WordNet ids of ImageNet-1k classes: fish"):
        data.setup()


def test_imagenet_needs_a_thousand_classes_in_folders(make_folders, tmp_path: Path) -> None:
    root = make_folders(("n01440764", "n02102040"), count=1)
    with pytest.raises(DataError, match=r"expected 1000 class folders in .*found 2"):
        ImageNetDataModule(root).setup()
    for folder in sorted((root / "val").iterdir()):
        (folder / "0.png").rename(root / "val" / f"ILSVRC2012_val_{folder.name}.JPEG")
        folder.rmdir()
    with pytest.raises(DataError, match=r"2 images lie in it directly.*move every image into the"):
        ImageNetDataModule(root).setup()


def test_imagenet_labels_are_the_sorted_wordnet_ids(tmp_path: Path) -> None:
    names = ImageNetInfo().label_names()
    for split in ("train", "val"):
        for name in names:
            (tmp_path / split / name).mkdir(parents=True)
    data = ImageNetDataModule(tmp_path)
    assert data.present_classes == data.folder_labels == list(range(1000))
    assert data.name == "imagenet"


@pytest.fixture
def cifar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files of CIFAR-10 with a few random images in place of 10,000 each."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for number, name in enumerate([*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]):
        data = generator.integers(0, 256, (4, 3072), dtype=np.uint8)
        content = {"data": data, "labels": [number, 9, 0, 1]}
        (folder / name).write_bytes(pickle.dumps(content))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": ["x"] * 10}))
    monkeypatch.setattr(torchvision.datasets.cifar, "check_integrity", lambda *_: True)
    return tmp_path


def test_cifar_reads_both_splits_and_augments_training_only(cifar: Path) -> None:
    data = CIFAR10DataModule(cifar, batch_size=20, num_workers=0)
    assert len(data.train_dataset) == 20
    assert data.test_dataset.source.labels.tolist() == [5, 9, 0, 1]
    raw = pickle.loads((cifar / "cifar-10-batches-py" / "test_batch").read_bytes())["data"]
    batch = next(iter(data.test_dataloader()))
    assert batch.images.shape == (4, 3, 32, 32)
    assert torch.equal(batch.images[2], torch.from_numpy(raw[2]).view(3, 32, 32) / 255)
    images = [data.train_dataset[(0, epoch)][0] for epoch in range(3)]
    assert images[0].shape == (3, 32, 32)
    assert len(torch.stack(images).unique(dim=0)) == 3
    plain = CIFAR10DataModule(cifar, augment=False).train_dataset
    assert torch.equal(plain[(0, 0)][0], plain[(0, 1)][0])


def test_cifar_without_files_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no complete CIFAR-10 in .*download: true"):
        CIFAR10DataModule(tmp_path).setup()


# Those of images; what changes the images of another data module has tests of its own.
IMAGES = sorted(
    path for path in CONFIGS.glob("*.yaml") if path.stem not in ("adversarial", "corrupted")
)


@pytest.mark.parametrize("config", IMAGES, ids=lambda path: path.stem)
def test_configuration_gives_the_data_module_of_its_name(config: Path) -> None:
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(ImageDataModule, "data")
    flags = [f"--data={config}", "--data.seed=3", "--data.eval_limit_per_class=2"]
    if config.stem == "huggingface":
        flags.append("--data.path=some/huggingface")
    elif config.stem != "photos":
        flags.append("--data.data_dir=some/folder")
    data = parser.instantiate_classes(parser.parse_args(flags)).data
    assert isinstance(data, ImageDataModule)
    assert (data.seed, data.eval_limit_per_class) == (3, 2)
    expected = "folder" if config.stem == "imagefolder" else config.stem
    assert data.name == expected


def test_every_data_module_has_its_configuration() -> None:
    assert {path.stem for path in CONFIGS.glob("*.yaml")} >= {
        "photos",
        "imagefolder",
        "imagenet",
        "imagenette",
        "cifar10",
    }
