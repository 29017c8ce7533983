"""What a row is compared with: of the same evaluation where that has it.

Evaluations of one student may differ in their images and in much else; those of one do not.
"""

from __future__ import annotations

from collections.abc import Iterable

from entres.results import Row, clean_reference


def beside(rows: Iterable[Row], row: Row) -> list[Row]:
    """Those rows that are of the same evaluation as another; all of them where there are none."""
    everyone = list(rows)
    same = [other for other in everyone if row.folder is not None and other.folder == row.folder]
    return same or everyone


def clean_beside(rows: Iterable[Row], row: Row) -> Row | None:
    """The undefended clean row that another is compared with: of its own evaluation, else as
    :func:`entres.results.clean_reference` chooses.

    Args:
        rows: of one student.
        row: one of them.
    """
    clean = [r for r in rows if r.condition == "clean" and r.defense is None]
    return clean_reference(beside(clean, row), row.images)
