"""Verbs that read results: tables, figures, reports."""

from __future__ import annotations

from pathlib import Path

from entres.report import maps
from entres.report.figures import write_figures
from entres.report.page import write_report
from entres.report.tables.common import in_order
from entres.report.terminal import show_corruptions, show_results, show_table
from entres.results import ResultsError, Row, find_results


def results(out: str = "runs") -> None:
    """Print every result under a folder as one table.

    Args:
        out: folder of all runs, or one of them.

    Raises:
        ResultsError: if there is none.
    """
    show_results(*_results(out))


def corruptions(out: str = "runs", markdown: bool = False) -> None:
    """Print size and accuracy under every corruption and severity, and their means.

    Args:
        out: folder of all runs, or one of them.
        markdown: whether to draw the tables in Markdown.

    Raises:
        ResultsError: if there are none.
    """
    rows, _, unreadable = _results(out)
    if not any(row.corruption for row in rows):
        raise ResultsError(f"no results of corruptions under {out}: entres eval-corruptions")
    show_corruptions(rows, markdown, unreadable)


def figures(out: str = "runs", to: str | None = None) -> None:
    """Draw the paper's figures from every result under a folder, as PNG and PDF.

    Args:
        out: folder of all runs, or one of them.
        to: folder to write to; ``<out>/figures`` if None.

    Raises:
        ResultsError: if there are no results that any figure shows.
    """
    rows, *_ = _results(out)
    written = write_figures(rows, to or Path(out) / "figures")
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


def report(out: str = "runs", to: str | None = None) -> None:
    """Write tables (CSV, Markdown, LaTeX), figures (PNG, PDF) and one HTML page of all results.

    Args:
        out: folder of all runs.
        to: folder to write to; ``<out>/report`` if None.

    Raises:
        ResultsError: if there are no results.
    """
    _results(out)
    page, *others = write_report(out, to or Path(out) / "report")
    print(f"{len(others)} files of tables and figures, and {page}")


def _results(out: str) -> tuple[list[Row], list[Path], list[str]]:
    """The rows under a folder student by student, their files, and sentences on damaged ones."""
    files, rows, unreadable = find_results(out)
    if not files:
        also = "".join(f"; {sentence}" for sentence in unreadable)
        raise ResultsError(f"no results under {out}: entres eval-clean writes some{also}")
    return in_order(rows), files, unreadable
