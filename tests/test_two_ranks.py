"""Two ranks on the CPU, through the real command line, do as one does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from entres.callbacks import results
from entres.cli import main
from entres.conditions import CorruptedDataModule
from entres.data import Batch
from entres.models import EntropicStudent, StudentCard
from entres.records import read_records
from entres.report.maps import read_maps

TWO = ["--trainer.devices=2", "--trainer.strategy=ddp"]
CLOCKS = {"seconds", "defense_seconds", "mask_seconds"}


def write_images(folder: Path, counts: list[int]) -> Path:
    """Blurred noise, ``counts`` images for each class."""
    pixels = np.random.default_rng(0)
    for split in ("train", "val"):
        for label, count in enumerate(counts):
            (folder / split / f"class{label}").mkdir(parents=True)
            for number in range(count):
                coarse = pixels.integers(0, 256, (6, 6, 3), dtype=np.uint8)
                image = Image.fromarray(coarse).resize((32, 32), Image.Resampling.BICUBIC)
                image.save(folder / split / f"class{label}" / f"{number}.png")
    return folder


def save_student(student: EntropicStudent, classes: int, path: Path) -> Path:
    codec = student.codec
    widths = (codec.analysis_widths, codec.synthesis_widths)
    student.save(path, StudentCard("test_resnet", "mshp", 0.08, "joint", classes, *widths))
    return path


def words(student: Path, images: Path, kind: str, out: Path, *more: str) -> list[str]:
    return [
        *("test", "--config=configs/stage/evaluation.yaml", f"--model.student={student}"),
        *(f"--data=configs/data/{kind}.yaml", "--data.data=configs/data/imagefolder.yaml"),
        *(f"--data.data.data_dir={images}", "--data.data.image_size=32", "--data.data.resize=32"),
        # Batches of one: in a larger one, floats are summed in an order that depends on its size.
        *("--data.data.eval_batch_size=1", "--data.data.num_workers=0"),
        *("--model.coding_workers=0", "--trainer.accelerator=cpu", f"--out={out}"),
        *("--trainer.enable_progress_bar=false", *more),
    ]


def on_two_ranks(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "entres", *arguments, *TWO]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def found(out: Path) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """Summary and records of the one evaluation of a folder, but for what clocks say."""
    (path,) = out.glob("*/*/eval/*/summary.json")
    rows = [{**row, "seconds": None} for row in json.loads(path.read_text())]
    lines: list[dict[str, Any]] = [*rows, *read_records(path.parent / "records.csv")]
    kept = [{k: v for k, v in line.items() if k not in CLOCKS} for line in lines]
    assert all(record["image"].startswith("class") for record in kept[len(rows) :])
    return kept[: len(rows)], kept[len(rows) :]


def maps_of(out: Path) -> Mapping[str, NDArray[Any]]:
    (path,) = out.glob("*/*/eval/*/maps.npz")
    return read_maps(path.parent)


@pytest.mark.slow
@pytest.mark.usefixtures("at_the_root")
def test_nine_images_give_the_same_on_two_ranks(
    tmp_path: Path,
    make_student: Callable[..., EntropicStudent],
) -> None:
    student = save_student(make_student(), 8, tmp_path / "student.safetensors")
    images = write_images(tmp_path / "nine", [2, 1, 1, 1, 1, 1, 1, 1])
    attacks = ["--data.attack=[configs/attack/noise.yaml,configs/attack/pgd_e.yaml]"]
    attacks += ["--data.attack.steps=2", "--defense=configs/defense/median.yaml"]
    attacks += ["--maps=entres.callbacks.Maps", "--maps.steps=1", "--maps.shown=3"]
    corruptions = ["--data.corruptions=[shot_noise,motion_blur]", "--data.severities=[3]"]
    for kind, more, rows in (("adversarial", attacks, 6), ("corrupted", corruptions, 3)):
        one, two = (tmp_path / kind / str(ranks) for ranks in (1, 2))
        main(words(student, images, kind, one, *more, "--trainer.devices=1"))
        ended = on_two_ranks(words(student, images, kind, two, *more))
        assert ended.returncode == 0, ended.stderr
        summary, records = found(one)
        assert (len(summary), len(records)) == (rows, 9 * rows)
        assert {row["images"] for row in summary} == {9}
        assert len({row["kib_mean"] for row in summary}) == rows
        assert found(two) == (summary, records)
        if kind == "adversarial":
            of_one, of_two = (maps_of(out) for out in (one, two))
            assert of_one["images"].shape == (3, 3, 32, 32)
            assert all(np.array_equal(of_one[name], of_two[name]) for name in of_one)

    # And where a rank would have nothing to do, all of them end in one sentence.
    student = save_student(make_student(num_classes=1), 1, tmp_path / "narrow.safetensors")
    lonely = write_images(tmp_path / "lonely", [1])
    ended = on_two_ranks(words(student, lonely, "corrupted", tmp_path / "none", *corruptions))
    assert ended.returncode != 0
    assert "got 1 images for 2 ranks" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.slow
@pytest.mark.usefixtures("at_the_root")
def test_what_one_rank_has_begun_two_end(
    tmp_path: Path, make_student: Callable[..., EntropicStudent], monkeypatch: pytest.MonkeyPatch
) -> None:
    student = save_student(make_student(), 8, tmp_path / "student.safetensors")
    images = write_images(tmp_path / "nine", [2, 1, 1, 1, 1, 1, 1, 1])
    corruptions = ["--data.corruptions=[shot_noise,motion_blur]", "--data.severities=[3]"]
    whole, stopped = (
        words(student, images, "corrupted", tmp_path / name, *corruptions)
        for name in ("whole", "stopped")
    )
    main([*whole, "--trainer.devices=1"])
    batches = iter(range(100))
    apply = CorruptedDataModule.apply

    def interrupted(data: CorruptedDataModule, batch: Batch, number: int) -> Batch:
        if next(batches) == 13:  # in the second of three conditions
            raise KeyboardInterrupt
        return apply(data, batch, number)

    with monkeypatch.context() as patch:
        patch.setattr(results, "EVERY", 0.0)
        patch.setattr(CorruptedDataModule, "apply", interrupted)
        with pytest.raises(SystemExit):
            main([*stopped, "--trainer.devices=1"])
    (begun,) = tmp_path.glob("stopped/*/*/eval/*/begun")
    assert len(list(begun.glob("0001-rank0-*.npz"))) == 4
    ended = on_two_ranks(stopped)
    assert ended.returncode == 0, ended.stderr
    assert "which has 1 finished condition and 4 images of the next" in ended.stderr
    assert found(tmp_path / "stopped") == found(tmp_path / "whole")
    assert not begun.exists()
