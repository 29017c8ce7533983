"""Tables 2, 3 and 4 of the paper, its numbers beside those that were measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from entres.report import paper
from entres.report.formats import Number, Size, Table, Value
from entres.report.students import by_student, student_names
from entres.report.tables.common import (
    MEASURED,
    Rows,
    measured,
    notes,
    words,
)
from entres.report.tables.hints import calls
from entres.results import Row, is_of_papers_attacks, is_unaware, largest

PUBLISHED = ("paper KB", "paper top-1")
EPSILONS = (2, 4, 8, 16)
BEFORE, AFTER = "before", "after"
"""Without a defense, and behind one: the two halves of the paper's Tables 3 and 4."""


def table2(rows: Rows) -> Table:
    """Both priors under four corruptions of severity 1."""
    lines: list[Sequence[Value]] = []
    missing: list[str] = []
    shown: list[Row | None] = []
    names = student_names(rows)
    everyone = by_student(rows)
    # Who was not asked at all is no gap in the table, if somebody else was.
    asked = [of_student for of_student in everyone if any(r.severity == 1 for r in of_student)]
    for of_student in asked or everyone or [[]]:
        for (codec, name), published in paper.TABLE2.items():
            if of_student and of_student[0].codec != codec:
                continue
            row = largest(
                r for r in of_student if (r.corruption, r.severity, r.defense) == (name, 1, None)
            )
            if row is None:
                missing += calls(
                    "eval-corruptions", of_student or rows, codec=codec, severities="1"
                )
            shown.append(row)
            who = names[of_student[0].whose] if of_student else codec
            lines.append((who, words(name), *measured(row, of_student), *_published(published)))
    title = "Corruptions of severity 1 (Table 2)"
    return _compared("table2", title, "corruption", lines, missing, shown)


def table3(rows: Rows) -> Table:
    """PGD-E over epsilon, before and after each defense."""
    keys = [("pgd_e", epsilon) for epsilon in EPSILONS]
    return _defended(rows, "table3", "PGD-E before and after the defense (Table 3)", keys)


def table4(rows: Rows) -> Table:
    """The adaptive attacks, before and after each defense."""
    keys = [("low_frequency", 4), ("regional", 4)]
    return _defended(rows, "table4", "Adaptive attacks of 4/255 (Table 4)", keys)


def _defended(rows: Rows, name: str, title: str, keys: Sequence[tuple[str, int]]) -> Table:
    """Conditions and epsilons (``keys``) before and after each defense that was measured."""
    lines: list[Sequence[Value]] = []
    missing: list[str] = []
    shown: list[Row | None] = []
    names = student_names(rows)
    published = {("pgd_e", epsilon, when): p for (epsilon, when), p in paper.TABLE3.items()}
    published |= {(attack, 4, when): p for (attack, when), p in paper.TABLE4.items()}
    conditions = list(dict.fromkeys(condition for condition, _ in keys))
    epsilons = list(dict.fromkeys(epsilon for _, epsilon in keys))
    asked = {"attack": conditions, "epsilons": epsilons}
    attacked = [
        row
        for row in rows
        if row.condition in conditions
        and is_of_papers_attacks(row)
        # An attack that knows the defense is something else.
        and is_unaware(row)
    ]
    defended = {row.whose for row in attacked if row.defense}
    everyone = [group for group in by_student(rows) if group[0].whose in defended]
    for of_student in everyone or [[]]:
        of_attacks = [row for row in attacked if row in of_student]
        for preset in sorted({row.preset or "" for row in of_attacks}) or [""]:
            of_preset = [row for row in of_attacks if (row.preset or "") == preset]
            # What stands for "before" has no label of a defense.
            defenses: dict[str, str | None] = {BEFORE: None}
            labels = sorted({row.defense_label for row in of_preset if row.defense_label})
            defenses |= {label: label for label in labels or [AFTER]}
            for condition, epsilon in keys:
                for when, label in defenses.items():
                    row = largest(
                        r
                        for r in of_preset
                        if (r.condition, r.epsilon_255) == (condition, epsilon)
                        and r.defense_label == label
                    )
                    shown.append(row)
                    half = BEFORE if when == BEFORE else AFTER
                    what = f"{words(condition)} {epsilon}/255" + (f", {preset}" if preset else "")
                    lines.append(
                        (
                            names[of_student[0].whose] if of_student else "",
                            f"{what}: {when}",
                            *measured(row, of_student),
                            *_published(published[condition, epsilon, half]),
                        )
                    )
                    if row is None:
                        # The paper defends the mean-scale hyperprior.
                        whose = of_student or [r for r in rows if r.codec == "mshp"] or rows
                        missing += calls("eval-defense", whose, **asked)
    return _compared(name, title, "attack: defense", lines, missing, shown)


def _compared(
    name: str,
    title: str,
    what: str,
    lines: Sequence[Sequence[Value]],
    missing: Iterable[str],
    shown: Iterable[Row | None],
) -> Table:
    rows = [row for row in shown if row is not None]
    note = notes(rows, "the paper: ImageNet, ResNet-50, beta 0.08", lines=lines)
    header = ("student", what, *MEASURED, *PUBLISHED)
    return Table(name, title, header, lines, note, list(dict.fromkeys(missing)), who=1)


def _published(row: paper.PaperRow) -> tuple[Value, Value]:
    top1 = None if row.accuracy is None else Number(round(row.accuracy / 100, 6), ".1%")
    return Size(row.kib, row.kib_std), top1
