"""Every row of results."""

from __future__ import annotations

from entres.report.formats import Table
from entres.report.students import in_order, student_names
from entres.report.tables.common import Rows, count, notes, share, size


def results(rows: Rows) -> Table:
    """Every condition of every student."""
    # A star marks what differs from top-1 only where a classifier knows classes that do not occur.
    starred = any(row.accuracy_present not in (None, row.accuracy) for row in rows)
    lines = []
    names = student_names(rows)
    for row in in_order(rows):
        star = (
            share(row.accuracy_present, row),
            share(row.teacher_accuracy_present, row),
        )
        lines.append(
            (
                names[row.whose],
                row.dataset,
                row.label,
                count(row.images),
                size(row),
                share(row.accuracy, row),
                share(row.top5, row),
                share(row.teacher_accuracy, row),
                *(star if starred else ()),
            )
        )
    header = ["student", "data", "condition", "images", "KiB", "top-1", "top-5", "teacher"]
    header += ["top-1*", "teacher*"] if starred else []
    note = notes(rows, "* among the classes that occur" if starred else "")
    return Table("results", "Every condition", header, lines, note, who=2)
