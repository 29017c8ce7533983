"""Every undefended attack over epsilon."""

from __future__ import annotations

from entres.report.formats import Table
from entres.report.students import by_student, student_names
from entres.report.tables.common import MEASURED, Rows, ball, measured, notes, words
from entres.report.tables.hints import calls
from entres.results import Row, largest_of_each

Key = tuple[str, str, str, str, str, float]
"""Condition, preset, through, victim, norm and epsilon: by them lines are told apart and sorted."""


def _key(row: Row) -> Key:
    whose = (row.condition, row.preset or "", row.through or "", row.victim or "")
    return (*whose, row.norm or "", row.epsilon_255 or 0)


def attacks(rows: Rows) -> Table:
    """Every undefended attack over epsilon."""
    lines, shown = [], []
    names = student_names(rows)
    for of_student in by_student(rows):
        undefended = [r for r in of_student if r.epsilon_255 is not None and r.defense is None]
        attacked = largest_of_each(undefended, _key)
        for (*_, through, victim, norm, epsilon), row in sorted(
            attacked.items(), key=lambda item: item[0]
        ):
            label = words(row.condition) + (f", {row.preset}" if row.preset else "")
            label += f", through the defense ({through})" if through else ""
            label += f", made for {victim}" if victim else ""
            shown.append(row)
            lines.append((names[row.whose], label, ball(epsilon, norm), *measured(row, of_student)))
    header = ("student", "attack", "epsilon", *MEASURED)
    missing = [] if lines else calls("eval-attacks", rows)
    title = "Attacks over epsilon"
    return Table("attacks", title, header, lines, notes(shown, lines=lines), missing, who=1)
