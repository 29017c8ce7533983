"""What the tables share: whose rows, which of several, and how figures are written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from entres.report.formats import Number, Size, Value
from entres.results import Row, clean_reference, relative_change

Rows = Sequence[Row]

MEASURED = ("KiB", "against clean", "top-1", "images")
"""Columns of :func:`measured`."""


def by_student(rows: Rows) -> list[list[Row]]:
    """The rows of each student, students of one backbone and codec side by side."""
    order = in_order(rows)
    names = dict.fromkeys(row.student for row in order)
    return [[row for row in order if row.student == name] for name in names]


def in_order(rows: Rows) -> list[Row]:
    """By backbone, codec, beta and recipe; what these do not tell apart stays as it is."""
    return sorted(rows, key=lambda row: (row.backbone, row.codec, row.beta, row.recipe))


def largest(rows: Iterable[Row]) -> Row | None:
    """Of several evaluations of one condition the one of most images."""
    return max(rows, key=lambda row: row.images, default=None)


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
    return (size, percent(change), share(row.accuracy), count(row.images))


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


def share(fraction: float | None) -> Number | None:
    """``93.1%``."""
    return None if fraction is None else Number(fraction, ".1%")


def percent(change: float | None) -> Number | None:
    """A relative change: ``+12.3%``."""
    return None if change is None else Number(change, "+.1%")


def points(change: float | None) -> Number | None:
    """A difference in percentage points: ``-3.0``."""
    return None if change is None else Number(change, "+.1f")


def count(number: int) -> Number:
    """``50,000``."""
    return Number(number, ",d")
