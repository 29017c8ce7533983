from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from entres.corruptions import CORRUPTIONS
from entres.records import write_records
from entres.results import (
    CATEGORIES,
    Condition,
    ResultsError,
    Row,
    clean_reference,
    find_results,
    is_plain,
    read_evaluations,
    read_summary,
    relative_change,
    write_summary,
)

ROW = Row(
    student="resnet50-mshp-beta0.08-joint",
    backbone="resnet50.tv_in1k",
    codec="mshp",
    beta=0.08,
    recipe="joint",
    dataset="imagenet",
    condition="pgd_e",
    corruption=None,
    severity=None,
    preset="strong",
    epsilon_255=4.0,
    defense=None,
    images=50_000,
    accuracy=0.7133,
    kib_mean=14.11,
    kib_std=0.38,
    seconds=12.5,
    extra={"health": "fine"},
)


def test_rows_survive_the_disk_with_what_later_versions_add(tmp_path: Path) -> None:
    write_summary(tmp_path, [ROW])
    assert read_summary(tmp_path / "summary.json") == [ROW]
    assert json.loads((tmp_path / "summary.json").read_text())[0]["health"] == "fine"
    assert not list(tmp_path.glob(".*"))


def test_nan_is_no_result(tmp_path: Path) -> None:
    row = Row.from_dict(ROW.as_dict() | {"accuracy": float("nan")})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_summary(tmp_path, [row])
    assert not (tmp_path / "summary.json").exists()


def test_records_are_plain_csv(tmp_path: Path) -> None:
    path = write_records(tmp_path, [{"index": 0, "severity": None, "bytes": 9_851}])
    assert path.read_text() == "index,severity,bytes\n0,,9851\n"


def test_labels() -> None:
    assert ROW.label == ROW.under.label == "pgd_e 4/255 (strong)"
    assert (ROW.defense_label, replace(ROW, defense="mine").defense_label) == (None, "mine")
    defended = Condition("pgd_e", epsilon_255=4.0, norm="l2", through="bpda").behind("tv", 0.020)
    assert defended.label == "pgd_e 4/255 l2 through the defense (bpda) + tv 0.02"
    assert defended.defense_label == "tv 0.02"
    assert Condition("corruption", "snow", 3).label == "snow severity 3"


@pytest.mark.parametrize(
    ("norm", "papers"), [(None, True), ("", True), ("linf", True), ("l2", False), ("l1", False)]
)
def test_a_ball_that_is_not_the_papers_is_named_and_kept_apart(
    norm: str | None, papers: bool
) -> None:
    row = replace(ROW, norm=norm)
    assert is_plain(row) == papers
    assert row.label == ("pgd_e 4/255 (strong)" if papers else f"pgd_e 4/255 {norm} (strong)")


def test_an_attack_that_stops_at_a_budget_is_in_no_figure_over_epsilon() -> None:
    assert is_plain(ROW)
    assert not is_plain(replace(ROW, condition="pgd_e_over_6kib"))


def test_clean_images_to_compare_with_are_as_many_and_behind_the_same_defense() -> None:
    clean = replace(ROW, condition="clean", images=10)
    more = replace(clean, images=1000)
    defended = replace(clean, defense="tv", defense_strength=0.1)
    rows = [ROW, clean, defended, more]
    assert clean_reference(rows, 10) == clean
    assert clean_reference(rows, 7) == clean_reference(rows) == more
    assert clean_reference(rows, 1000, "tv 0.1") == defended
    assert clean_reference(rows, defense_label="tv 0.2") is clean_reference([ROW]) is None


def test_of_clean_images_alike_those_with_the_teacher_count() -> None:
    clean = replace(ROW, condition="clean")
    judged = replace(clean, teacher_accuracy=0.76)
    assert clean_reference([clean, judged]) == clean_reference([judged, clean]) == judged
    more = replace(clean, images=clean.images + 1)
    assert clean_reference([judged, more]) == more


