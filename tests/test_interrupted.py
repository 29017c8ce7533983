"""Runs that are killed, told to stop, or find no room: one sentence, and nothing is lost."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny import STUDENT, TEACHER, TINY, fit, start

import entres.lightning_cli  # noqa: F401  # Lightning logs to the stream of its import
from entres.cli import STOPPED, main
from entres.results import read_summary

pytestmark = pytest.mark.usefixtures("at_the_root")


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["teacher", "distilled"])
def test_a_killed_run_goes_on_and_ends_as_if_nothing_had_happened(
    stage: str, tmp_path: Path
) -> None:
    # With a seed, as every verb gives one: what a parser makes of it must not be in a checkpoint.
    own = ["--seed_everything=0", *(["--model.beta=0.08"] if stage == "distilled" else [])]
    run = STUDENT.format("distilled") if stage == "distilled" else TEACHER
    epochs = 8

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    # Only what is killed needs a process of its own.
    main(fit(stage, whole, *own, epochs=epochs))
    process = start(fit(stage, killed, *own, epochs=epochs))
    last = killed / run / "checkpoints" / "last.ckpt"
    deadline = time.monotonic() + 120
    while not last.is_file() and time.monotonic() < deadline:
        assert process.poll() is None, "ended before it could be killed"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    saved = torch.load(last, weights_only=True)["global_step"]
    assert 0 < saved < 8 * epochs
    main(fit(stage, killed, *own, epochs=epochs))

    (name,) = (p.name for p in (whole / run).glob("*.safetensors"))
    expected, resumed = load_file(whole / run / name), load_file(killed / run / name)
    assert expected.keys() == resumed.keys()
    for key, value in expected.items():
        assert torch.equal(value, resumed[key]), key


@pytest.mark.slow
def test_a_killed_evaluation_goes_on_and_ends_as_if_nothing_had_happened(
    tmp_path: Path, student_file: Path
) -> None:
    images = [word.replace("--data", "--data.data") for word in TINY if word.startswith("--data")]
    others = [word for word in TINY if word.startswith("--trainer")]
    words = ["test", "--config=configs/stage/evaluation.yaml", f"--model.student={student_file}"]
    words += ["--data=configs/data/corrupted.yaml", *images, *others, "--model.coding_workers=0"]
    whole, killed = ([*words, f"--out={tmp_path / name}"] for name in ("whole", "killed"))
    main(whole)
    process = start(killed)
    deadline = time.monotonic() + 120
    while not (there := list(tmp_path.glob("killed/**/summary.json"))):
        assert time.monotonic() < deadline
        assert process.poll() is None, "ended before it could be killed"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = read_summary(there[0])
    assert 0 < len(before) < 76
    main(killed)
    (expected,) = tmp_path.glob("whole/**/summary.json")
    rows, theirs = read_summary(there[0]), read_summary(expected)
    assert rows[: len(before)] == before  # down to the seconds: they were not measured again
    assert [replace(row, seconds=0) for row in rows] == [replace(row, seconds=0) for row in theirs]
    records = [path.with_name("records.csv").read_bytes() for path in (there[0], expected)]
    assert records[0] == records[1]


def test_a_full_disk_ends_a_training_in_one_sentence_and_keeps_its_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, full = tmp_path / "whole" / TEACHER, tmp_path / "full" / TEACHER
    last = full / "checkpoints" / "last.ckpt"
    write = Path.write_bytes

    def of_one_checkpoint(path: Path, content: bytes) -> int:
        if "last.ckpt" not in path.name or not last.exists():
            return write(path, content)
        write(path, bytes(content)[:1000])
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", of_one_checkpoint)
        with pytest.raises(SystemExit, match=r"^entres: cannot write \S+last.ckpt \(No space left"):
            main(fit("teacher", tmp_path / "full", epochs=3))
    assert [path.name for path in last.parent.iterdir()] == ["last.ckpt"]
    assert torch.load(last, weights_only=True)["global_step"] == 8  # of the first epoch
    main(fit("teacher", tmp_path / "full", epochs=3))
    main(fit("teacher", tmp_path / "whole", epochs=3))
    expected, there = (load_file(folder / "teacher.safetensors") for folder in (whole, full))
    assert all(torch.equal(value, there[name]) for name, value in expected.items())


def test_a_full_disk_ends_an_evaluation_in_one_sentence_and_keeps_a_finished_one(
    tmp_path: Path, student_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["test", "--config=configs/stage/evaluation.yaml", *TINY, f"--out={tmp_path / 'out'}"]
    words += [f"--model.student={student_file}", "--model.coding_workers=0"]
    main(words)
    (folder,) = tmp_path.glob("out/**/eval/clean")
    before = {path.name: path.read_bytes() for path in folder.glob("*.*")}
    write = Path.write_bytes

    def full(path: Path, content: bytes) -> int:
        if "summary.json" in path.name:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(
            SystemExit, match=r"^entres: cannot write \S+summary.json \(No space left"
        ):
            main(words)
    assert {path.name: path.read_bytes() for path in folder.glob("*.*")} == before
    main(words)
    assert not (folder / "unfinished").exists()


def test_a_folder_that_cannot_be_written_is_one_sentence(
    tmp_path: Path, student_file: Path
) -> None:
    file = tmp_path / "file"
    file.write_text("")
    words = ["test", "--config=configs/stage/evaluation.yaml", *TINY, f"--out={file}"]
    for line in (
        [*words, f"--model.student={student_file}", "--model.coding_workers=0"],
        fit("teacher", file),
        ["reproduce", f"--out={file}"],
    ):
        with pytest.raises(
            SystemExit, match=r"^entres: (cannot write|no access to) \S+file"
        ) as stop:
            main(line)
        assert "\n" not in str(stop.value)
    assert file.read_text() == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_that_comes_where_nothing_can_be_raised_is_raised_soon(
    number: signal.Signals,
) -> None:
    program = f"""
