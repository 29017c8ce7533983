"""W&B decides over nothing: whatever becomes of it, the results are there."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import wandb

from entres.cli import main
from entres.results import read_summary
from entres.watch.loggers import FOLDERS

ROOT = Path(__file__).parent.parent.parent
NOWHERE = "/dev/null/home"
"""A home that nobody can write to, not even root."""


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*FOLDERS, "WANDB_API_KEY", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.chdir(ROOT)


def evaluate(out: Path | str, student: Path) -> None:
    words = ["test", f"--config={ROOT}/configs/stage/evaluation.yaml", f"--out={out}"]
    words += [f"--data={ROOT}/configs/data/photos.yaml", "--data.image_size=32"]
    words += ["--data.eval_limit_per_class=1", "--data.num_workers=0", "--example_images=1"]
    words += [f"--model.student={student}", "--model.coding_workers=0"]
    main([*words, "--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"])


def folder_of(out: Path) -> Path:
    """The folder of the one evaluation, whose results are there."""
    (summary,) = out.glob("photos/*/eval/clean/summary.json")
    assert read_summary(summary)[0].images == 8
    assert (summary.parent / "records.csv").is_file()
    return summary.parent


@pytest.mark.parametrize("mode", ["offline", "disabled"])
def test_a_home_that_cannot_be_written(
    mode: str, tmp_path: Path, student_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", NOWHERE)
    monkeypatch.setenv("WANDB_MODE", mode)
    evaluate(tmp_path / "out", student_file)
    runs = list(folder_of(tmp_path / "out").glob("wandb/offline-run-*/run-*.wandb"))
    assert len(runs) == (mode == "offline")


def test_a_key_without_a_network_falls_back_to_offline(
    tmp_path: Path, student_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # nobody listens there
    started = time.monotonic()
    with pytest.warns(UserWarning, match="http://127.0.0.1:9 cannot be reached: this run is kept"):
        evaluate(tmp_path / "out", student_file)
    assert time.monotonic() - started < 60
    assert list(folder_of(tmp_path / "out").glob("wandb/offline-run-*/run-*.wandb"))


@pytest.mark.parametrize("what", ["init", "Image", "Table", "finish"])
def test_what_fails_in_it_is_said_and_costs_nothing(
    what: str, tmp_path: Path, student_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any, **more: Any) -> None:
        raise OSError("no space left")

    finish = wandb.finish
    monkeypatch.setattr(wandb, what, fail)
    with pytest.warns(UserWarning, match=r"W&B .* \(OSError: no space left\)"):
        evaluate(tmp_path / "out", student_file)
    folder_of(tmp_path / "out")
    finish()


def test_its_folders_lie_in_the_run_s_wherever_the_program_is(
    tmp_path: Path, student_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # W&B's service lives on with the working directory of the first run.
    home = tmp_path / "home"
    monkeypatch.setenv("HOME", str(home))
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        evaluate("runs", student_file)
    for name in ("first", "second"):
        folder = folder_of(tmp_path / name / "runs")
        assert len(list(folder.glob("wandb/offline-run-*/run-*.wandb"))) == 1
        assert [path.name for path in (tmp_path / name).iterdir()] == ["runs"]
    files = [path for path in home.rglob("*") if path.is_file() and "wandb" in str(path)]
    assert not files
