from __future__ import annotations

import json
from pathlib import Path

import pytest

from entres.report import Row, evaluation_folder, read_summary
from entres.report.results import write_records, write_summary
from entres.report.table import condition_label, results_table

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


def test_labels_and_folders() -> None:
    assert condition_label(ROW) == "pgd_e 4/255 (strong)"
    assert evaluation_folder("runs", ROW.student, "clean") == Path(
        "runs/resnet50-mshp-beta0.08-joint/eval/clean"
    )


def test_the_table_says_what_is_common_once() -> None:
    other = Row.from_dict(ROW.as_dict() | {"epsilon_255": 8.0, "accuracy_present": 0.9})
    table = results_table([ROW, other])
    assert table.title == "resnet50-mshp-beta0.08-joint · imagenet"
    headers = [str(column.header) for column in table.columns]
    assert headers == ["condition", "images", "KiB", "top-1", "top-1*"]
    assert list(table.columns[2].cells) == ["14.11 ± 0.38"] * 2