import os, time
from entres import cli

class Deaf:
    def __del__(self):
        os.kill(os.getpid(), {int(number)})
        time.sleep(0.1)

def deaf(words):
    Deaf()
    print("went on", flush=True)
    time.sleep(60)

cli._main = deaf
cli.main([])
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=False
    )
    assert ended.returncode == 128 + number
    assert ended.stdout == "went on\n"
    assert ended.stderr == f"{STOPPED}\n"


def test_what_a_signal_leaves_half_made_complains_no_more() -> None:
    # As torch's loader does whose workers were being started: its destructor wants what is not yet.
    program = """
import os, signal, sys
from entres import cli

class Loader:
    def __init__(self):
        self.itself = self  # nothing but the collector takes it down
        os.kill(os.getpid(), signal.SIGINT)
        self.closed = False

    def __del__(self):
        self.closed

cli._main = lambda words: Loader()
sys.argv = ["entres"]
cli.main()  # as the command line calls it, and ends with it
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=False
    )
    assert ended.returncode == 128 + signal.SIGINT
    assert ended.stderr == f"{STOPPED}\n"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("verb", ["fit", "test"])
def test_a_signal_to_all_its_processes_ends_in_one_sentence_and_the_next_call_goes_on(
    verb: str, number: signal.Signals, tmp_path: Path, student_file: Path
) -> None:
    # As a terminal sends Ctrl-C, and a job's manager SIGTERM: workers of loaders and coders too.
    words = fit("teacher", tmp_path / "out", "--data.num_workers=1", epochs=200)
    sign = "photos/*/checkpoints/last.ckpt"
    if verb == "test":
        tiny = [word.replace("--data.", "--data.data.") for word in TINY[1:]]
        words = ["test", "--config=configs/stage/evaluation.yaml", f"--out={tmp_path}/out"]
        words += ["--data=configs/data/adversarial.yaml", "--data.attack=configs/attack/pgd_e.yaml"]
        words += tiny
        words += ["--data.data.eval_batch_size=2", "--data.data.num_workers=1"]
        words += [f"--model.student={student_file}", "--model.coding_workers=1"]
        words += ["--model.verify_every=1"]
        sign = "photos/*/eval/attacks/summary.json"  # of the clean images; the attack is on now
    errors = tmp_path / "errors"
    with errors.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "entres", *words],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=file,
            start_new_session=True,
        )
        deadline = time.monotonic() + 120
        while not list((tmp_path / "out").glob(sign)) and time.monotonic() < deadline:
            assert process.poll() is None, errors.read_text()
            time.sleep(0.02)
        os.killpg(process.pid, number)
        assert process.wait(timeout=120) == 128 + number
    lines = errors.read_text().splitlines()
    assert lines[-1] == STOPPED
    # The threads that hand batches over may still say that their other end is gone, each once.
    wrong = "KeyboardInterrupt", "Terminated", "BrokenProcessPool", "entres/"
    assert not any(word in line for line in lines[:-1] for word in wrong), "\n".join(lines)
    assert not list(tmp_path.glob("out/**/*.safetensors"))
    left = ["ps", "-o", "stat=,args=", "--sid", str(process.pid)]
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        listed = subprocess.run(left, capture_output=True, text=True, check=False).stdout
        # What is dead may wait for a process that collects it.
        alive = [line for line in listed.splitlines() if not line.startswith("Z")]
        if not alive:
            break
        time.sleep(0.1)
    assert not alive
    if verb == "fit":
        assert "going on from" in start_and_stop(words)


def start_and_stop(words: list[str]) -> str:
    """What a line prints until it has begun."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "entres", *words],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    process.terminate()
    process.communicate(timeout=60)
    return line
