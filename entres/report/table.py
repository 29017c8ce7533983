"""Short tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from entres.report import formats
from entres.report.corruptions import category_table, evaluations, severity_table
from entres.report.strongest import Strongest
from entres.results import Row

NOTHING = "-"
WHO = ("student", "data")


def results_table(rows: Sequence[Row]) -> Table:
    """Rows of results as a table; columns that no row needs are left out."""
    columns: dict[str, list[str]] = {
        "student": [row.student for row in rows],
        "data": [row.dataset for row in rows],
        "condition": [row.label for row in rows],
        "images": [str(row.images) for row in rows],
        "KiB": [f"{row.kib_mean:.2f} ± {row.kib_std:.2f}" for row in rows],
        "top-1": [_percent(row.accuracy) for row in rows],
        "top-5": [_percent(row.top5) for row in rows],
        "teacher": [_percent(row.teacher_accuracy) for row in rows],
    }
    if any(row.accuracy_present not in (None, row.accuracy) for row in rows):
        columns["top-1*"] = [_percent(row.accuracy_present) for row in rows]
        columns["teacher*"] = [_percent(row.teacher_accuracy_present) for row in rows]
    shown = {name: cells for name, cells in columns.items() if set(cells) != {NOTHING}}
    # What is the same in every row is said once, above.
    same = [cells[0] for name, cells in shown.items() if name in WHO and len(set(cells)) == 1]
    shown = {n: cells for n, cells in shown.items() if n not in WHO or len(set(cells)) > 1}
    table = Table(
        title=" · ".join(same) or None,
        title_justify="left",
        caption="* among the classes that occur" if "top-1*" in shown else None,
        caption_justify="left",
    )
    for name in shown:
        left = name in (*WHO, "condition")
        table.add_column(name, justify="left" if left else "right", overflow="fold")
    for cells in zip(*shown.values(), strict=True):
        table.add_row(*cells)
    return table


def _percent(value: float | None) -> str:
    return NOTHING if value is None else f"{100 * value:.1f}%"


def _console() -> Console:
    # Where nobody looks (a pipe, a log), rich assumes 80 columns and folds the tables.
    console = Console()
    return console if console.is_terminal else Console(width=120)


def show_results(rows: Sequence[Row], files: Sequence[Path]) -> None:
    """Print a table of results, one of means over corruptions, and where the files are."""
    console = _console()
    console.print(results_table(rows))
    for corrupted in evaluations(rows):
        console.print(category_table(corrupted))
    for row in rows:
        for sentence in row.extra.get("attack_warnings") or []:
            console.print(f"! {row.label}: {sentence}", highlight=False)
    _show_files(console, files)


def show_strongest(found: Sequence[Strongest]) -> None:
    """Print what the strongest attack on each image does."""
    table = Table(title="strongest per image", title_justify="left")
    for name in ("epsilon", "defense", "images", "attacks", "KiB", "top-1", "chosen"):
        table.add_column(name, overflow="fold")
    for row in found:
        table.add_row(
            f"{float(row.epsilon_255):g}/255",
            f"{row.defense} {row.strength}".strip() or NOTHING,
            str(row.images),
            str(row.ways),
            f"{row.kib_mean:.2f}",
            _percent(row.accuracy),
            ", ".join(f"{name}: {count}" for name, count in row.chosen.items()),
        )
    _console().print(table)


def show_maps(title: str, found: formats.Table) -> None:
    """Print the figures of maps, each with its interval."""
    table = Table(title=f"{title} · {found.title}", title_justify="left")
    for name, left in zip(found.header, formats.left_columns(found), strict=True):
        table.add_column(name, justify="left" if left else "right")
    for cells in formats.cells(found):
        table.add_row(*cells)
    _console().print(table)


def show_corruptions(rows: Sequence[Row], markdown: bool) -> None:
    """Print the table of every corruption and severity of each student, and the means."""
    console = _console()
    for corrupted in evaluations(rows):
        console.print(severity_table(corrupted, markdown))
        console.print(category_table(corrupted, markdown))


def show_run(title: str, values: Mapping[str, Any], files: Sequence[Path]) -> None:
    """Print the last figures of a training run, and where the files are."""
    console = _console()
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
