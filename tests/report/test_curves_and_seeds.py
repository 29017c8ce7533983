"""Tables of curves over beta, and of means over seeds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from statistics import stdev

import numpy as np
import pytest
from rows import CLEAN, evaluation

from entres.report import tables
from entres.report.bootstrap import mean_interval
from entres.report.formats import Number, Share, Size
from entres.report.page import write_report
from entres.report.terminal import show_results
from entres.results import Row, write_summary

CURVE = {0.02: (16.0, 0.75), 0.08: (9.6, 0.72), 0.32: (6.0, 0.68), 1.28: (3.5, 0.60)}


def students(codec: str, factor: float, gain: float = 0.0) -> list[Row]:
    """A curve of four betas, its streams larger by a factor."""
    figures = {beta: (factor * kib, share + gain) for beta, (kib, share) in CURVE.items()}
    return [
        replace(
            CLEAN,
            student=f"resnet50-{codec}-beta{beta:g}-joint",
            codec=codec,
            beta=beta,
            kib_mean=kib,
            accuracy=accuracy,
        )
        for beta, (kib, accuracy) in figures.items()
    ]


MSHP, FP = students("mshp", 1.0), students("fp", 1.25)


def test_codecs_are_compared_by_the_area_between_their_curves() -> None:
    (line,) = tables.curves([*MSHP, *FP]).rows
    assert line[:2] == ("resnet50.tv_in1k · fp · joint", "resnet50.tv_in1k · mshp · joint")
    assert line[6] == Number(pytest.approx(1 / 1.25 - 1), "+.1%")
    (line,) = tables.curves([*MSHP, *students("fp", 1.0, 0.03)]).rows
    assert line[7] == Number(pytest.approx(-3), "+.1f")


def test_what_makes_no_curve_is_left_out() -> None:
    fewer = [replace(row, images=50) for row in FP]
    other = [replace(row, dataset="photos") for row in FP]
    noisy = [replace(row, condition="noise", epsilon_255=8.0) for row in FP]
    for rows in (MSHP, [*MSHP, *FP[:3]], [*MSHP, *fewer], [*MSHP, *other], [*MSHP, *noisy]):
        assert not tables.curves(rows).rows
    # Other seeds are other curves; a beta that was trained twice is one point.
    assert not tables.curves([*MSHP, *FP[:3], replace(FP[0], weights="abcdef")]).rows
    assert len(tables.curves([*MSHP, *FP, *(replace(r, seed=1) for r in FP)]).rows) == 3
    # No range of accuracy in common, but one of sizes.
    (line,) = tables.curves([*MSHP, *students("fp", 1.0, 0.2)]).rows
    assert line[6] is None
    assert line[7] == Number(pytest.approx(-20), "+.1f")


def seeded(tmp_path: Path) -> tuple[list[Row], np.ndarray]:
    generator = np.random.default_rng(0)
    sizes = generator.integers(4000, 6000, 30) + np.array([[0], [500], [900]])
    rows = []
    for seed in range(3):
        row = replace(CLEAN, seed=seed, student=f"{CLEAN.student}-seed{seed}")
        folder = tmp_path / "imagenet" / row.student / "eval" / "clean"
        rows += evaluation(folder, [(row, sizes[seed], [i % (seed + 2) > 0 for i in range(30)])])
    return rows, sizes / 1024


def test_seeds_have_a_mean_and_a_deviation_beside_the_interval(tmp_path: Path) -> None:
    rows, sizes = seeded(tmp_path)
    other = replace(CLEAN, beta=0.32, student="another")
    (line,) = tables.seeds([*rows, other]).rows
    who, data, label, seeds, kib, deviation, top1, points = line
    assert (who, data, label) == ("resnet50.tv_in1k-mshp-beta0.08-joint", "imagenet", "clean")
    assert seeds == Number(3, ",d")
    # Over images: each image's mean over seeds, drawn anew.
    wanted = Size(pytest.approx(sizes.mean()), None, pytest.approx(mean_interval(sizes.mean(0))))
    assert kib == wanted
    assert deviation == Number(pytest.approx(stdev(sizes.mean(1))), ".2f")
    shares = [row.accuracy for row in rows]
    assert top1 == Share(pytest.approx(sum(shares) / 3), 30)
    assert points == Number(pytest.approx(100 * stdev(shares)), ".1f")


def test_of_two_files_of_one_seed_one_counts() -> None:
    twice = [replace(CLEAN, weights="aaaaaa"), replace(CLEAN, weights="bbbbbb")]
    assert not tables.seeds(twice).rows
    (line,) = tables.seeds([*twice, replace(CLEAN, seed=1)]).rows
    assert line[3] == Number(2, ",d")


def test_they_are_printed_and_reported_only_where_there_is_something(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, _ = seeded(tmp_path)
    show_results([*rows, *MSHP, *FP], [])
    printed = capsys.readouterr().out
    assert "Means over seeds" in printed
    assert "Curves of accuracy over size" in printed
    page, *_ = write_report(tmp_path, tmp_path / "report")
    assert "Means over seeds" in page.read_text()
    assert (tmp_path / "report" / "imagenet" / "seeds.csv").is_file()
    write_summary(tmp_path / "one" / "imagenet" / "s" / "eval" / "clean", [CLEAN])
    page, *_ = write_report(tmp_path / "one", tmp_path / "other")
    assert "Means over seeds" not in page.read_text()
    assert "Curves of accuracy" not in page.read_text()
    assert not (tmp_path / "other" / "imagenet" / "seeds.csv").exists()
    show_results([CLEAN], [])
    assert "seeds" not in capsys.readouterr().out
