"""The verbs of the command line that are not training; each is a function with typed arguments."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from entres.models import load_student
from entres.models.sc2bench import import_sc2bench
from entres.report.figures import write_figures
from entres.report.results import Row, read_summary
from entres.report.table import show_corruptions, show_results


def results(out: str = "runs") -> None:
    """Print every result under a folder as one table.

    Args:
        out: folder of all runs, or one of them.

    Raises:
        SystemExit: if there is none.
    """
    files, rows = _results(out)
    show_results(sorted(rows, key=lambda r: (r.backbone, r.codec, r.beta, r.recipe)), files)


def corruptions(out: str = "runs", markdown: bool = False) -> None:
    """Print size and accuracy under every corruption and severity, and their means.

    Args:
        out: folder of all runs, or one of them.
        markdown: whether to draw the tables in Markdown.

    Raises:
        SystemExit: if there are none.
    """
    _, rows = _results(out)
    if not any(row.corruption for row in rows):
        raise SystemExit(f"no results of corruptions under {out}: make eval-corruptions")
    show_corruptions(sorted(rows, key=lambda r: (r.backbone, r.codec, r.beta, r.recipe)), markdown)


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


VERBS: dict[str, Callable[..., None]] = {
    "results": results,
    "corruptions": corruptions,
    "figures": figures,
    "export": export,
    "import-sc2bench": import_published,
}
