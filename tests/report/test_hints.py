"""Lines that would measure what is missing."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from rows import CLEAN

from entres.experiment import Experiment
from entres.experiment.layout import newest_config, runs_around, student_beside, weights_digest
from entres.report.rerun import same_again
from entres.report.tables.hints import calls
from entres.results import Row, find_results, write_summary


def asked_by(line: str) -> Experiment:
    """What a line asks for; it can be read as the command line would."""
    words = shlex.split(line)[2:]
    names = [word.removeprefix("--") for word in words[::2]]
    return Experiment.of(**dict(zip(names, words[1::2], strict=True)))


def evaluated(out: Path, row: Row = CLEAN, data: Any = None, version: int = 0, **more: Any) -> Row:
    """The row as a report finds it, the student beside it and the configuration below it."""
    folder = out / row.dataset / row.student / "eval" / "clean"
    write_summary(folder, [row])
    if data is not None:
        config = folder / "logs" / f"version_{version}" / "config.yaml"
        config.parent.mkdir(parents=True)
        content = {"seed_everything": 3, "out": str(out), "data": data, **more}
        config.write_text(yaml.safe_dump(content))
    return next(r for r in find_results(out).rows if r.folder == folder)


def imagenet(**arguments: Any) -> dict[str, Any]:
    return {"class_path": "entres.data.ImageNetDataModule", "init_args": arguments}


def test_out_data_and_the_students_file_are_named(tmp_path: Path) -> None:
    out = tmp_path / "my runs"
    inside = imagenet(data_dir="/data/my imagenet", eval_limit_per_class=5)
    wrapped = {
        "class_path": "entres.conditions.AdversarialDataModule",
        "init_args": {"data": inside},
    }
    row = evaluated(out, data=wrapped)
    file = student_beside(row.folder)  # type: ignore[arg-type]
    assert file == out / "imagenet" / CLEAN.student / "student.safetensors"
    file.write_bytes(b"weights")
    (line,) = calls("eval-attacks", [row], preset="published", epsilons=[4, 8])
    assert line.startswith("entres eval-attacks --data imagenet --data_dir '/data/my imagenet' ")
    asked = asked_by(line)
    assert (asked.data_dir, asked.images_per_class) == ("/data/my imagenet", 5)
    assert (asked.student, asked.out, asked.seed) == (str(file), str(out), 3)
    assert (asked.preset, asked.epsilons) == ("published", (4.0, 8.0))
    # Another student than the one that lies there is trained.
    asked = asked_by(*calls("eval-attacks", [row], codec="fp"))
    assert (asked.student, asked.codec, asked.beta, asked.recipe) == (None, "fp", 0.08, "joint")
    assert (asked.backbone, asked.out) == ("resnet50.tv_in1k", str(out))


def test_a_file_of_other_weights_is_not_the_rows_student(tmp_path: Path) -> None:
    row = evaluated(tmp_path, replace(CLEAN, weights="123456"), imagenet(data_dir="/d"))
    file = student_beside(row.folder)  # type: ignore[arg-type]
    file.write_bytes(b"weights")
    assert asked_by(*calls("eval-clean", [row])).student is None
    row = replace(row, weights=weights_digest(file))
    assert asked_by(*calls("eval-clean", [row])).student == str(file)
    # A student from elsewhere lies where the configuration says.
    elsewhere = tmp_path / "elsewhere.safetensors"
    file.rename(elsewhere)
    model = {"init_args": {"student": str(elsewhere)}}
    row = evaluated(tmp_path, row, imagenet(data_dir="/d"), version=1, model=model)
    assert asked_by(*calls("eval-clean", [row])).student == str(elsewhere)


def test_without_a_configuration_what_is_not_known_is_left_to_the_user() -> None:
    assert calls("eval-clean", []) == ["entres eval-clean"]
    asked = asked_by(*calls("eval-clean", [CLEAN]))
    assert (asked.data, asked.data_dir) == ("imagenet", "/path/to/the/data")
    own = replace(CLEAN, dataset="my photos", recipe="joint-pgd_e8", beta=0.32)
    asked = asked_by(*calls("eval-clean", [own]))
    assert (asked.data, asked.data_dir) == ("imagefolder", "/path/to/the/data")
    assert asked.student == f"/path/to/{own.student}.safetensors"  # its recipe is not taken apart
    (line,) = calls("eval-clean", [replace(CLEAN, dataset="photos", backbone="test_resnet")])
    assert line == "entres eval-clean"
    assert not calls("eval-attacks", [CLEAN], preset="mine")


def test_what_imagenet_c_cannot_is_asked_of_imagenet(tmp_path: Path) -> None:
    data = {"class_path": "entres.data.ImageNetCDataModule", "init_args": {"data_dir": "/c"}}
    row = evaluated(tmp_path, replace(CLEAN, dataset="imagenet-c"), data)
    asked = asked_by(*calls("eval-corruptions", [row]))
    assert (asked.data, asked.data_dir) == ("imagenet-c", "/c")
    asked = asked_by(*calls("eval-attacks", [row]))
    assert (asked.data, asked.data_dir) == ("imagenet", "/path/to/the/data")


def test_data_of_ones_own_are_a_file(tmp_path: Path) -> None:
    row = evaluated(tmp_path, data={"class_path": "mine.Data", "init_args": {"data_dir": "/d"}})
    (line,) = calls("eval-clean", [row])
    assert line.startswith("entres eval-clean --data /path/to/the/data.yaml --data_dir /d ")


def test_an_evaluation_is_run_again_as_it_was_last(tmp_path: Path) -> None:
    out = tmp_path / "runs"
    for version in (9, 10):
        row = evaluated(out, data=imagenet(), version=version)
    assert row.folder is not None
    config = row.folder / "logs" / "version_10" / "config.yaml"
    assert newest_config(row.folder) == config
    assert same_again(row.folder) == f"entres test --config {config}"
    assert runs_around(row.folder) == out
    student_beside(row.folder).write_bytes(b"weights")
    moved = out.rename(tmp_path / "moved")
    folder = moved / row.folder.relative_to(out)
    words = shlex.split(same_again(folder) or "")
    assert words[4:] == ["--out", str(moved), "--model.student", str(student_beside(folder))]
    assert same_again(tmp_path) is None


def test_folders_are_found_from_within(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = evaluated(tmp_path)
    assert row.folder is not None
    monkeypatch.chdir(row.folder.parents[1])
    (found,) = find_results(".").rows
    assert found.folder == Path("eval/clean")
    assert runs_around(found.folder) == tmp_path
    assert student_beside(found.folder).resolve() == student_beside(row.folder).resolve()


def test_steps_that_were_asked_for_are_asked_for_again() -> None:
    asked = asked_by(*calls("eval-attacks", [CLEAN], preset="strong, 400 steps"))
    assert (asked.preset, asked.steps) == ("strong", 400)
