"""The same images as JPEG and WebP, beside the student's streams."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from entres import load_student
from entres.callbacks.base import spaced
from entres.callbacks.control import coded_size, mean_stream, nearest, nearest_quality
from entres.cli import main
from entres.data import PhotosDataModule
from entres.records import read_records
from entres.report import tables
from entres.report.bootstrap import change_interval
from entres.report.formats import Change, Number
from entres.report.records import column_of
from entres.results import ResultsError, find_results

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("target", [-5.0, 0.0, 3.9, 4.6, 40.0, 9e9])
def test_the_nearest_is_that_of_all(target: float) -> None:
    def rising(number: int) -> float:
        return float(number**2 // 3)

    tried: list[int] = []

    def counted(number: int) -> float:
        tried.append(number)
        return rising(number)

    every = min(range(1, 101), key=lambda number: abs(rising(number) - target))
    found = nearest(counted, target, 1, 100)
    assert abs(rising(found) - target) == abs(rising(every) - target)
    assert len(tried) <= 9


@pytest.mark.parametrize("form", ["JPEG", "WEBP"])
def test_a_size_is_that_of_pillows_file(form: str) -> None:
    noise = torch.randint(0, 256, (3, 40, 56), generator=torch.Generator().manual_seed(0))
    for image in (noise.byte(), torch.full((3, 40, 56), 90, dtype=torch.uint8)):
        file = io.BytesIO()
        more = {"optimize": True} if form == "JPEG" else {}
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(file, form, quality=30, **more)
        assert coded_size(image, form, 30) == len(file.getvalue())
        file.seek(0)
        assert Image.open(file).size == (56, 40)
    assert coded_size(noise.byte(), form, 30) > 2 * coded_size(image, form, 30)


@pytest.mark.parametrize("form", ["JPEG", "WEBP"])
def test_the_quality_has_the_mean_that_was_asked_for(form: str) -> None:
    generator = torch.Generator().manual_seed(0)
    smooth = torch.nn.functional.interpolate(
        torch.rand(3, 3, 6, 6, generator=generator), size=(64, 64), mode="bicubic"
    )
    images = list(smooth.clamp(0, 1).mul(255).byte())
    means = {
        quality: np.mean([coded_size(image, form, quality) for image in images])
        for quality in range(1, 101)
    }
    for quality in (1, 20, 75, 100):
        found = nearest_quality(images, form, float(means[quality]))
        assert means[found] == means[quality]
    between = float(means[75] + 0.4 * (means[80] - means[75]))
    best = min(abs(mean - between) for mean in means.values())
    # A mean file falls by a byte here and there; the bisection may stop at such a place.
    assert abs(means[nearest_quality(images, form, between)] - between) <= best + 3


def test_chosen_images_are_evenly_spaced_and_none_twice() -> None:
    assert spaced(10, 4) == [0, 3, 6, 9]
    assert spaced(3, 100) == [0, 1, 2]
    for length, count in ((2925, 100), (7, 6), (1, 1), (5, 5)):
        found = spaced(length, count)
        assert len(set(found)) == count
        assert (found[0], found[-1]) == (0, length - 1)
        gaps = np.diff(found)
        assert not len(gaps) or gaps.max() - gaps.min() <= 1


def words(student: Path, out: Path, *more: str) -> list[str]:
    return [
        *("test", "--config=configs/stage/evaluation.yaml", f"--model.student={student}"),
        *("--data=configs/data/adversarial.yaml", "--data.attack=configs/attack/noise.yaml"),
        *("--data.epsilons_255=[16]", "--data.data=configs/data/photos.yaml"),
        *("--data.data.image_size=64", "--data.data.num_workers=0"),
        *("--data.data.eval_limit_per_class=1", "--data.data.eval_batch_size=3"),
        *("--model.coding_workers=0", f"--out={out}", "--trainer.accelerator=cpu"),
        *("--trainer.enable_progress_bar=false", "--control=true", *more),
    ]


@pytest.mark.usefixtures("at_the_root")
def test_every_condition_has_files_of_the_clean_streams_size(
    tmp_path: Path, student_file: Path
) -> None:
    main(words(student_file, tmp_path, "--defense=configs/defense/median.yaml"))
    found = find_results(tmp_path)
    clean, defended, noisy, _ = found.rows
    assert (noisy.condition, noisy.defense, defended.defense) == ("noise", None, "median")
    assert "jpeg_kib_mean" not in defended.extra
    records = read_records(found.files[0].parent / "records.csv")

    data = PhotosDataModule(image_size=64, eval_limit_per_class=1, num_workers=0)
    data.prepare_data()
    data.setup("test")
    images = [data.test_dataset[i][0] for i in range(len(data.test_dataset))]
    student, _ = load_student(student_file)
    assert mean_stream(student, images) / 1024 == pytest.approx(clean.kib_mean)
    for name, form in (("jpeg", "JPEG"), ("webp", "WEBP")):
        quality = clean.extra[f"{name}_quality"]
        assert noisy.extra[f"{name}_quality"] == quality
        assert quality == nearest_quality(images, form, 1024 * clean.kib_mean)
        of_clean = [r for r in records if r["condition"] == "clean" and not r["defense"]]
        sizes = [int(record[f"{name}_bytes"]) for record in of_clean]
        assert sizes == [coded_size(image, form, quality) for image in images]
        assert clean.extra[f"{name}_kib_mean"] == pytest.approx(np.mean(sizes) / 1024)
        of_noise = [r for r in records if r["condition"] == "noise" and not r["defense"]]
        assert noisy.extra[f"{name}_kib_mean"] > 1.05 * clean.extra[f"{name}_kib_mean"]
        pair = [[int(r[f"{name}_bytes"]) for r in rows] for rows in (of_clean, of_noise)]
        before, after = (np.array(sizes, float)[None] for sizes in pair)
        (line,) = tables.control(found.rows).rows
        change = line[4 if name == "jpeg" else 5]
        assert isinstance(change, Change)
        assert change.value == pytest.approx(after.mean() / before.mean() - 1)
        assert change.interval == pytest.approx(change_interval(before, after))
        assert line[6 if name == "jpeg" else 7] == Number(quality, "d")
    assert not tables.control([replace(row, extra={}) for row in found.rows]).rows
    with pytest.raises(ResultsError, match="has no column png_bytes: evaluate again"):
        column_of(clean, "png_bytes")


def test_without_clean_images_there_is_no_size_to_choose(
    tmp_path: Path, student_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit, match=r"^entres: the control is coded at the size of clean"):
        main(words(student_file, tmp_path, "--data.clean=false"))
