"""What the tables share: whose rows, which of several, and how figures are written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean

from entres.report.formats import Change, Effect, Number, Share, Size, Value
from entres.report.paired import POINTS, SIZE, Comparison, Pair, compare
from entres.report.records import size_interval
from entres.results import ResultsError, Row, clean_beside, is_papers_norm, relative_change

Rows = Sequence[Row]

MEASURED = ("KiB", "against clean", "top-1", "images")
"""Columns of :func:`measured`."""
FEW = 100
"""Of fewer images an interval can be wider than ten points to each side."""


def measured(row: Row | None, of_student: Rows) -> tuple[Value, ...]:
    """The columns of :data:`MEASURED`; the change is against clean images of the same
    evaluation, else of the same number.

    Args:
        row: a condition, or None where it was not measured.
        of_student: all rows of its student.
    """
    if row is None:
        return (None,) * len(MEASURED)
    reference = clean_beside(of_student, row)
    change = None if reference is None else changes([(reference, row)])[0]
    return (size(row), change, share(row.accuracy, row), count(row.images))


def changes(pairs: Sequence[Pair]) -> tuple[Change | Number, Change | Number]:
    """Change of the size, and of top-1 in points; see :func:`compared`."""
    found = compared(pairs)
    return found.size, found.accuracy


def compared(pairs: Sequence[Pair]) -> Comparison:
    """What changes from one row to another; of several pairs the mean.

    Image by image where their records are there, else from the means alone and without intervals.
    """
    try:
        return compare(pairs)
    except ResultsError:
        return Comparison(
            min(row.images for pair in pairs for row in pair),
            0,
            Number(fmean(relative_change(b.kib_mean, a.kib_mean) for a, b in pairs), SIZE),
            Number(fmean(100 * (b.accuracy - a.accuracy) for a, b in pairs), POINTS),
        )


def ball(epsilon_255: float, norm: str | None) -> str:
    """The radius of an attack, and its norm unless that is the paper's: ``8/255 l2``."""
    return f"{epsilon_255:g}/255" + ("" if is_papers_norm(norm) else f" {norm}")


def words(name: str) -> str:
    """A name of the results as a person writes it."""
    for plain, shown in (("pgd_e", "PGD-E"), ("pgd_acc", "PGD-Acc")):
        if f"{name}_".startswith(f"{plain}_"):
            name = name.replace(plain, shown, 1)
    return name.replace("_", " ")


# --- figures --------------------------------------------------------------------------------------


def share(fraction: float | None, row: Row) -> Share | None:
    """A share of a row's images, with its interval."""
    return None if fraction is None else Share(fraction, row.images)


def size(row: Row) -> Size:
    """The mean size of a row's images, with its interval."""
    return Size(row.kib_mean, row.kib_std, size_interval(row))


def notes(rows: Iterable[Row], *parts: str, lines: Iterable[Sequence[Value]] = ()) -> str:
    """The note of a table with figures of images.

    Args:
        rows: those that it shows. Where they are of few images, it says how few.
        parts: what else there is to say.
        lines: of the table, where it has changes.
    """
    rows = list(rows)
    brackets = "in brackets: 95% intervals over images" if rows else ""
    return "; ".join(filter(None, (*parts, brackets, paired(lines), few(rows))))


def paired(lines: Iterable[Sequence[Value]]) -> str:
    """How the changes in a table were found, where it has any."""
    cells = [cell.change if isinstance(cell, Effect) else cell for line in lines for cell in line]
    found = [cell for cell in cells if isinstance(cell, Change)]
    if not found:
        return ""
    alone = max(change.alone for change in found)
    left_out = f" (up to {alone:,} that one of two rows has alone are left out)" if alone else ""
    return f"changes are paired by image{left_out}"


def few(rows: Iterable[Row]) -> str:
    """How few images there are, where they are few."""
    counts = [row.images for row in rows]
    if not counts or min(counts) >= FEW:
        return ""
    fewest, most = min(counts), max(counts)
    return f"few images: {fewest}" if fewest == most else f"few images: {fewest} to {most:,}"


def percent(change: float | None) -> Number | None:
    """A relative change: ``+12.3%``."""
    return None if change is None else Number(change, "+.1%")


def points(change: float | None) -> Number | None:
    """A difference in percentage points: ``-3.0``."""
    return None if change is None else Number(change, "+.1f")


def count(number: int) -> Number:
    """``50,000``."""
    return Number(number, ",d")
