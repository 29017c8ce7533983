from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from entres.cli import main
from entres.matrix import Matrix, MatrixError, read_matrix, read_stamps
from entres.matrix.runner import Runner, duration
from entres.matrix.stamps import log_path, read_plans

Calls = Callable[[], list[str]]
RUN = """
import sys
from entres.matrix import read_matrix
from entres.matrix.runner import Runner
sys.exit(not Runner(read_matrix(sys.argv[1], {}, {"BETA": ["0.08"]}), sys.argv[2]).run())
"""


def run(matrix: Matrix, out: Path) -> tuple[Runner, list[str], bool]:
    said: list[str] = []
    runner = Runner(matrix, out, said.append)
    return runner, said, runner.run()


def test_a_failed_cell_is_reported_and_the_rest_goes_on(
    matrix: Matrix, tmp_path: Path, calls: Calls
) -> None:
    runner, said, done = run(matrix, tmp_path)
    assert not done
    # The evaluation of a student that was not trained is not tried: it would train it again.
    assert [call.split()[1] for call in calls()] == ["train"] * 4 + ["eval-attacks"]
    assert set(runner.stamps) == {
        "train-fp-beta0.08",
        "train-mshp-beta0.08",
        "eval-attacks-mshp-beta0.08-strong",
    }
    assert list(runner.failed) == [
        "train-fp-beta0.32",
        "train-mshp-beta0.32",
        "eval-attacks-mshp-beta0.32-strong",
    ]
    why = runner.failed["train-fp-beta0.32"]
    assert why.startswith("exit code 2, ")
    assert str(log_path(tmp_path, "train-fp-beta0.32")) in why
    assert why.endswith("CUDA out of memory")
    assert "train-mshp-beta0.32, which it needs" in said[-1]
    assert not (tmp_path / "matrix" / "train-fp-beta0.32.json").exists()


def test_a_finished_cell_is_not_run_again_unless_its_command_changed(
    matrix_file: Path, tmp_path: Path, calls: Calls
) -> None:
    over = {"BETA": ["0.08"]}
    first, _, done = run(read_matrix(matrix_file, {}, over), tmp_path)
    assert done
    assert len(calls()) == 3
    stamp = json.loads((tmp_path / "matrix" / "train-fp-beta0.08.json").read_text())
    assert stamp["command"] == first.matrix.cells[0].command(tmp_path)
    assert stamp["returncode"] == 0
    assert {"python", "torch", "entres"} <= stamp["versions"].keys()

    _, said, done = run(read_matrix(matrix_file, {"DEVICES": "2"}, over), tmp_path)
    assert done
    assert len(calls()) == 3
    assert said == ["3 cells, 3 of them finished before"]

    _, said, done = run(read_matrix(matrix_file, {"SEED": "1"}, over), tmp_path)
    assert done
    assert len(calls()) == 6
    assert sum("its command has changed" in line for line in said) == 3


def test_progress_names_place_time_and_the_rest(
    matrix: Matrix, tmp_path: Path, calls: Calls
) -> None:
    _, said, _ = run(matrix, tmp_path)
    done = next(line for line in said if "train-fp-beta0.08: done" in line)
    # Of the rest, 20 s are known; it went much faster here than elsewhere.
    assert done == (
        "[1/6] train-fp-beta0.08: done in 0 s, 0 s so far, about 0 s and 4 cells of unknown "
        "length to go"
    )
    assert [duration(s) for s in (0.4, 59.6, 3599, 3600)] == [
        "0 s",
        "1 min 00 s",
        "59 min 59 s",
        "1 h 00 min",
    ]


