"""Short tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from entres.report.results import Row


def condition_label(row: Row) -> str:
    """A condition in a few words: ``pgd_e 4/255 (strong)``."""
    parts: list[str] = [row.corruption or row.condition]
    if row.severity is not None:
        parts.append(f"severity {row.severity}")
    if row.epsilon_255 is not None:
        parts.append(f"{row.epsilon_255:g}/255")
    if row.preset is not None:
        parts.append(f"({row.preset})")
    if row.defense is not None:
        parts.append(f"+ {row.defense}")
    return " ".join(parts)


def results_table(rows: Sequence[Row]) -> Table:
    """Rows of results as a table."""
    table = Table(title=None, title_justify="left")
    table.add_column("student", overflow="fold")
    table.add_column("data")
    table.add_column("condition")
    for name in ("images", "KiB", "top-1 %", "top-5 %"):
        table.add_column(name, justify="right")
    partial = any(_differs(row) for row in rows)
    if partial:
        table.add_column("top-1 %, present classes", justify="right")
    for row in rows:
        kib = "-" if row.kib_mean is None else f"{row.kib_mean:.2f} ± {row.kib_std:.2f}"
        cells = [row.student, row.dataset, condition_label(row), str(row.images), kib]
        cells += [_percent(row.accuracy), _percent(row.top5)]
        table.add_row(*cells, *([_percent(row.accuracy_present)] if partial else []))
    return table


def _differs(row: Row) -> bool:
    return row.accuracy_present is not None and row.accuracy_present != row.accuracy


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def show_results(rows: Sequence[Row], files: Sequence[Path]) -> None:
    """Print a table of results, and where the files are."""
    console = Console()
    console.print(results_table(rows))
    _show_files(console, files)


def show_run(title: str, values: Mapping[str, Any], files: Sequence[Path]) -> None:
    """Print the last figures of a training run, and where the files are."""
    console = Console()
    table = Table(title=title, title_justify="left")
    table.add_column("figure")
    table.add_column("value", justify="right")
    for name, value in values.items():
        table.add_row(name, f"{float(value):.4g}")
    console.print(table)
    _show_files(console, files)


def _show_files(console: Console, files: Sequence[Path]) -> None:
    for path in files:
        # soft_wrap: a path that is broken over lines cannot be copied.
        console.print(str(path), soft_wrap=True, highlight=False)
