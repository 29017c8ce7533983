"""Runs steps, each in a process of its own, and the cells of a matrix one after another."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from entres.errors import EntresError
from entres.experiment.lines import Step
from entres.experiment.matrix import Cell, Matrix, MatrixError
from entres.experiment.stamps import (
    Stamp,
    duration,
    is_finished,
    log_path,
    machine,
    read_stamps,
    versions,
    write_stamp,
)

SWEEP_VARIABLES = ("WANDB_SWEEP_ID", "WANDB_RUN_ID", "WANDB_SWEEP_PARAM_PATH")
"""A sweep's agent names one run; a cell may train two stages, and each is a run of its own."""
FOREIGN = 128
"""A process that a signal ended has this and the signal's number as its exit code, in a shell."""
PATIENCE = 5.0
"""Seconds in which a process that Ctrl-C reached has ended or is tidying up."""

Say = Callable[[str], None]


def run_steps(steps: Sequence[Step], say: Say, **options: Any) -> int:
    """Run the steps that are needed, in order, until one fails.

    Each is a process of its own: a training gives its memory back, a kill ends one and not the
    rest, and Lightning's launcher may run the same line again in every rank.

    Args:
        steps: what to run.
        say: gets the line of each step before it runs.
        options: of the processes, see :class:`subprocess.Popen`.

    Returns:
        The exit code of the last one; 0 if all ended well.
    """
    for step in steps:
        if not step.is_needed:
            continue
        say(f"$ {step.line}")
        if code := _run([sys.executable, "-m", "entres", *step.words], options):
            return code
    return 0


def _run(command: Sequence[str], options: dict[str, Any]) -> int:
    """Run a process; a signal to end this one ends that one, which has something to tidy up.

    Returns:
        Its exit code, that of a signal as a shell gives it; of one that came while it ran, even if
        it ended well: nothing else is to be begun.
    """
    came: list[int] = []
    process: subprocess.Popen[bytes] | None = None

    def hand_on(number: int, frame: object) -> None:
        came.append(number)
        if process is not None:
            process.send_signal(number)

    before = signal.getsignal(signal.SIGTERM)
    with suppress(ValueError):  # not in the main thread
        signal.signal(signal.SIGTERM, hand_on)
    try:
        process = subprocess.Popen(command, **options)
        if came:  # before there was a process
            process.send_signal(came[0])
        patience: float | None = None
        while True:
            try:
                code = process.wait(patience)
                break
            except KeyboardInterrupt:
                # A terminal sends it to that process too, `kill` to this one alone.
                came.append(signal.SIGINT)
                patience = PATIENCE
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGINT)
                patience = None
    finally:
        if signal.getsignal(signal.SIGTERM) is hand_on:
            signal.signal(signal.SIGTERM, before)
    if came:
        return FOREIGN + came[0]
    return code if code >= 0 else FOREIGN - code


