"""Maps as a measurement, and their pictures."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from entres.bitstream import KIB
from entres.callbacks import Maps, results
from entres.callbacks import maps as maps_module
from entres.cli import main
from entres.maps import STATISTICS, image_maps
from entres.report.maps import draw_maps, numbers_table, read_maps
from entres.results import ResultsError, read_summary

FOLDER = "photos/test_resnet-mshp-beta0.08-joint-*/eval"


pytestmark = pytest.mark.usefixtures("at_the_root")


def words(student: Path, out: Path, *more: str, attacked: bool = False) -> list[str]:
    data = ["--data=configs/data/adversarial.yaml", "--data.attack=configs/attack/noise.yaml"]
    images = "--data.data" if attacked else "--data"
    return [
        *("test", "--config=configs/stage/evaluation.yaml", f"--model.student={student}"),
        *(data if attacked else []),
        *(f"{images}=configs/data/photos.yaml", f"{images}.image_size=48"),
        *(f"{images}.num_workers=0", f"{images}.eval_limit_per_class=1"),
        *(f"{images}.eval_batch_size=3", "--model.coding_workers=0", f"--out={out}"),
        *("--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"),
        *("--maps=entres.callbacks.Maps", "--maps.steps=2", "--maps.shown=3", *more),
    ]


def test_every_image_is_measured_and_a_few_are_shown(
    tmp_path: Path, student_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(words(student_file, tmp_path))
    printed = capsys.readouterr().out
    (folder,) = tmp_path.glob(f"{FOLDER}/clean")
    (row,) = read_summary(folder / "summary.json")
    with (folder / "records.csv").open() as file:
        records = list(csv.DictReader(file))
    figures = json.loads((folder / "maps.json").read_text())
    assert figures["images"] == row.images == len(records) == 8
    for name in STATISTICS:
        mean = np.mean([float(record[name]) for record in records])
        assert row.extra[name] == figures[name]["mean"] == pytest.approx(mean)
        low, high = figures[name]["interval"]
        assert low <= mean <= high
    assert set(figures) - {"images", *STATISTICS} == {
        f"background_{name}_over_area" for name in ("clean", "pgd_e", "pgd_acc")
    }
    assert row.extra["kib_pgd_e"] > 0

    maps = read_maps(folder)
    assert maps["images"].shape == (3, 3, 48, 48)
    assert maps["bits"].shape == maps["saliency"].shape
    shown = [records[place] for place in (0, 4, 7)]  # evenly spaced: 0, 3.5, 7
    assert maps["index"].tolist() == [int(record["index"]) for record in shown]
    kib = maps["bits"].sum((1, 2)) / (8 * KIB)
    assert kib == pytest.approx([float(record["kib_clean"]) for record in shown], rel=1e-5)
    for name in ("bits.png", "attacks.png"):
        assert Image.open(folder / name).mode == "RGBA"  # a palette would posterize the photos
        assert (folder / name).stat().st_size > 5000
        assert str(folder / name) in printed


def test_maps_go_on_in_the_middle_of_the_images(
    tmp_path: Path, student_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    main(words(student_file, whole))
    made = iter(range(10))

    def interrupted(*arguments: Any) -> Any:
        if next(made) == 2:
            raise KeyboardInterrupt
        return image_maps(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(results, "EVERY", 0.0)
        patch.setattr(maps_module, "image_maps", interrupted)
        with pytest.raises(SystemExit):
            main(words(student_file, stopped))
    assert next(made) == 3
    main(words(student_file, stopped))
    (there,), (expected,) = (out.glob(f"{FOLDER}/clean") for out in (stopped, whole))
    for name in ("maps.json", "records.csv"):
        assert (there / name).read_bytes() == (expected / name).read_bytes()
    ours, theirs = read_maps(there), read_maps(expected)
    assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)


def test_only_clean_images_are_mapped(tmp_path: Path, student_file: Path) -> None:
    main(words(student_file, tmp_path, "--defense=configs/defense/median.yaml", attacked=True))
    (folder,) = tmp_path.glob(f"{FOLDER}/attacks")
    rows = read_summary(folder / "summary.json")
    assert [set(row.extra) >= set(STATISTICS) for row in rows] == [True, False, False, False]
    with pytest.raises(SystemExit, match=r"^entres: maps are made of clean images, .* has none"):
        main(words(student_file, tmp_path, "--data.clean=false", attacked=True))


def test_maps_are_drawn_again_from_their_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shape = (2, 7, 7)
    maps = {name: np.ones(shape) for name in ("bits", "variation", "added_e", "saliency")}
    images = np.zeros((2, 3, 28, 28), np.uint8)
    np.savez(tmp_path / "maps.npz", images=images, added_acc=np.zeros(shape), **maps)
    numbers = {"images": 2, "kib_clean": {"mean": 0.5, "interval": [0.25, 1.0]}}
    (tmp_path / "maps.json").write_text(json.dumps(numbers))
    main(["draw-maps", str(tmp_path)])
    printed = capsys.readouterr().out
    assert "0.250 to 1.000" in printed
    assert str(tmp_path / "attacks.png") in printed
    (tmp_path / "maps.npz").write_bytes(b"PK cut off")
    (tmp_path / "maps.json").write_text("[]")
    with pytest.raises(ResultsError, match=r"maps\.npz holds no maps"):
        draw_maps(tmp_path)
    with pytest.raises(ResultsError, match=r"maps\.json holds no maps"):
        numbers_table(tmp_path / "maps.json")
    with pytest.raises(SystemExit, match=r"^entres: no maps in .*none: entres maps makes some$"):
        main(["draw-maps", str(tmp_path / "none")])


def test_values_are_checked_before_anything_runs() -> None:
    with pytest.raises(ValueError, match="shown must be >= 1, got 0"):
        Maps(shown=0)
    with pytest.raises(ValueError, match="epsilon_255"):
        Maps(epsilon_255=-1)
