"""Every student on clean images."""

from __future__ import annotations

from entres.report import paper
from entres.report.formats import Size, Table
from entres.report.tables.common import Rows, by_student, count, share
from entres.report.tables.hints import make_call
from entres.results import clean_reference


def clean(rows: Rows) -> Table:
    """Every student on clean images, the paper's size beside its student."""
    lines = []
    for of_student in by_student(rows):
        row = clean_reference(of_student)
        if row is None:
            continue
        published = paper.CLEAN.get(row.codec) if paper.is_its_student(row) else None
        lines.append(
            (
                row.student,
                Size(row.kib_mean, row.kib_std),
                share(row.accuracy),
                share(row.top5),
                share(row.teacher_accuracy),
                count(row.images),
                None if published is None else Size(published.kib, published.kib_std),
            )
        )
    header = ("student", "KiB", "top-1", "top-5", "teacher", "images", "paper KB")
    missing = [] if lines else [make_call("eval-clean", rows)]
    return Table("clean", "Clean images", header, lines, missing=missing, before_figures=True)
