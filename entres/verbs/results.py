"""Verbs that read results: tables, figures, reports."""

from __future__ import annotations

from pathlib import Path

from entres.report import maps
from entres.report.claims.written import copy_findings
from entres.report.figures import write_figures
from entres.report.page import write_report
from entres.report.students import in_order
from entres.report.terminal import show_corruptions, show_results, show_table
from entres.results import Found, ResultsError, find_results


def results(out: str = "runs") -> None:
    """Print every condition that was measured under a folder as one table.

    Args:
        out: folder of all runs, of one run, or of one evaluation.

    Raises:
        ResultsError: if there is none.
    """
    found = _results(out)
    show_results(found.rows, found.files, [*found.unreadable, *found.partial])


def corruptions(out: str = "runs", markdown: bool = False) -> None:
    """Print size and accuracy under every corruption and severity, and their means.

    Args:
        out: folder of all runs, of one run, or of one evaluation.
        markdown: whether to draw the tables in Markdown.

    Raises:
        ResultsError: if there are none.
    """
    found = _results(out)
    if not any(row.corruption for row in found.rows):
        raise ResultsError(f"no results of corruptions under {out}: entres eval-corruptions")
    show_corruptions(found.rows, markdown, [*found.unreadable, *found.partial])


def figures(out: str = "runs", to: str | None = None) -> None:
    """Draw the paper's figures from every result under a folder, as PNG and PDF.

    Args:
        out: folder of all runs, of one run, or of one evaluation.
        to: folder to write to (default: figures in the folder that is read).

    Raises:
        ResultsError: if there are no results that any figure shows.
    """
    written = write_figures(_results(out).rows, to or Path(out) / "figures")
    if not written:
        raise ResultsError(
            f"no figure shows the results under {out}: entres eval-attacks writes some"
        )
    print(*written, sep="\n")


def draw_maps(folder: str) -> None:
    """Draw the maps that ``entres test --maps`` has left, and print their numbers.

    Args:
        folder: of the evaluation; ``bits.png`` and ``attacks.png`` are written there.

    Raises:
        ResultsError: if it holds no maps.
    """
    pictures = maps.draw_maps(folder)
    show_table(maps.numbers_table(Path(folder) / maps.NUMBERS), pictures)


def report(out: str = "runs", to: str | None = None, findings: str | None = None) -> None:
    """Write tables (CSV, Markdown, LaTeX), figures (PNG, PDF) and one HTML page of all results.

    Args:
        out: folder of all runs.
        to: folder to write to (default: report in the folder that is read).
        findings: a file to write the findings to as well, the pictures in ``figures`` beside it.

    Raises:
        ResultsError: if there are no results.
    """
    _results(out)
    folder = Path(to or Path(out) / "report")
    page, *others = write_report(out, folder)
    print(f"{len(others)} files of tables and figures, and {page}")
    if findings is not None:
        copied, *pictures = copy_findings(folder, Path(findings))
        print(f"{copied}, and {len(pictures)} pictures")


def _results(out: str) -> Found:
    """What lies under a folder, the rows student by student."""
    found = find_results(out)
    if not found.files:
        also = "".join(f"; {sentence}" for sentence in found.unreadable)
        raise ResultsError(f"no results under {out}: entres eval-clean writes some{also}")
    return found._replace(rows=in_order(found.rows))
