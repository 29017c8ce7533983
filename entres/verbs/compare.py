"""The verb that compares any two evaluations image by image."""

from __future__ import annotations

from pathlib import Path

from entres import configs
from entres.files import write_whole
from entres.report.formats import FORMATS
from entres.report.students import student_names
from entres.report.tables.comparison import comparison
from entres.report.terminal import show_table
from entres.results import (
    ResultsError,
    Row,
    find_results,
    largest_of_each,
)

Rows = dict[str, Row]
"""One for each condition, by its label."""


def compare(a: str, b: str, to: str | None = None) -> None:
    """Compare two students, or two conditions, image by image: change of size and of accuracy.

    Each of the two is a folder, or a folder and a condition: `FOLDER:pgd_e 8/255 (strong)`. Without
    a condition all that both were measured under are compared, each with itself; a condition that
    is named once holds for both.

    Args:
        a: folder of an evaluation or of a student, with or without a condition.
        b: what is compared with it, likewise.
        to: file to write the table to, too: .csv, .md or .tex.

    Raises:
        ResultsError: if there is nothing to compare.
    """
    file = None if to is None else Path(to)
    if file is not None and file.suffix[1:] not in FORMATS:
        known = ", ".join(f".{suffix}" for suffix in FORMATS)
        raise ResultsError(f"a table is written as {known}: {to} is none of them")
    (folder_a, label_a), (folder_b, label_b) = _split(a), _split(b)
    rows_a, rows_b = _rows(folder_a), _rows(folder_b)
    if label_a is None and label_b is None:
        pairs = [(row, rows_b[label]) for label, row in rows_a.items() if label in rows_b]
        if not pairs:
            raise ResultsError(
                f"{folder_a} and {folder_b} have no condition in common: name one of each, as in "
                f"'{folder_a}:{next(iter(rows_a))}' '{folder_b}:{next(iter(rows_b))}'"
            )
    else:
        before = _row(rows_a, label_a or label_b or "", folder_a)
        pairs = [(before, _row(rows_b, label_b or before.label, folder_b))]
    if all(before == after and before.folder == after.folder for before, after in pairs):
        raise ResultsError("both are the same rows: name two folders, or two conditions")
    named = student_names([row for pair in pairs for row in pair])
    before, after = pairs[0]
    table = comparison(pairs, (named[before.whose], named[after.whose]))
    show_table(table)
    if file is not None:
        print(write_whole(file, FORMATS[file.suffix[1:]](table)))


def _split(text: str) -> tuple[Path, str | None]:
    """A folder and the label of a condition, if one is named."""
    folder, colon, label = text.rpartition(":")
    if Path(text).is_dir() or not colon:
        return Path(text), None
    return Path(folder), label.strip()


def _rows(folder: Path) -> Rows:
    """The conditions of one student that lie in a folder."""
    _, rows, unreadable, _ = find_results(folder)
    if not rows:
        also = "".join(f"; {sentence}" for sentence in unreadable)
        raise ResultsError(f"no results under {folder}: give the folder of an evaluation{also}")
    students = {(row.whose, row.images_of) for row in rows}
    if len(students) > 1:
        names = sorted({str(row.folder.parents[1]) for row in rows if row.folder is not None})
        raise ResultsError(
            f"{folder} holds results of several students: name the folder of one, such as "
            f"{names[0]}"
        )
    return largest_of_each(rows, lambda row: row.label)


def _row(rows: Rows, label: str, folder: Path) -> Row:
    """The row of a condition, whose label may be cut short where it stays the only one.

    Raises:
        ResultsError: if there is none, or several.
    """
    near = [known for known in rows if known.startswith(label)]
    if label in rows:
        return rows[label]
    if len(near) == 1:
        return rows[near[0]]
    if near:
        raise ResultsError(f"{label!r} may be any of these in {folder}: {', '.join(near)}")
    raise ResultsError(f"{folder}: {configs.unknown('condition', label, list(rows))}")
