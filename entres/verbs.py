"""The verbs of the command line that are not training; each is a function with typed arguments."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from entres.matrix import Matrix, MatrixError, read_matrix
from entres.matrix.engines import slurm_script, sweep_file
from entres.matrix.runner import Runner
from entres.matrix.stamps import write_plan
from entres.models import load_student
from entres.models.sc2bench import import_sc2bench
from entres.report.figures import write_figures
from entres.report.page import write_report
from entres.report.results import Row, read_summary
from entres.report.table import show_results


def results(out: str = "runs") -> None:
    """Print every result under a folder as one table.

    Args:
        out: folder of all runs, or one of them.

    Raises:
        SystemExit: if there is none.
    """
    files, rows = _results(out)
    show_results(sorted(rows, key=lambda r: (r.backbone, r.codec, r.beta, r.recipe)), files)


def figures(out: str = "runs", to: str | None = None) -> None:
    """Draw the paper's figures from every result under a folder, as PNG and PDF.

    Args:
        out: folder of all runs, or one of them.
        to: folder to write to; ``<out>/figures`` if None.

    Raises:
        SystemExit: if there are no results that any figure shows.
    """
    _, rows = _results(out)
    written = write_figures(rows, to or Path(out) / "figures")
    if not written:
        raise SystemExit(f"no figure shows the results under {out}: make eval-attacks writes some")
    print(*written, sep="\n")


def report(out: str = "runs", to: str | None = None) -> None:
    """Write tables (CSV, Markdown, LaTeX), figures (PNG, PDF) and one HTML page of all results.

    Args:
        out: folder of all runs; where it holds nothing, the page says what to run.
        to: folder to write to; ``<out>/report`` if None.
    """
    page, *others = write_report(out, to or Path(out) / "report")
    print(f"{len(others)} files of tables and figures, and {page}")


def _results(out: str) -> tuple[list[Path], list[Row]]:
    """Every file of results under a folder, and the rows in them."""
    files = sorted(Path(out).glob("**/eval/*/summary.json"))
    if not files:
        raise SystemExit(f"no results under {out}: make eval-clean writes some")
    return files, [row for file in files for row in read_summary(file)]


def export(student: str, to: str, tail: bool = True) -> None:
    """Write a student for sharing: convolutions in half precision, everything in one file.

    Args:
        student: file of a student.
        to: file to write, ending in .safetensors.
        tail: false leaves the tail out, for a distilled student: its tail is its teacher's.

    Raises:
        WeightsError: if there is no such student.
    """
    loaded, card = load_student(student)
    loaded.save(to, card, half=True, tail=tail)
    print(f"{card.name}: {Path(to).stat().st_size / 2**20:.1f} MiB in {to}")


def import_published(
    checkpoint: str,
    to: str | None = None,
    beta: float | None = None,
    backbone: str | None = None,
    out: str = "runs",
) -> None:
    """Turn a published sc2-benchmark student into one of ours; its streams stay the same.

    Args:
        checkpoint: a torch file, such as
            ilsvrc2012-splittable_resnet50-mshp-beta0.08_from_resnet50.pt.
        to: file to write, ending in .safetensors; in the student's folder under ``out`` if None.
        beta: weight of the rate in its training, where the file's name does not say it.
        backbone: timm name, where the tensors are of none of the published three.
        out: folder of all runs.

    Raises:
        WeightsError: if it is no such student.
    """
    student, card = import_sc2bench(checkpoint, beta, backbone)
    path = to or Path(out) / card.name / "student.safetensors"
    student.save(path, card)
    print(f"{card.name}: {path}")


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


VERBS: dict[str, Callable[..., None]] = {
    "results": results,
    "figures": figures,
    "report": report,
    "reproduce": reproduce,
    "export": export,
    "import-sc2bench": import_published,
}
