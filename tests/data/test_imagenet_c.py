"""ImageNet-C from folders in both of its layouts."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from entres.conditions import AdversarialDataModule, CorruptedDataModule
from entres.data import DataError, ImageNetCDataModule
from entres.data.photos import load_photos
from entres.results import CATEGORIES, FIFTEEN

WNIDS = ("n01440764", "n02102040")
LABELS = [0, 0, 217, 217]
Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Makes folders of ImageNet-C: two images of two classes, different in every folder."""

    def write(folder: Path, seed: int, size: int) -> None:
        photo = Image.fromarray(load_photos()[seed % 8])
        for number, wnid in enumerate(WNIDS):
            (folder / wnid).mkdir(parents=True)
            for image in range(2):
                left, top = 10 * (seed % 7) + 5 * image, 10 * number
                part = photo.crop((left, top, left + size, top + size))
                part.save(folder / wnid / f"ILSVRC2012_val_{image}.JPEG", quality=95)

    def folders(
        names: list[str], severities: tuple[int, ...] = (1, 2), archives: bool = False
    ) -> Path:
        root = tmp_path / "imagenet-c"
        category = {n: category for category, names in CATEGORIES.items() for n in names}
        for number, name in enumerate(names):
            for severity in severities:
                above = root / category.get(name, "extra") if archives else root
                write(above / name / str(severity), 3 * number + severity, 224)
        write(tmp_path / "val", 5, 256)
        return root

    return folders


def module(root: Path, **options: Any) -> ImageNetCDataModule:
    defaults = {"num_workers": 0, "expected_classes": 2, "severities": [1, 2]}
    return ImageNetCDataModule(root, **{**defaults, **options})


def stored(path: Path) -> torch.Tensor:
    return torch.from_numpy(np.asarray(Image.open(path)).copy()).permute(2, 0, 1) / 255


@pytest.mark.parametrize("archives", [False, True])
def test_both_layouts_as_stored(make: Make, archives: bool) -> None:
    root = make([*FIFTEEN, "saturate"], archives=archives)
    data = module(root)
    data.setup("test")
    names = [(c.condition, c.corruption, c.severity) for c in data.conditions]
    # Of the extra ones, those that are there.
    wanted = [*FIFTEEN, "saturate"]
    assert names == [("corruption", name, severity) for name in wanted for severity in (1, 2)]
    loaders = data.test_dataloader()
    for (_, name, severity), loader in zip(names, loaders, strict=True):
        (batch,) = loader
        assert batch.labels.tolist() == LABELS
        assert batch.indices.tolist() == [0, 1, 2, 3]
        (folder,) = root.glob(f"**/{name}/{severity}")
        assert torch.equal(batch.images[0], stored(folder / WNIDS[0] / "ILSVRC2012_val_0.JPEG"))
    assert data.present_classes == [0, 217]
    assert data.num_classes == 1000


def test_clean_images_first_and_a_part_of_the_rest(make: Make, tmp_path: Path) -> None:
    root = make(["snow", "fog"])
    data = module(
        root,
        corruptions=["fog"],
        severities=[2],
        clean_dir=tmp_path / "val",
        eval_limit_per_class=1,
    )
    data.setup("test")
    assert [(c.condition, c.corruption) for c in data.conditions] == [
        ("clean", None),
        ("corruption", "fog"),
    ]
    clean, fog = (next(iter(loader)) for loader in data.test_dataloader())
    assert clean.indices.tolist() == fog.indices.tolist() == [1, 3]
    whole = stored(tmp_path / "val" / WNIDS[0] / "ILSVRC2012_val_1.JPEG")
    assert torch.equal(clean.images[0], whole[:, 16:240, 16:240])


def test_the_second_resize_blurs(make: Make) -> None:
    root = make(["gaussian_noise"], severities=(1,))
    noise = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    path = root / "gaussian_noise" / "1" / WNIDS[0] / "ILSVRC2012_val_0.JPEG"
    Image.fromarray(noise).save(path, quality=95)

    def variation(**options: Any) -> float:
        data = module(root, corruptions=["gaussian_noise"], severities=[1], **options)
        data.setup("test")
        image = next(iter(data.test_dataloader()[0])).images[0]
        assert image.shape == (3, 224, 224)
        return float((image[..., 1:] - image[..., :-1]).abs().mean())

    assert variation(second_resize=True) < 0.7 * variation()


def test_everything_that_is_missing_is_named_before_anything_runs(make: Make) -> None:
    root = make([name for name in FIFTEEN if name != "fog"], archives=True)
    shutil.rmtree(root / "weather" / "snow" / "2")
    with pytest.raises(DataError, match=r"3 of 30 folders .*weather/snow/2, fog/1, fog/2; expect"):
        module(root).setup("test")
    module(root, corruptions=["frost"]).setup("test")
    with pytest.raises(DataError, match="saturate/1"):
        module(root, corruptions=["saturate"]).setup("test")
    with pytest.raises(DataError, match=r"expected 1000 class folders .*found 2.*null for a part"):
        module(root, corruptions=["frost"], expected_classes=1000).setup("test")


def test_folders_that_differ_are_refused(make: Make) -> None:
    root = make(["frost", "fog"])
    (root / "fog" / "2" / WNIDS[1] / "ILSVRC2012_val_1.JPEG").unlink()
    with pytest.raises(DataError, match=r"4 images in .*frost/1, but 3 in .*fog/2: unpack"):
        module(root, corruptions=["frost", "fog"]).setup("test")
    shutil.rmtree(root / "fog" / "2" / WNIDS[1])
    with pytest.raises(DataError, match=r"fog/2 differ: only in the first: n02102040"):
        module(root, corruptions=["frost", "fog"]).setup("test")


def test_what_it_is_not_for(make: Make) -> None:
    data = module(make(["frost"]), corruptions=["frost"])
    with pytest.raises(DataError, match="no training images: train on imagenet"):
        data.setup("fit")
    with pytest.raises(ValueError, match="ImageNetCDataModule are under conditions already"):
        CorruptedDataModule(data)
    with pytest.raises(ValueError, match="under conditions already"):
        AdversarialDataModule(data, [])
    with pytest.raises(ValueError, match=r"corruptions must be some of .*saturate.*got rain"):
        module(Path(), corruptions=["rain"])
