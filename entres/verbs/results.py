"""Verbs that read results: tables, figures, reports."""

from __future__ import annotations

from pathlib import Path

from entres.report.figures import write_figures
from entres.report.page import write_report
from entres.report.table import show_corruptions, show_results
from entres.results import Row, find_results


def results(out: str = "runs") -> None:
    """Print every result under a folder as one table.

    Args:
        out: folder of all runs, or one of them.

    Raises:
        SystemExit: if there is none.
    """
    files, rows = _results(out)
    show_results(rows, files)


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
    show_corruptions(rows, markdown)


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
    """Every file of results under a folder, and the rows in them, student by student."""
    files, rows, _ = find_results(out)
    if not files:
        raise SystemExit(f"no results under {out}: make eval-clean writes some")
    return files, sorted(rows, key=lambda r: (r.backbone, r.codec, r.beta, r.recipe))