def test_a_dry_run_runs_nothing_and_says_how_long_it_took_elsewhere(
    matrix: Matrix, matrix_file: Path, tmp_path: Path, calls: Calls
) -> None:
    Runner(matrix, tmp_path, print).run_cell(matrix.cells[0])
    assert len(calls()) == 1
    changed = read_matrix(matrix_file, {"SEED": "1"})
    lines = list(Runner(changed, tmp_path).plan())
    assert lines[0].startswith("changed   train-fp-beta0.08: make train BETA=0.08")
    assert lines[0].endswith("(1 min 40 s elsewhere)")
    lines = list(Runner(matrix, tmp_path).plan())
    assert lines[0].startswith("finished  train-fp-beta0.08: 0 s on 2")
    assert lines[2].startswith("would run train-mshp-beta0.08: make train BETA=0.08 CODEC=mshp")
    assert lines[2].endswith("(20 s elsewhere)")
    assert lines[-2].startswith("5 of 6 cells would run, about 0 s and 4 cells of unknown length")
    assert lines[-1] == "elsewhere: a fast one"
    assert len(calls()) == 1


def test_one_cell_runs_only_on_what_is_finished(
    matrix: Matrix, tmp_path: Path, calls: Calls
) -> None:
    runner = Runner(matrix, tmp_path, print)
    name = "eval-attacks-mshp-beta0.08-strong"
    with pytest.raises(MatrixError, match=f"{name} needs train-mshp-beta0.08: run that first"):
        runner.run_one(name)
    with pytest.raises(MatrixError, match="no cell 'typo'; there is: train-fp"):
        runner.run_one("typo")
    assert not calls()
    assert runner.run_one("train-mshp-beta0.08")
    assert Runner(matrix, tmp_path, print).run_one(name)
    assert [call.split()[1] for call in calls()] == ["train", "eval-attacks"]


def test_what_an_outer_make_was_told_stays_there(
    matrix: Matrix, tmp_path: Path, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAKEFLAGS", " -- EPOCHS=1 EXTRA=--a\\ b")
    monkeypatch.setenv("EPOCHS", "1")
    Runner(matrix, tmp_path, print).run_cell(matrix.cells[0])
    log = log_path(tmp_path, matrix.cells[0].name).read_text()
    assert "environment EPOCHS= MAKEFLAGS=\n" in log


def test_through_the_command_line(
    matrix_file: Path, tmp_path: Path, calls: Calls, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["reproduce", "--matrix", str(matrix_file), "--out", str(tmp_path)]
    words += ["--over", "CODEC=mshp BETA=0.08", "--make", 'EXTRA=--a\\ "b" DEVICES=2']
    main(words)
    assert len(calls()) == 2
    assert all('EXTRA=--a "b"' in call and "DEVICES=2" in call for call in calls())
    assert set(read_stamps(tmp_path)) == {cell.name for cell in read_plans(tmp_path)[0].cells}
    assert "[2/2] eval-attacks-mshp-beta0.08-strong: done" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="1"):
        main(["reproduce", "--matrix", str(matrix_file), "--out", str(tmp_path / "other")])
    with pytest.raises(SystemExit, match="written NAME=value, got 'DEVICES'"):
        main(["reproduce", "--make", "DEVICES 2"])
    with pytest.raises(SystemExit, match="no phase 'typo'; there is: training, evaluation"):
        main([*words, "--phase", "typo"])


def test_a_killed_run_goes_on_at_the_cell_and_never_runs_two_of_one(
    matrix_file: Path, tmp_path: Path, calls: Calls
) -> None:
    matrix_file.write_text(matrix_file.read_text().replace("mshp]", "hang, mshp]"))
    words = [sys.executable, "-u", "-c", RUN, str(matrix_file), str(tmp_path)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 120
    while not (tmp_path / "calls.hung").exists() and time.monotonic() < deadline:
        assert process.poll() is None, "ended before it could be killed"
        time.sleep(0.05)
    process.kill()  # the runner alone: the call that it made lives on, and holds the cell
    process.wait()
    again = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert again.stdout is not None
    lines = []
    for line in again.stdout:
        lines.append(line)
        if "still running from another call" in line:
            assert len(calls()) == 2
            os.killpg(process.pid, signal.SIGKILL)
    assert again.wait() == 0
    assert any("still running" in line for line in lines)
    # fp once, the killed one twice, and what follows: mshp, and the evaluations.
    assert [call.split()[3] for call in calls()] == [
        "CODEC=fp",
        "CODEC=hang",
        "CODEC=hang",
        "CODEC=mshp",
        "CODEC=hang",
        "CODEC=mshp",
    ]
