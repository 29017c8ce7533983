"""Every student on clean images."""

from __future__ import annotations

from entres.report import paper
from entres.report.formats import Size, Table
from entres.report.students import by_student, student_names
from entres.report.tables.common import Rows, count, notes, share, size
from entres.report.tables.hints import calls
from entres.results import clean_reference


def clean(rows: Rows) -> Table:
    """Every student on clean images, the paper's size beside its student."""
    lines, shown = [], []
    names = student_names(rows)
    for of_student in by_student(rows):
        row = clean_reference(of_student)
        if row is None:
            continue
        shown.append(row)
        published = paper.CLEAN.get(row.codec) if paper.is_its_student(row) else None
        lines.append(
            (
                names[row.whose],
                size(row),
                share(row.accuracy, row),
                share(row.top5, row),
                share(row.teacher_accuracy, row),
                count(row.images),
                None if published is None else Size(published.kib, published.kib_std),
            )
        )
    header = ("student", "KiB", "top-1", "top-5", "teacher", "images", "paper KB")
    missing = [] if lines else calls("eval-clean", rows)
    title, note = "Clean images", notes(shown)
    return Table("clean", title, header, lines, note, missing, before_figures=True)
