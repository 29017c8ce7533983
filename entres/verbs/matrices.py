"""Verbs that run a matrix of experiments."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from entres.experiment.engines import slurm_script, sweep_file
from entres.experiment.experiment import Experiment, options
from entres.experiment.matrix import Matrix, MatrixError, read_matrix
from entres.experiment.runner import Runner
from entres.experiment.stamps import write_plan


def reproduce(
    given: dict[str, Any],
    matrix: str | None = None,
    phase: str | None = None,
    cell: str | None = None,
    slurm: str | None = None,
    sweep: str | None = None,
    dry_run: bool = False,
) -> None:
    """Every table and figure of the paper, as a matrix of experiments.

    What is finished is not run again: the same command goes on where a killed one was.

    Args:
        given: options for every cell.
        matrix: name in configs/matrix, or a YAML of one's own (default: what suits the data).
        phase: only the cells of this phase.
        cell: only the cell of this name, and only if what it needs is finished.
        slurm: write an sbatch file there in place of running.
        sweep: write a W&B sweep there in place of running.
        dry_run: print every line that would run, what is finished, and how long it took elsewhere.

    Raises:
        SystemExit: if a cell failed.
    """
    _run(given, matrix, {}, phase, cell, slurm, sweep, dry_run)


def sweep(
    given: dict[str, Any],
    betas: str = "0.08,0.32",
    codecs: str = "fp,mshp",
    backbones: str | None = None,
    phase: str | None = None,
    cell: str | None = None,
    slurm: str | None = None,
    sweep: str | None = None,
    dry_run: bool = False,
) -> None:
    """Train and evaluate the students of betas x codecs x backbones.

    Args:
        given: options for every cell.
        betas: weights of the rate.
        codecs: entropy models.
        backbones: teachers (default: what suits the data).
        phase: only the cells of this phase.
        cell: only the cell of this name, and only if what it needs is finished.
        slurm: write an sbatch file there in place of running.
        sweep: write a W&B sweep there in place of running.
        dry_run: print every line that would run, what is finished, and how long it took elsewhere.

    Raises:
        SystemExit: if a cell failed.
    """
    single = Experiment.of(**{k: v for k, v in given.items() if k in ("data", "data_dir")})
    # A backbone given in the singular is a list of one.
    named = backbones or given.pop("backbone", None) or single.backbone
    over = {"beta": _words(betas), "codec": _words(codecs), "backbone": _words(named)}
    _run(given, "sweep", over, phase, cell, slurm, sweep, dry_run)


def _run(
    given: Mapping[str, Any],
    matrix: str | None,
    over: Mapping[str, list[str]],
    phase: str | None,
    cell: str | None,
    slurm: str | None,
    sweep: str | None,
    dry_run: bool,
) -> None:
    asked = Experiment.of(**{k: v for k, v in given.items() if k in ("data", "data_dir", "out")})
    name = matrix or asked.suits.matrix
    plan = read_matrix(name, {k: v for k, v in given.items() if k != "out"}, over)
    if phase is not None:
        plan = _only_phase(plan, phase)
    if slurm or sweep:
        command = _again(name, given, over)
        for file, write in ((slurm, slurm_script), (sweep, sweep_file)):
            if file:
                Path(file).write_text(write(plan, command, file))
                print(file)
        return
    # Logs and pipes are read while it runs.
    runner = Runner(plan, asked.out, lambda line: print(line, flush=True))
    if dry_run:
        print(*runner.plan(), sep="\n")
        return
    write_plan(asked.out, plan)
    done = runner.run() if cell is None else runner.run_one(cell)
    if not done:
        raise SystemExit(runner.stopped_by or 1)


def _only_phase(plan: Matrix, phase: str) -> Matrix:
    if phase not in plan.phases:
        there = ", ".join(plan.phases)
        raise MatrixError(f"matrix {plan.name} has no phase {phase!r}; there is: {there}")
    return replace(plan, cells=plan.phases[phase])


def _again(matrix: str, given: Mapping[str, Any], over: Mapping[str, list[str]]) -> list[str]:
    """The words that read the same matrix again, for engines that run its cells."""
    flags = [f"--{name}={_text(value)}" for name, value in given.items() if name in options()]
    words = [sys.executable, "-m", "entres", "sweep" if over else "reproduce", *flags]
    if over:
        return [*words, *(f"--{name}s={','.join(values)}" for name, values in over.items())]
    return [*words, f"--matrix={matrix}"]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else shlex.join(map(str, value))


def _words(text: str) -> list[str]:
    return text.strip("[]").replace(",", " ").split()
