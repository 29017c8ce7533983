"""Students of one name and other weights are several students."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rows import CLEAN

from entres.report import tables
from entres.report.corruption_figures import fig3a
from entres.report.corruptions import evaluations
from entres.report.figures import attacks_over_epsilon, fig4b
from entres.report.formats import Number
from entres.report.students import student_labels, student_names
from entres.report.terminal import show_corruptions
from entres.results import Row

A = replace(CLEAN, weights="aaaaaa")
B = replace(CLEAN, weights="bbbbbb", kib_mean=40.0)


def noisy(row: Row, kib: float) -> list[Row]:
    noise = replace(row, condition="noise", epsilon_255=8.0, kib_mean=row.kib_mean)
    return [row, noise, replace(noise, condition="pgd_e", preset="strong", kib_mean=kib)]


BOTH = [*noisy(A, 20.0), *noisy(B, 44.0)]


def test_names_have_digits_only_where_they_are_shared() -> None:
    other = replace(A, student="other", weights="cccccc")
    names = student_names([A, B, other])
    assert [names[row.whose] for row in (A, B, other)] == [
        f"{A.student} (aaaaaa)",
        f"{A.student} (bbbbbb)",
        "other",
    ]
    assert list(student_names([A]).values()) == [A.student]
    assert f"{A.student} (weights unknown)" in student_names([A, CLEAN]).values()
    assert list(student_labels([A, B]).values()) == ["aaaaaa", "bbbbbb"]


def test_tables_keep_them_apart() -> None:
    for table in (tables.clean(BOTH), tables.attacks(BOTH), tables.results(BOTH)):
        whose = {str(row[0]) for row in table.rows}
        assert whose == {f"{A.student} (aaaaaa)", f"{A.student} (bbbbbb)"}
    # Each against its own clean images.
    changes = {
        str(row[0])[-7:-1]: row[4] for row in tables.attacks(BOTH).rows if "PGD" in str(row[1])
    }
    assert changes == {"aaaaaa": Number(1.0, "+.1%"), "bbbbbb": Number(pytest.approx(0.1), "+.1%")}


def test_figure_means_keep_them_apart() -> None:
    lines = {
        str(row[2]): row[3]
        for row in tables.figure_means(BOTH).rows
        if row[0] == "Fig. 4b" and row[3] is not None
    }
    assert lines == {
        f"{A.student} (aaaaaa)": Number(1.0, "+.1%"),
        f"{A.student} (bbbbbb)": Number(pytest.approx(0.1), "+.1%"),
    }


def test_figures_keep_them_apart(capsys: pytest.CaptureFixture[str]) -> None:
    bars = fig4b(BOTH)
    assert bars is not None
    assert [t.get_text() for t in bars.axes[1].get_xticklabels()] == ["aaaaaa", "bbbbbb"]
    over_epsilon = attacks_over_epsilon(BOTH)
    assert over_epsilon is not None
    assert len(over_epsilon.axes) == 4
    snow = [replace(row, condition="corruption", corruption="snow", severity=5) for row in (A, B)]
    rows = [A, B, *snow]
    assert evaluations(rows) == [[A, snow[0]], [B, snow[1]]]
    over_beta = fig3a(rows)
    assert over_beta is not None
    titles = [axes.get_title().splitlines()[-1] for axes in over_beta.axes[:2]]
    assert titles == ["joint (aaaaaa)", "joint (bbbbbb)"]
    low, high = over_beta.axes[0].get_xlim()
    assert low < A.beta < high
    show_corruptions(rows)
    printed = capsys.readouterr().out.replace("\n", " ")
    assert "(aaaaaa)" in printed
    assert "(bbbbbb)" in printed


def corrupted(**card: object) -> list[Row]:
    """A student that shot noise costs as much as its beta says."""
    clean = replace(CLEAN, **card)  # type: ignore[arg-type]
    clean = replace(clean, student=f"{clean.backbone}-{clean.codec}-{clean.beta}-{clean.recipe}")
    severe = {"condition": "corruption", "corruption": "shot_noise", "severity": 5}
    return [clean, replace(clean, kib_mean=clean.kib_mean * (1 + clean.beta), **severe)]  # type: ignore[arg-type]


def test_means_of_the_findings_are_of_like_students() -> None:
    rows = [
        *corrupted(beta=0.1),
        *corrupted(beta=0.3),
        *corrupted(beta=0.9, codec="fp"),
        *corrupted(beta=0.7, recipe="frozen-encoder"),
        *corrupted(beta=0.5, recipe="joint-pgd_e8"),
        *corrupted(beta=0.6, backbone="resnet101"),
    ]
    lines = {
        str(row[2]): float(row[3].value)
        for row in tables.figure_means(rows).rows
        if str(row[1]).startswith("shot noise") and isinstance(row[3], Number)
    }
    assert lines == {
        "resnet50.tv_in1k · mshp · beta 0.1, beta 0.3 · joint": pytest.approx(0.2),
        "resnet50.tv_in1k-mshp-0.7-frozen-encoder": pytest.approx(0.7),
        "resnet101-mshp-0.6-joint": pytest.approx(0.6),
    }


def test_figure_4a_is_a_mean_over_backbones_of_one_beta() -> None:
    def attacked(size: float, **card: object) -> list[Row]:
        clean = replace(CLEAN, **card)  # type: ignore[arg-type]
        clean = replace(clean, student=f"{clean.backbone}-{clean.codec}-{clean.beta}")
        noise = replace(clean, condition="noise", epsilon_255=4.0)
        return [clean, noise, replace(noise, condition="pgd_e", preset="strong", kib_mean=size)]

    rows = [
        *attacked(20.0),
        *attacked(40.0, backbone="resnet101"),
        *attacked(90.0, codec="fp"),
        *attacked(90.0, beta=0.32),
    ]
    (line,) = (r for r in tables.figure_means(rows).rows if r[0] == "Fig. 4a" and r[3] is not None)
    assert line[2] == "resnet101, resnet50.tv_in1k · mshp · beta 0.08 · joint"
    assert line[3] == Number(2.0, "+.1%")
