"""What the tables share: whose rows, which of several, and how figures are written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from entres.report.formats import Number, Share, Size, Value
from entres.results import Row, clean_reference, relative_change

Rows = Sequence[Row]

MEASURED = ("KiB", "against clean", "top-1", "images")
"""Columns of :func:`measured`."""
FEW = 100
"""Of fewer images an interval can be wider than ten points to each side."""


def measured(row: Row | None, of_student: Rows) -> tuple[Value, ...]:
    """The columns of :data:`MEASURED`; the change is against clean images of the same number.

    Args:
        row: a condition, or None where it was not measured.
        of_student: all rows of its student.
    """
    if row is None:
        return (None,) * len(MEASURED)
    reference = clean_reference(of_student, row.images)
    change = None if reference is None else relative_change(row.kib_mean, reference.kib_mean)
    size = Size(row.kib_mean, row.kib_std)
    return (size, percent(change), share(row.accuracy, row), count(row.images))


def changes(pairs: Iterable[tuple[Row | None, Row | None]]) -> list[tuple[float, float]]:
    """Relative change of the size, and top-1 in points, of those pairs that are whole."""
    return [
        (
            relative_change(after.kib_mean, before.kib_mean),
            100 * (after.accuracy - before.accuracy),
        )
        for before, after in pairs
        if before is not None and after is not None
    ]


def words(name: str) -> str:
    """A name of the results as a person writes it."""
    return {"pgd_e": "PGD-E", "pgd_acc": "PGD-Acc"}.get(name, name.replace("_", " "))


# --- figures --------------------------------------------------------------------------------------


def share(fraction: float | None, row: Row) -> Share | None:
    """A share of a row's images, with its interval."""
    return None if fraction is None else Share(fraction, row.images)


def notes(rows: Iterable[Row], *parts: str) -> str:
    """The note of a table with shares of images.

    Args:
        rows: those that it shows. Where they are of few images, it says how few.
        parts: what else there is to say.
    """
    rows = list(rows)
    brackets = "in brackets: 95% intervals (Wilson)" if rows else ""
    return "; ".join(filter(None, (*parts, brackets, few(rows))))


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
