"""Any two evaluations, image by image."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rows import CLEAN, evaluation

from entres.cli import main
from entres.report.paired import compare
from entres.results import Row

NOISE = replace(CLEAN, condition="noise", epsilon_255=8.0, norm="linf")
PGD_E = replace(NOISE, condition="pgd_e", preset="strong")
OTHER = "resnet50-fp-beta0.08-joint"


def evaluated(out: Path, student: str, conditions: list[Row], factor: float) -> list[Row]:
    sizes = np.random.default_rng(0).integers(4000, 6000, (len(conditions), 30)) * factor
    right = np.random.default_rng(1).random((len(conditions), 30)) < 0.7
    named = [replace(row, student=student) for row in conditions]
    folder = out / "imagenet" / student / "eval" / "attacks"
    return evaluation(folder, list(zip(named, sizes.astype(int), right, strict=True)))


@pytest.fixture
def both(tmp_path: Path) -> tuple[list[Row], list[Row]]:
    first = evaluated(tmp_path, CLEAN.student, [CLEAN, NOISE, PGD_E], 1.0)
    return first, evaluated(tmp_path, OTHER, [CLEAN, PGD_E], 1.3)


def folder_of(rows: list[Row]) -> str:
    assert rows[0].folder is not None
    return str(rows[0].folder)


def test_all_that_both_have_is_compared(
    both: tuple[list[Row], list[Row]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = both
    file = tmp_path / "new" / "table.csv"
    # The folder of a student will do as well.
    student = str(tmp_path / "imagenet" / OTHER)
    main(["compare", folder_of(first), student, "--to", str(file)])
    printed = capsys.readouterr().out
    assert f"A: {CLEAN.student}, B: {OTHER}" in printed
    assert printed.rstrip().endswith(str(file))
    lines = list(csv.DictReader(file.open()))
    assert [line["condition"] for line in lines] == ["clean", "pgd_e 8/255 (strong)"]
    for line, before, after in zip(lines, (first[0], first[2]), second, strict=True):
        found = compare([(before, after)])
        assert float(line["size"]) == pytest.approx(found.size.value)
        assert float(line["size low"]) == pytest.approx(found.size.interval[0])
        assert float(line["points"]) == pytest.approx(found.accuracy.value)
        assert float(line["McNemar p"]) == pytest.approx(found.accuracy.p_value)
        assert float(line["KiB B"]) == pytest.approx(after.kib_mean)


def test_two_conditions_of_one_student(
    both: tuple[list[Row], list[Row]], capsys: pytest.CaptureFixture[str]
) -> None:
    first, _ = both
    main(["compare", f"{folder_of(first)}:clean", f"{folder_of(first)}:pgd_e"])
    printed = capsys.readouterr().out
    assert "clean → pgd_e" in printed
    assert f"{100 * compare([(first[0], first[2])]).size.value:+.1f}%" in printed


def test_one_condition_holds_for_both(
    both: tuple[list[Row], list[Row]], capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = both
    for words in (
        [f"{folder_of(first)}:pgd_e 8/255", folder_of(second)],
        [folder_of(first), f"{folder_of(second)}:pgd_e 8/255"],
    ):
        main(["compare", *words])
        printed = capsys.readouterr().out
        assert "pgd_e" in printed
        assert "→" not in printed
        assert "clean" not in printed


def test_images_of_one_alone_are_named(
    both: tuple[list[Row], list[Row]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, _ = both
    evaluation(tmp_path / "some", [(CLEAN, [4000] * 8, [True] * 8)], first=25)
    main(["compare", folder_of(first), str(tmp_path / "some")])
    printed = " ".join(capsys.readouterr().out.split())
    assert "clean: 28 images are in one alone and left out" in printed


def test_what_cannot_be_compared_is_a_sentence(
    both: tuple[list[Row], list[Row]], tmp_path: Path
) -> None:
    first, second = map(folder_of, both)
    for words, sentence in (
        ((first, first), "both are the same rows"),
        ((first, str(tmp_path / "no")), "no results under"),
        ((str(tmp_path), first), "holds results of several students: name the folder of one"),
        ((f"{first}:clear", second), "no condition 'clear': did you mean clean"),
        ((f"{first}:noise", second), "no condition 'noise 8/255'"),
        ((first, second, "--to", "x.doc"), r"a table is written as \.csv, \.md, \.tex"),
        ((first,), "arguments are required: b"),
    ):
        with pytest.raises(SystemExit, match=sentence):
            main(["compare", *words])
    evaluation(tmp_path / "noise", [(NOISE, [4000] * 8, [True] * 8)])
    with pytest.raises(SystemExit, match="have no condition in common: name one of each"):
        main(["compare", second, str(tmp_path / "noise")])
    near = replace(PGD_E, epsilon_255=4.0)
    evaluation(tmp_path / "two", [(row, [4000] * 8, [True] * 8) for row in (PGD_E, near)])
    with pytest.raises(SystemExit, match="may be any of these in"):
        main(["compare", f"{tmp_path / 'two'}:pgd_e", first])
    (Path(second) / "records.csv").unlink()
    with pytest.raises(SystemExit, match="is not there: evaluate again to compare images"):
        main(["compare", first, second])


def test_sizes_that_are_the_same_in_every_image_are_called_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = evaluated(tmp_path, CLEAN.student, [CLEAN, NOISE], 1.0)
    second = evaluated(tmp_path, OTHER, [CLEAN], 1.0)
    third = evaluated(tmp_path, "third", [CLEAN], 1.001)
    main(["compare", folder_of(first), folder_of(second)])
    printed = capsys.readouterr().out
    assert "│ the same │" in printed
    assert "+0.0%" not in printed
    assert "not shown" in printed  # of the accuracy thirty images do not say that much
    main(["compare", folder_of(first), folder_of(third)])
    assert "the same" not in capsys.readouterr().out
