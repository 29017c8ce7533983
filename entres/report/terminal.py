"""Tables in a terminal. What comes from a user is never read as markup."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import rich.table
from rich.console import Console
from rich.text import Text

from entres.report.attack_warnings import attack_warnings
from entres.report.corruptions import evaluations
from entres.report.formats import Number, Table, as_markdown, cells, left_columns
from entres.report.students import student_names
from entres.report.tables.corruptions import categories, severities
from entres.report.tables.curves import curves
from entres.report.tables.results import results
from entres.report.tables.seeds import seeds
from entres.results import SUMMARY, Row, largest_of_each


def show_table(table: Table, files: Sequence[Path] = ()) -> None:
    """Print a table, and where the files are that belong to it."""
    console = _console()
    _print(console, table)
    _print_lines(console, files)


def show_results(rows: Sequence[Row], files: Sequence[Path], warnings: Sequence[str] = ()) -> None:
    """Print a table of results, one of means over corruptions, and where the files are.

    Of a condition that several evaluations have, the row that counts is shown: see
    :attr:`Row.extent`.

    Args:
        rows: of any evaluations. Those that know no folder have just been measured: their images
            stand beside the one ``summary.json`` among the files.
        files: what is named below the tables.
        warnings: sentences on files that could not be read, and on what is not complete.
    """
    console = _console()
    rows = _with_folders(rows, files)
    each = largest_of_each(rows, lambda row: (row.whose, row.dataset, row.under))
    shown = list(each.values())
    table = results(shown)
    note = "; ".join(filter(None, (table.note, _left_out(len(rows) - len(shown)))))
    # Whose results they are says enough.
    _print(console, replace(table, title="", note=note))
    if evaluations(rows):
        # Millions of records take seconds to read: `entres corruptions` does.
        _print(console, replace(categories(rows, quick=True), title=""))
    for table in (curves(rows), seeds(rows, quick=True)):
        if table.rows:
            _print(console, table)
    lines = [*_attack_lines(rows, shown), *warnings]
    _print_lines(console, [*(f"! {line}" for line in lines), *files])


def _left_out(number: int) -> str:
    """The note on rows of conditions that others show."""
    if not number:
        return ""
    rows = "1 row" if number == 1 else f"{number:,} rows"
    return f"each condition once, of most images: {rows} left out (--out EVALUATION shows its own)"


def _attack_lines(rows: Sequence[Row], shown: Sequence[Row]) -> list[str]:
    """What looks broken about the attacks that are shown, once, and whose it is if not clear."""
    names = student_names(rows)
    numbers = {id(row) for row in shown}
    lines = [
        f"{names[row.whose]}, {row.label}: {sentence}"
        if len(names) > 1
        else f"{row.label}: {sentence}"
        for row, sentence in attack_warnings(rows)
        if id(row) in numbers
    ]
    return list(dict.fromkeys(lines))


def _with_folders(rows: Sequence[Row], files: Sequence[Path]) -> Sequence[Row]:
    """Rows that know where their images are: the same figures then have the same intervals."""
    folders = [file.parent for file in files if file.name == SUMMARY]
    if len(folders) != 1:
        return rows
    return [replace(row, folder=row.folder or folders[0]) for row in rows]


def show_corruptions(
    rows: Sequence[Row], markdown: bool = False, warnings: Sequence[str] = ()
) -> None:
    """Print every corruption and severity of each student, and the means.

    Args:
        rows: of any evaluations.
        markdown: whether to draw the tables in Markdown.
        warnings: sentences on files that could not be read, and on what is not complete.
    """
    console = _console()
    names = student_names(rows)
    for evaluation in evaluations(rows):
        for table in (
            severities(evaluation, gaps=False, names=names),
            categories(evaluation, names),
        ):
            if markdown:
                _print_lines(console, [as_markdown(table)])
            else:
                _print(console, table)
    _print_lines(console, [f"! {sentence}" for sentence in warnings])


def show_run(title: str, values: Mapping[str, Any], files: Sequence[Path]) -> None:
    """Print the last figures of a training run, and where the files are."""
    lines = [(name, Number(float(value), ".4g")) for name, value in values.items()]
    show_table(Table("run", title, ("figure", "value"), lines), files)


def _console() -> Console:
    # Where nobody looks (a pipe, a log), rich assumes 80 columns and folds the tables.
    console = Console()
    return console if console.is_terminal else Console(width=160)


def _print(console: Console, table: Table) -> None:
    shown = table.condensed()
    drawn = rich.table.Table(
        title=Text(shown.heading) if shown.heading else None,
        title_justify="left",
        caption=Text(shown.note) if shown.note else None,
        caption_justify="left",
    )
    for name, left in zip(shown.header, left_columns(shown), strict=True):
        drawn.add_column(Text(name), justify="left" if left else "right", overflow="fold")
    for line in cells(shown):
        drawn.add_row(*map(Text, line))
    console.print(drawn)


def _print_lines(console: Console, lines: Sequence[object]) -> None:
    for line in lines:
        # soft_wrap: a path that is broken over lines cannot be copied.
        console.print(str(line), soft_wrap=True, highlight=False, markup=False, emoji=False)