def test_what_is_not_complete_is_named_and_counts(tmp_path: Path) -> None:
    part = replace(ROW, conditions_asked=2)
    path = write_summary(tmp_path / "a" / "eval" / "attacks", [part])
    found = find_results(tmp_path)
    assert found.rows == [part]
    (sentence,) = found.partial
    assert sentence.startswith(f"{path.parent}: 1 of 2 conditions: it was stopped")
    assert sentence.endswith("the same command goes on with it")
    write_summary(path.parent, [part, part])
    assert not find_results(tmp_path).partial


def test_one_evaluation_is_found_from_any_folder_around_it_and_what_lies_in_it_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    student = tmp_path / "data" / "student"
    path = write_summary(student / "eval" / "clean", [ROW])
    write_summary(student / "eval" / "clean" / "unfinished", [ROW, ROW])
    other = write_summary(student / "eval" / "attacks", [ROW])
    both = [other, path]
    for out, found in (
        (tmp_path, both),
        (student, both),
        (student / "eval", both),
        (student / "eval" / "clean", [path]),
        (student / "eval" / "attacks" / "..", both),
    ):
        assert [file.resolve() for file in find_results(out).files] == found
    monkeypatch.chdir(path.parent)
    (row,) = find_results(".").rows
    assert row.folder == path.parent
    moved = path.parent.rename(tmp_path / "moved")
    assert find_results(moved).files == [moved / "summary.json"]


def test_relative_change() -> None:
    assert relative_change(18.79, 9.62) == pytest.approx(0.9532, abs=1e-4)
    with pytest.raises(ValueError, match="undefined"):
        relative_change(1.0, 0.0)


def test_the_names_of_the_corruptions_are_those_of_the_classes() -> None:
    named = [(name, category) for category, names in CATEGORIES.items() for name in names]
    assert named == [(corruption.name, corruption.category) for corruption in CORRUPTIONS]


@pytest.mark.parametrize("content", ["", '[{"student": "some"}]', "[1]", "{", b"\xff"])
def test_a_damaged_file_is_named_beside_the_rest(tmp_path: Path, content: str | bytes) -> None:
    whole = write_summary(tmp_path / "a" / "eval" / "clean", [ROW])
    damaged = tmp_path / "b" / "eval" / "clean" / "summary.json"
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(content if isinstance(content, bytes) else content.encode())
    found = find_results(tmp_path)
    assert (found.files, found.rows) == ([whole], [ROW])
    assert found.rows[0].folder == whole.parent
    assert "folder" not in found.rows[0].as_dict()
    (sentence,) = found.unreadable
    assert sentence.startswith(f"{damaged} holds no results (")
    assert sentence.endswith("delete it, or evaluate again")
    with pytest.raises(ResultsError, match="holds no results"):
        read_summary(damaged)


def test_evaluations_of_one_student_are_read_together(tmp_path: Path) -> None:
    def evaluated(name: str, **changed: str) -> Path:
        folder = tmp_path / name
        write_summary(folder, [replace(ROW, **changed)])
        write_records(folder, [{"index": 0}])
        return folder

    first, second = evaluated("first"), evaluated("second", condition="noise")
    rows = read_evaluations([first, str(second)])
    assert [(row.condition, row.folder) for row in rows] == [("pgd_e", first), ("noise", second)]
    with pytest.raises(ResultsError, match="no evaluation was given"):
        read_evaluations([])
    with pytest.raises(ResultsError, match=r"evaluations of several students \(other, .*\)"):
        read_evaluations([first, evaluated("other", student="other")])
    with pytest.raises(ResultsError, match=r"several data sets \(imagenet, photos\)"):
        read_evaluations([first, evaluated("elsewhere", dataset="photos")])
    with pytest.raises(ResultsError, match=r"no evaluation at .*, summary\.json is not there"):
        read_evaluations([first, tmp_path])
    (second / "records.csv").unlink()
    with pytest.raises(ResultsError, match=r"no evaluation at .*, records\.csv is not there"):
        read_evaluations([first, second])
