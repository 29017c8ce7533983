"""The verb that runs a matrix of conditions."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from pathlib import Path

from entres.matrix import Matrix, MatrixError, read_matrix
from entres.matrix.engines import slurm_script, sweep_file
from entres.matrix.runner import Runner
from entres.matrix.stamps import write_plan


def reproduce(
    matrix: str = "photos",
    out: str = "runs",
    make: str = "",
    over: str = "",
    phase: str | None = None,
    cell: str | None = None,
    dry_run: bool = False,
    slurm: str | None = None,
    sweep: str | None = None,
) -> None:
    """Run the cells of a matrix, each one call of ``make``; what is finished is not run again.

    Args:
        matrix: name of a file of configs/matrix, or a file of one's own.
        out: folder of all runs.
        make: variables of ``make`` for every cell, "DATA_DIR=/data/imagenet DEVICES=8"; a space
            inside of a value is written with a backslash.
        over: values in place of those that the matrix is expanded over: "BETA=0.08,0.32 CODEC=fp".
        phase: only the cells of this phase.
        cell: only the cell of this name, and only if what it needs is finished.
        dry_run: print what is finished and what would run, and how long it took elsewhere.
        slurm: write an sbatch file there in place of running.
        sweep: write a W&B sweep there in place of running.

    Raises:
        SystemExit: if the matrix cannot be read, or a cell failed.
    """
    try:
        axes = {name: values.split(",") for name, values in _assignments(over).items()}
        plan = read_matrix(matrix, _assignments(make), axes)
        if phase is not None:
            plan = _only_phase(plan, phase)
        command = _again(matrix, out, make, over)
        if slurm or sweep:
            for file, write in ((slurm, slurm_script), (sweep, sweep_file)):
                if file:
                    Path(file).write_text(write(plan, command, file))
                    print(file)
            return
        # Logs and pipes are read while it runs.
        runner = Runner(plan, out, lambda line: print(line, flush=True))
        if dry_run:
            print(*runner.plan(), sep="\n")
            return
        if not Path("Makefile").is_file():
            raise MatrixError(f"no Makefile in {Path.cwd()}: run this in the folder of the project")
        write_plan(out, plan)
        done = runner.run() if cell is None else runner.run_one(cell)
    except MatrixError as error:
        raise SystemExit(f"entres: {error}") from error
    if not done:
        raise SystemExit(1)


def _assignments(words: str) -> dict[str, str]:
    """``NAME=value`` words; quotes belong to the value, as in a makefile."""
    split = shlex.shlex(words, posix=True)
    split.whitespace_split, split.quotes, split.commenters = True, "", ""
    pairs = [word.partition("=") for word in split]
    if wrong := [name for name, equals, _ in pairs if not (equals and name.isidentifier())]:
        raise MatrixError(f"variables are written NAME=value, got {wrong[0]!r}")
    return {name: value for name, _, value in pairs}


def _only_phase(plan: Matrix, phase: str) -> Matrix:
    if phase not in plan.phases:
        there = ", ".join(plan.phases)
        raise MatrixError(f"matrix {plan.name} has no phase {phase!r}; there is: {there}")
    return replace(plan, cells=plan.phases[phase])


def _again(matrix: str, out: str, make: str, over: str) -> list[str]:
    """The words that read the same matrix again, for engines that run its cells."""
    words = [sys.executable, "-m", "entres", "reproduce", "--matrix", matrix, "--out", out]
    return words + ["--make", make] * bool(make) + ["--over", over] * bool(over)
