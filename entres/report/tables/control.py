"""What the same images cost as JPEG and WebP."""

from __future__ import annotations

from entres.report.bootstrap import change_interval
from entres.report.formats import Change, Number, Table, Value
from entres.report.paired import SIZE
from entres.report.records import column_of
from entres.report.students import by_student, student_names
from entres.report.tables.common import Rows, changes, count, notes
from entres.results import ResultsError, Row, relative_change

FORMATS = {"jpeg": "JPEG", "webp": "WebP"}


def control(rows: Rows) -> Table:
    """Every undefended condition: the change of the stream, and those of files of equal clean size.

    Image by image against the clean ones of the same evaluation, whose quality is the same.
    """
    lines: list[tuple[Value, ...]] = []
    shown: list[Row] = []
    names = student_names(rows)
    for student in by_student(rows):
        measured = [row for row in student if "jpeg_kib_mean" in row.extra and row.defense is None]
        clean = {row.folder: row for row in measured if row.condition == "clean"}
        for row in measured:
            reference = clean.get(row.folder)
            if reference is None or row.condition == "clean":
                continue
            shown.append(row)
            stream, _ = changes([(reference, row)])
            files = [file_change(reference, row, name) for name in FORMATS]
            qualities = [Number(row.extra[f"{name}_quality"], "d") for name in FORMATS]
            who = (names[row.whose], row.label, count(row.images))
            lines.append((*who, stream, *files, *qualities))
    qualified = [f"{name} quality" for name in FORMATS.values()]
    header = ("student", "condition", "images", "stream", *FORMATS.values(), *qualified)
    said = (
        "files of JPEG and WebP (Pillow) at the quality whose clean mean is nearest the student's"
    )
    note = notes(shown, said, lines=lines) if lines else ""
    title = "Streams beside JPEG and WebP: change of the size against clean images"
    return Table("control", title, header, lines, note, who=1)


def file_change(before: Row, after: Row, name: str) -> Change | Number:
    """Change of the mean size of files of a format; both rows must have been measured with it.

    Args:
        before: clean images.
        after: the same images under a condition, in the same evaluation.
        name: a key of :data:`FORMATS`.
    """
    key = f"{name}_kib_mean"
    value = relative_change(after.extra[key], before.extra[key])
    try:
        sizes = [column_of(row, f"{name}_bytes") for row in (before, after)]
    except ResultsError:
        return Number(value, SIZE)
    interval = change_interval(sizes[0][None], sizes[1][None])
    return Number(value, SIZE) if interval is None else Change(value, interval, SIZE)
