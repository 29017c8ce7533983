from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import entres.experiment.runner
from entres import configs
from entres.cli import main
from entres.experiment.matrix import Matrix, MatrixError, read_matrix
from entres.experiment.runner import Runner
from entres.experiment.stamps import duration, log_path, read_plans, read_stamps

Calls = Callable[[], list[str]]
RUN = f"""
import sys
sys.path.insert(0, {str(Path(entres.__file__).parents[1])!r})
from entres.experiment.matrix import read_matrix
from entres.experiment.runner import Runner
sys.exit(not Runner(read_matrix(sys.argv[1], {{}}, {{"seed": [0]}}), sys.argv[2]).run())
"""


def run(matrix: Matrix, out: Path) -> tuple[Runner, list[str], bool]:
    said: list[str] = []
    runner = Runner(matrix, out, said.append)
    return runner, said, runner.run()


def backbones(calls: Calls) -> list[str]:
    """What each call was of."""
    words = [call.split() for call in calls()]
    return [w[w.index("--model.backbone") + 1] if w[0] == "fit" else w[0] for w in words]


def test_a_failed_cell_is_reported_and_the_rest_goes_on(
    matrix: Matrix, tmp_path: Path, calls: Calls
) -> None:
    runner, said, done = run(matrix, tmp_path)
    assert not done
    # The evaluation of a student that was not trained is not tried: it would train it again.
    assert backbones(calls) == ["resnet18", "resnet18", "test_resnet", "test_resnet", "test"]
    assert set(runner.stamps) == {
        "teacher-resnet18-seed0",
        "teacher-test_resnet-seed0",
        "eval-attacks-test_resnet-seed0-strong",
    }
    assert list(runner.failed) == [
        "teacher-resnet18-seed1",
        "teacher-test_resnet-seed1",
        "eval-attacks-test_resnet-seed1-strong",
    ]
    why = runner.failed["teacher-resnet18-seed1"]
    assert why.startswith("exit code 2, ")
    assert str(log_path(tmp_path, "teacher-resnet18-seed1")) in why
    assert why.endswith("CUDA out of memory")
    assert "teacher-test_resnet-seed1, which it needs" in said[-1]
    assert not (tmp_path / "matrix" / "teacher-resnet18-seed1.json").exists()


def test_a_finished_cell_is_not_run_again_unless_it_is_asked_for_otherwise(
    matrix_file: Path, tmp_path: Path, calls: Calls
) -> None:
    over = {"seed": [0]}
    first, _, done = run(read_matrix(matrix_file, {}, over), tmp_path)
    assert done
    assert len(calls()) == 3
    stamp = json.loads((tmp_path / "matrix" / "teacher-resnet18-seed0.json").read_text())
    assert stamp["lines"] == [step.line for step in first.matrix.cells[0].steps(tmp_path)]
    assert {"python", "torch", "entres"} <= stamp["versions"].keys()

    _, said, done = run(read_matrix(matrix_file, {"devices": "2"}, over), tmp_path)
    assert done
    assert len(calls()) == 3
    assert said == ["3 cells, 3 of them finished before"]

    _, said, done = run(read_matrix(matrix_file, {"beta": "1"}, over), tmp_path)
    assert done
    assert len(calls()) == 6
    assert sum("asked for otherwise" in line for line in said) == 3


def test_what_another_runner_has_finished_meanwhile_is_not_run_again(
    matrix: Matrix, tmp_path: Path, calls: Calls
) -> None:
    early, late = (Runner(matrix, tmp_path, print) for _ in range(2))
    early.run_cell(matrix.cells[0])
    late.run_cell(matrix.cells[0])
    assert len(calls()) == 1
    assert late.finished(matrix.cells[0])


