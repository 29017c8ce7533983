"""What the paper says of its Figures 3a, 4a and 4b, and what is so here."""

from __future__ import annotations

from statistics import fmean

from entres.report import paper
from entres.report.formats import Number, Table, Value
from entres.report.tables.common import (
    Rows,
    by_student,
    changes,
    largest,
    percent,
    points,
    words,
)
from entres.report.tables.hints import make_call
from entres.results import Row, clean_reference, is_plain

Line = tuple[Value, ...]
HEADER = ("figure", "what", "size", "top-1, points", "students", "paper size", "paper top-1")


def findings(rows: Rows) -> Table:
    """What the paper reads from its figures, beside the means over the students here."""
    plain = [row for row in rows if is_plain(row)]
    under_corruptions, missing = _of_corruptions(plain, rows)
    under_attacks, missing_attacks = _of_attacks(plain, rows)
    return Table(
        "findings",
        "What the paper reads from Figures 3a, 4a and 4b",
        HEADER,
        [*under_corruptions, *under_attacks],
        "Means over the students that were measured; the paper's are over its networks or betas.",
        list(dict.fromkeys([*missing, *missing_attacks])),
        before_figures=True,
    )


def _of_corruptions(plain: Rows, rows: Rows) -> tuple[list[Line], list[str]]:
    lines, missing = [], []
    for name, published in paper.FIG3A.items():
        pairs: list[tuple[Row | None, Row | None]] = []
        for of_student in by_student(plain):
            severe = largest(r for r in of_student if (r.corruption, r.severity) == (name, 5))
            if severe is not None:
                pairs.append((clean_reference(of_student, severe.images), severe))
        what = f"{words(name)}, severity 5, against clean"
        lines.append(_line("Fig. 3a", what, changes(pairs), published))
        if not changes(pairs):
            missing.append(make_call("eval-corruptions", rows, SEVERITIES="5"))
    return lines, missing


def _of_attacks(plain: Rows, rows: Rows) -> tuple[list[Line], list[str]]:
    lines, missing = [], []
    claims = [
        *(("Fig. 4a", 4, "mshp", attack, change) for attack, change in paper.FIG4A.items()),
        *(("Fig. 4b", 8, codec, attack, change) for (codec, attack), change in paper.FIG4B.items()),
    ]
    for preset in sorted({row.preset for row in plain if row.preset}) or ["strong"]:
        for figure, epsilon, codec, attack, published in claims:
            pairs = [
                (
                    _attacked(of_student, "noise", epsilon),
                    _attacked([r for r in of_student if r.preset == preset], attack, epsilon),
                )
                for of_student in by_student(plain)
                if codec == of_student[0].codec
            ]
            what = f"{words(attack)} ({preset}), {epsilon}/255, against random noise, {codec}"
            lines.append(_line(figure, what, changes(pairs), published))
            if not changes(pairs):
                missing.append(make_call("eval-attacks", rows, CODEC=codec, PRESET=preset))
    return lines, missing


def _line(
    figure: str, what: str, measured: list[tuple[float, float]], published: paper.Change
) -> Line:
    sizes, accuracies = zip(*measured, strict=True) if measured else ((), ())
    return (
        figure,
        what,
        percent(fmean(sizes) if sizes else None),
        points(fmean(accuracies) if accuracies else None),
        Number(len(measured), "d"),
        percent(round(published.kib / 100, 6)),
        points(published.accuracy),
    )


def _attacked(rows: Rows, condition: str, epsilon: float) -> Row | None:
    return largest(r for r in rows if (r.condition, r.epsilon_255) == (condition, epsilon))
