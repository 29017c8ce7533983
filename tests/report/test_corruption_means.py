"""Means over corruptions, their tables, and Fig. 3."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rows import evaluation

from entres.report.bootstrap import change_interval, mean_interval
from entres.report.corruption_figures import fig3a, fig3b
from entres.report.corruptions import category_means, corruption_means, evaluations
from entres.report.formats import as_csv
from entres.report.tables import categories, severities
from entres.report.terminal import show_corruptions, show_results
from entres.results import Row


def row(corruption: str | None, severity: int | None, kib: float, accuracy: float) -> Row:
    return Row(
        student="net-mshp-beta0.08-joint",
        backbone="net",
        codec="mshp",
        beta=0.08,
        recipe="joint",
        dataset="photos",
        condition="corruption" if corruption else "clean",
        corruption=corruption,
        severity=severity,
        preset=None,
        epsilon_255=None,
        defense=None,
        images=8,
        accuracy=accuracy,
        kib_mean=kib,
        kib_std=1.0,
        seconds=1.0,
        accuracy_present=accuracy + 0.1,
    )


CLEAN = row(None, None, 4.0, 0.8)
ROWS = [
    CLEAN,
    row("shot_noise", 1, 5.0, 0.7),
    row("shot_noise", 5, 9.0, 0.3),
    row("gaussian_noise", 1, 5.0, 0.6),
    row("contrast", 5, 1.0, 0.2),
    row("speckle_noise", 1, 100.0, 0.0),
]


def test_means_over_severities_then_over_corruptions() -> None:
    shot, gaussian, contrast, speckle = corruption_means(ROWS)
    assert (shot.kib, shot.accuracy) == pytest.approx((7, 0.5))
    assert shot.kib_change == pytest.approx(0.75)
    assert shot.accuracy_change == pytest.approx(-0.3)
    assert shot.accuracy_present_change == pytest.approx(-0.3)
    assert [m.label for m in (gaussian, contrast, speckle)] == [
        "gaussian_noise",
        "contrast",
        "speckle_noise",
    ]
    noise, digital, extra, every = category_means(ROWS)
    assert (noise.label, noise.corruptions, noise.kib) == ("noise", 2, pytest.approx(6))
    assert noise.accuracy == pytest.approx(0.55)
    assert (digital.label, digital.corruptions, digital.kib) == ("digital", 1, 1)
    assert (extra.label, extra.corruptions, extra.kib) == ("extra", 1, 100)
    # The extra ones stay out of the whole, and each corruption counts once.
    assert (every.label, every.corruptions) == ("all", 3)
    assert (every.kib, every.accuracy) == pytest.approx((13 / 3, 1.3 / 3))
    assert every.kib_change == pytest.approx(13 / 12 - 1)


def test_changes_are_against_the_clean_row_of_the_same_images() -> None:
    other = replace(CLEAN, images=1000, kib_mean=400.0)
    assert corruption_means([other, *ROWS])[0].kib_change == pytest.approx(0.75)
    assert corruption_means([other, *ROWS[1:]])[0].kib_change == pytest.approx(7 / 400 - 1)
    unmeasured = corruption_means(ROWS[1:])[0]
    assert unmeasured.kib_change is unmeasured.accuracy_change is None


def test_students_data_and_defenses_stay_apart() -> None:
    attack = replace(CLEAN, condition="pgd_e", epsilon_255=4.0)
    rows = [*ROWS, attack, replace(CLEAN, student="uncorrupted")]
    rows += [replace(r, defense="tv") for r in ROWS]
    assert evaluations(rows) == [ROWS, [replace(r, defense="tv") for r in ROWS]]
    assert evaluations([CLEAN, attack]) == []


def test_tables(capsys: pytest.CaptureFixture[str]) -> None:
    show_results(ROWS, [])
    printed = capsys.readouterr().out
    cells = [line.split("│")[1:-1] for line in printed.splitlines() if "│ noise " in line]
    assert [[cell.strip() for cell in line] for line in cells] == [
        [
            *("noise", "2", "6.00 [5.26, 6.74]", "+50%", "55.0% [25.0, 81.8]", "-25.0"),
            *("65.0% [32.5, 87.7]", "-25.0", "45.0%"),
        ]
    ]
    show_results([CLEAN], [])
    assert "change" not in capsys.readouterr().out
    show_corruptions(ROWS, markdown=True)
    printed = capsys.readouterr().out
    assert "| shot noise | 5.00 (+25%) 80% | 9.00 (+125%) 40% |" in printed
    assert "| speckle noise | 100.00 (+2400%) 10% | – |" in printed
    assert "clean 4.00 KiB, 90.0% [55.6, 98.5]; top-1 among the classes that occur" in printed
    assert "entres eval" not in printed


def lines(rows: Sequence[Row], over: str) -> dict[str, tuple[list[float], list[float]]]:
    figure = {"beta": fig3a, "severity": fig3b}[over](rows)
    assert figure is not None
    found = {}
    columns = len(figure.axes) // 2
    for sizes, accuracies in zip(figure.axes[:columns], figure.axes[columns:], strict=True):
        assert accuracies.get_xlabel() == over
        assert len(sizes.lines) == len(accuracies.lines)
        for line in sizes.lines:
            label = str(line.get_label())
            key = f"{label} ({sizes.get_title()})" if columns > 1 else label
            found[key] = ([*line.get_xdata()], [*line.get_ydata()])
    return found


def test_figure_over_severity() -> None:
    drawn = {
        "shot noise": ([0, 1, 5], [4.0, 5.0, 9.0]),
        "contrast": ([0, 5], [4.0, 1.0]),
    }
    assert lines(ROWS, "severity") == drawn
    assert fig3b([CLEAN, ROWS[3]]) is None
    # A student that met one severity only has no course over severity.
    single = [replace(r, beta=1.28, student="coarse") for r in ROWS if r.severity in (None, 5)]
    assert lines([*ROWS, *single], "severity") == drawn


def test_recipes_do_not_share_a_line() -> None:
    other = [replace(r, recipe="frozen-encoder", student="other", kib_mean=70.0) for r in ROWS]
    over_severity = lines([*ROWS, *other], "severity")
    assert {name.partition("(")[2] for name in over_severity} == {"joint)", "frozen-encoder)"}
    assert over_severity["contrast (joint)"] == ([0, 5], [4.0, 1.0])
    over_beta = lines([*ROWS, *other], "beta")
    assert len(over_beta) == 6
    assert all(len(betas) == 1 for betas, _ in over_beta.values())


def test_figure_over_beta() -> None:
    coarse = [replace(r, beta=1.28, kib_mean=r.kib_mean / 2, student="coarse") for r in ROWS]
    drawn = lines([*coarse, *ROWS], "beta")
    assert drawn == {
        "clean": ([0.08, 1.28], [4.0, 2.0]),
        "shot noise": ([0.08, 1.28], [9.0, 4.5]),
        "contrast": ([0.08, 1.28], [1.0, 0.5]),
    }
    factorized = [replace(r, codec="fp", student="fp", kib_mean=2 * r.kib_mean) for r in ROWS]
    assert len(lines([*ROWS, *factorized], "beta")) == 6
    assert fig3a(ROWS[:2]) is None


def test_corruption_errors_are_by_those_of_the_teacher() -> None:
    teachers = zip(ROWS[:5], (0.9, 0.8, 0.6, 0.9, 0.5), strict=True)
    judged = [replace(row, teacher_accuracy=accuracy) for row, accuracy in teachers]
    shot, gaussian, contrast = corruption_means(judged)
    # Summed over severities first, as Hendrycks and Dietterich do.
    assert shot.corruption_error == pytest.approx((0.3 + 0.7) / (0.2 + 0.4))
    assert gaussian.corruption_error == pytest.approx(0.4 / 0.1)
    assert contrast.corruption_error == pytest.approx(0.8 / 0.5)
    noise, _, every = category_means(judged)
    assert noise.corruption_error == pytest.approx((1 / 0.6 + 4) / 2)
    assert every.corruption_error == pytest.approx((1 / 0.6 + 4 + 1.6) / 3)
    table = categories(judged).condensed()
    assert str(table.rows[-1][-1]) == "242%"
    assert table.header[-1] == "error (teacher 100%)"
    assert "mean corruption error (mCE)" in table.note
    # Without the teacher, or one that is never wrong, the error stands by itself and says so.
    perfect = [replace(row, teacher_accuracy=1.0) for row in judged]
    for rows in (ROWS, perfect, [*judged[:-1], ROWS[4]]):
        (*_, mean) = category_means(rows)
        assert mean.corruption_error is None
    table = categories(ROWS).condensed()
    assert table.header[-1] == "mean error (not normalized)"
    assert str(table.rows[-1][-1]) == f"{1 - 1.3 / 3:.1%}"


def test_means_have_the_intervals_of_their_images(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    sizes = generator.integers(2000, 9000, (3, 30))
    right = generator.random((3, 30)) < 0.6
    snow = replace(CLEAN, condition="corruption", corruption="snow")
    conditions = [CLEAN, replace(snow, severity=1), replace(snow, corruption="fog", severity=5)]
    rows = evaluation(tmp_path, list(zip(conditions, sizes, right, strict=True)))
    (weather, _) = category_means(rows)
    found = weather.intervals(rows[0])
    mean = sizes[1:].mean(0) / 1024
    assert found.size == pytest.approx(mean_interval(mean))
    assert found.size_change == pytest.approx(change_interval(sizes[:1] / 1024, mean[None]))
    line = next(csv.DictReader(io.StringIO(as_csv(categories(rows)))))
    assert float(line["KiB low"]) == pytest.approx(found.size[0])
    assert float(line["size change high"]) == pytest.approx(found.size_change[1])
    present = right | (np.arange(30) % 5 == 0)
    points = 100 * (present[1:].mean(0) - present[0])
    assert found.points_present == pytest.approx(mean_interval(points))
    assert weather.intervals(None).size_change is None
    cell = next(csv.DictReader(io.StringIO(as_csv(severities(rows, gaps=False)))))
    low, high = change_interval(sizes[:1] / 1024, sizes[1:2] / 1024)
    found_ends = [float(cell[f"severity 1 change {end}"]) for end in ("low", "high")]
    assert found_ends == pytest.approx([low, high])