class Runner:
    """Runs the cells of a matrix that are not finished.

    A finished cell has a stamp, which is written when its call has ended well and never before. So
    a killed runner goes on at the cell where it was; what the cell's call does with what is half
    done is its own affair (training goes on from its last checkpoint).

    Args:
        matrix: the cells.
        out: folder of all runs.
        say: where lines of progress go.
    """

    def __init__(self, matrix: Matrix, out: str | Path, say: Say = print) -> None:
        self.matrix = matrix
        self.out = Path(out)
        self.say = say
        self.stamps = read_stamps(out)
        self.failed: dict[str, str] = {}
        self.stopped_by = 0
        """Exit code of a cell that a signal ended, and this runner with it."""

    def finished(self, cell: Cell) -> bool:
        """Whether a cell is done, and was asked for as it is now."""
        return is_finished(cell, self.stamps)

    # --- all of them ------------------------------------------------------------------------------

    def run(self) -> bool:
        """Run what is not finished, in order.

        Returns:
            Whether every cell is finished now. Those that are not were reported.
        """
        cells = self.matrix.cells
        self.say(f"{len(cells)} cells, {sum(map(self.finished, cells))} of them finished before")
        started = time.monotonic()
        for number, cell in enumerate(cells, 1):
            if self.finished(cell):
                continue
            place = f"[{number}/{len(cells)}] {cell.name}"
            if lacking := [name for name in cell.needs if name in self.failed]:
                self.failed[cell.name] = f"not run: {lacking[0]}, which it needs, failed"
                self.say(f"{place}: {self.failed[cell.name]}")
                continue
            if cell.name in self.stamps:
                self.say(f"{place}: it was asked for otherwise when it was finished")
            self.say(f"{place}: {cell.line(self.out)}")
            seconds = self.run_cell(cell)
            how = "stopped" if self.stopped_by else "failed"
            ended = f"{how} after {duration(seconds)}"
            if cell.name not in self.failed:
                ended = f"done in {duration(seconds)}"
            so_far = f"{duration(time.monotonic() - started)} so far"
            self.say(f"{place}: {ended}, {so_far}{self._rest(cells[number:])}")
            if self.stopped_by:
                self.say("stopped; the same command goes on here")
                return False
        self._report_failures()
        return not self.failed

    def run_cell(self, cell: Cell) -> float:
        """Run one cell; stamp it if it ends well, else note why in ``failed``.

        Returns:
            The seconds that it took.
        """
        path = log_path(self.out, cell.name)
        with _locked(path, self.say) as lock, path.open("a") as log:
            # Another runner may have finished it while this one waited.
            self.stamps |= read_stamps(self.out)
            if self.finished(cell):
                return 0.0
            try:
                steps = [step for step in cell.steps(self.out) if step.is_needed]
                # Of the files as they are now: they may be edited while it runs.
                identity = cell.identity
            except EntresError as error:
                self.failed[cell.name] = str(error)
                return 0.0
            log.seek(0, os.SEEK_END)
            begun, started = log.tell(), time.monotonic()
            code = run_steps(
                steps,
                lambda line: print(line, file=log, flush=True),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=_environment(),
                pass_fds=[lock],
            )
            seconds = time.monotonic() - started
        if code:
            with path.open("rb") as file:
                file.seek(begun)
                last = _last_line(file.read().decode(errors="replace"))
            self.failed[cell.name] = f"exit code {code}, {path}: {last}"
            if code in (FOREIGN + signal.SIGINT, FOREIGN + signal.SIGTERM):
                self.stopped_by = code
            return seconds
        self.stamps[cell.name] = Stamp(
            cell.name,
            identity,
            [step.line for step in steps],
            round(seconds, 1),
            datetime.now(timezone.utc).isoformat(timespec="seconds"),
            machine(),
            versions(),
        )
        write_stamp(self.out, self.stamps[cell.name])
        return seconds

    def run_one(self, name: str) -> bool:
        """Run the cell of a name, as an engine that hands out cells does.

        Raises:
            MatrixError: if there is no such cell, or what it needs is not finished.
        """
        cell = self.matrix.cell(name)
        cells = {other.name: other for other in self.matrix.cells}
        if lacking := [need for need in cell.needs if not self.finished(cells[need])]:
            raise MatrixError(f"{name} needs {', '.join(lacking)}: run that first")
        narrowed = replace(self.matrix, cells=[replace(cell, needs=())])
        runner = Runner(narrowed, self.out, self.say)
        done = runner.run()
        self.stopped_by = runner.stopped_by
        return done

    # --- what would run ---------------------------------------------------------------------------

    def plan(self) -> Iterator[str]:
        """What is finished, and every line that would run; all else is a comment of the shell."""
        made: set[Path] = set()
        for cell in self.matrix.cells:
            stamp, elsewhere = self.stamps.get(cell.name), self.matrix.seconds.get(cell.name)
            if stamp is not None and self.finished(cell):
                yield f"# finished  {cell.name}: {duration(stamp.seconds)} on {stamp.finished}"
                continue
            took = "" if elsewhere is None else f" ({duration(elsewhere)} elsewhere)"
            state = "would run" if stamp is None else "changed  "
            yield f"# {state} {cell.name}{took}"
            for step in cell.steps(self.out):
                if step.is_needed and not (step.if_missing and step.makes in made):
                    yield step.line
                if step.makes is not None:
                    made.add(step.makes)
        todo = [cell for cell in self.matrix.cells if not self.finished(cell)]
        yield f"# {len(todo)} of {len(self.matrix.cells)} cells would run{self._rest(todo)}"
        if self.matrix.machine:
            yield f"# elsewhere: {self.matrix.machine}"

    def _rest(self, cells: Sequence[Cell]) -> str:
        """About how long the rest takes, judged by what is known of it."""
        known = self.matrix.seconds
        todo = [cell.name for cell in cells if not self.finished(cell)]
        rest = sum(known[name] for name in todo if name in known)
        if not rest:
            return ""
        here = {n: s.seconds for n, s in self.stamps.items() if n in known}
        elsewhere = sum(known[name] for name in here)
        pace = sum(here.values()) / elsewhere if elsewhere else 1.0
        unknown = sum(name not in known for name in todo)
        also = f" and {unknown} cells of unknown length" if unknown else ""
        return f", about {duration(rest * pace)}{also} to go"

    def _report_failures(self) -> None:
        if self.failed:
            self.say(f"{len(self.failed)} of {len(self.matrix.cells)} cells are not finished:")
            for name, why in self.failed.items():
                self.say(f"  {name}: {why}")


@contextmanager
def _locked(path: Path, say: Say) -> Iterator[int]:
    """A lock beside the log of a cell, held for as long as its call lives.

    The call inherits it, and outlives a runner that was killed: two of one cell would train the
    same student into the same folder, so the second waits. Worker processes of the call do not
    inherit it: they may outlive a call that was killed.
    """
    import fcntl  # not on Windows, where the rest of the package works

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f"{path.name}.lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"{path.stem} is still running from another call: waiting until that ends")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


def _environment() -> dict[str, str]:
    """The environment of a cell."""
    return {name: value for name, value in os.environ.items() if name not in SWEEP_VARIABLES}


def _last_line(text: str) -> str:
    """The last line that says something."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return (lines or ["it said nothing"])[-1]