def test_a_file_that_is_edited_while_a_cell_runs_is_none_that_it_ran_with(
    matrix_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    preset = tmp_path / "own.yaml"
    preset.write_text(configs.find("preset", "quick").read_text())
    matrix_file.write_text(matrix_file.read_text().replace("preset: strong", f"preset: {preset}"))
    (cell,) = read_matrix(matrix_file, {}, {"seed": [0]}).phases["evaluation"]
    assert "own.yaml" in cell.steps(tmp_path)[-1].line

    def edits(*arguments: object, **options: object) -> int:
        preset.write_text(preset.read_text().replace("steps: 20", "steps: 30"))
        return 0

    monkeypatch.setattr(entres.experiment.runner, "run_steps", edits)
    matrix = read_matrix(matrix_file, {}, {"seed": [0]})
    runner = Runner(matrix, tmp_path, print)
    runner.run_cell(cell)
    assert cell.name in runner.stamps
    assert not runner.finished(cell)


def test_a_damaged_stamp_is_none(matrix: Matrix, tmp_path: Path, calls: Calls) -> None:
    runner = Runner(matrix, tmp_path, print)
    runner.run_cell(matrix.cells[0])
    stamp = tmp_path / "matrix" / "teacher-resnet18-seed0.json"
    assert Runner(matrix, tmp_path, print).finished(matrix.cells[0])
    stamp.write_text(stamp.read_text()[:-20])
    assert not Runner(matrix, tmp_path, print).finished(matrix.cells[0])


def test_progress_names_place_time_and_the_rest(
    matrix: Matrix, tmp_path: Path, calls: Calls
) -> None:
    _, said, _ = run(matrix, tmp_path)
    done = next(line for line in said if "teacher-resnet18-seed0: done" in line)
    # Of the rest, 20 s are known; it went much faster here than elsewhere.
    assert done == (
        "[1/6] teacher-resnet18-seed0: done in 0 s, 0 s so far, about 0 s and 4 cells of unknown "
        "length to go"
    )
    assert [duration(s) for s in (0.4, 59.6, 3599, 3600)] == [
        "0 s",
        "1 min 00 s",
        "59 min 59 s",
        "1 h 00 min",
    ]


def test_a_dry_run_prints_every_line_and_how_long_it_took_elsewhere(
    matrix: Matrix, matrix_file: Path, tmp_path: Path, calls: Calls
) -> None:
    Runner(matrix, tmp_path, print).run_cell(matrix.cells[0])
    assert len(calls()) == 1
    changed = read_matrix(matrix_file, {"beta": "1"})
    lines = list(Runner(changed, tmp_path).plan())
    assert lines[0] == "# changed   teacher-resnet18-seed0 (1 min 40 s elsewhere)"
    assert lines[1].startswith("entres fit --config ")
    lines = list(Runner(matrix, tmp_path).plan())
    assert lines[0].startswith("# finished  teacher-resnet18-seed0: 0 s on 2")
    assert lines[3] == "# would run teacher-test_resnet-seed0 (20 s elsewhere)"
    assert lines[4].startswith("entres fit ")
    assert lines[-2].startswith("# 5 of 6 cells would run, about 0 s and 4 cells of unknown length")
    assert lines[-1] == "# elsewhere: a fast one"
    assert len(calls()) == 1


def test_a_plan_names_a_line_once() -> None:
    """What an earlier cell makes, a later one need not make."""
    lines = [line for line in Runner(read_matrix("photos"), "nowhere").plan() if line[0] != "#"]
    assert len(lines) == len(set(lines))
    # A teacher, two stages for the first beta of each codec, and one for the second beta.
    assert sum(line.startswith("entres fit") for line in lines) == 1 + 2 * 2 + 1


def test_one_cell_runs_only_on_what_is_finished(
    matrix: Matrix, tmp_path: Path, calls: Calls
) -> None:
    runner = Runner(matrix, tmp_path, print)
    name = "eval-attacks-test_resnet-seed0-strong"
    with pytest.raises(MatrixError, match=f"{name} needs teacher-test_resnet-seed0: run that"):
        runner.run_one(name)
    with pytest.raises(MatrixError, match="no cell 'typo'; there is: teacher-resnet18"):
        runner.run_one("typo")
    assert not calls()
    assert runner.run_one("teacher-test_resnet-seed0")
    assert Runner(matrix, tmp_path, print).run_one(name)
    assert backbones(calls) == ["test_resnet", "test"]


def test_a_sweep_s_run_is_none_of_a_cell_s(
    matrix: Matrix, tmp_path: Path, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_SWEEP_ID", "abc")
    Runner(matrix, tmp_path, print).run_cell(matrix.cells[0])
    assert "sweep None" in log_path(tmp_path, matrix.cells[0].name).read_text()


def test_through_the_command_line(
    matrix_file: Path, tmp_path: Path, calls: Calls, capsys: pytest.CaptureFixture[str]
) -> None:
    text = matrix_file.read_text().replace("[0, 1]", "[0]")
    matrix_file.write_text(text)
    words = ["reproduce", f"--MATRIX={matrix_file}", f"--OUT={tmp_path}"]  # as make writes them
    words += ["--EXTRA=--a.b 'c d'", "--DEVICES=2"]
    main(words)
    assert len(calls()) == 3
    assert all("--a.b c d" in call and "--trainer.devices 2" in call for call in calls())
    assert set(read_stamps(tmp_path)) == {cell.name for cell in read_plans(tmp_path)[0].cells}
    assert "[3/3] eval-attacks-test_resnet-seed0-strong: done" in capsys.readouterr().out
    matrix_file.write_text(text.replace("[0]", "[1]"))
    with pytest.raises(SystemExit, match="1"):
        main(["reproduce", "--matrix", str(matrix_file), "--out", str(tmp_path / "other")])
    with pytest.raises(SystemExit, match="no phase 'typo'; there is: training, evaluation"):
        main([*words, "--phase", "typo"])


def test_a_killed_run_goes_on_at_the_cell_and_never_runs_two_of_one(
    matrix_file: Path, tmp_path: Path, calls: Calls
) -> None:
    matrix_file.write_text(matrix_file.read_text().replace("[resnet18, ", "[resnet18, resnet26, "))
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
    # One cell before, the killed one twice, and what follows.
    assert backbones(calls) == ["resnet18", "resnet26", "resnet26", "test_resnet", "test"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_runner_alone_ends_its_call_and_the_same_command_goes_on(
    number: signal.Signals,
    matrix_file: Path,
    tmp_path: Path,
    calls: Calls,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(entres.experiment.runner, "PATIENCE", 0.2)
    text = matrix_file.read_text().replace("[0, 1]", "[0]")
    matrix_file.write_text(text.replace("[resnet18, ", "[resnet26, "))

    def stop() -> None:
        while not (tmp_path / "calls.hung").exists():
            time.sleep(0.02)
        os.kill(os.getpid(), number)

    stopping = threading.Thread(target=stop)
    stopping.start()
    started = time.monotonic()
    runner, said, done = run(read_matrix(matrix_file), tmp_path)
    stopping.join()
    assert time.monotonic() - started < 50  # the call would sleep for a minute
    assert (done, runner.stopped_by, len(calls())) == (False, 128 + number, 1)
    assert said[-1] == "stopped; the same command goes on here"
    assert not runner.stamps
    _, said, done = run(read_matrix(matrix_file), tmp_path)
    assert done
    assert backbones(calls) == ["resnet26", "resnet26", "test_resnet", "test"]
