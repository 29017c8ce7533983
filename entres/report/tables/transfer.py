"""Attacks made for one student and shown to another."""

from __future__ import annotations

from collections.abc import Sequence

from entres.condition_names import is_on_accuracy, victim_name, victims_name, victims_of
from entres.report.formats import Change, Number, Table, Value
from entres.report.students import by_student, student_labels
from entres.report.tables.common import Rows, ball, changes, notes, words
from entres.results import Row, clean_beside, largest, largest_of_each

Attack = tuple[str, str, str, float]
"""Condition, preset, norm and epsilon."""


def transfer(rows: Rows) -> Table:
    """What an attack that is made for one student does to another: a line per student and attack.

    Of an attack on the size, the change of the mean size against clean images; of one on the
    accuracy, the change of top-1 in points. There are lines for attacks that were made for another
    student at least once.
    """
    in_a_ball = [
        r for r in rows if r.epsilon_255 is not None and r.defense is None and not r.through
    ]
    # Noise is made for nobody, though the victim of its evaluation stands on it as well.
    attacked = [row for row in in_a_ball if row.condition != "noise"]
    labels = {whose: _one_line(label) for whose, label in student_labels(rows).items()}
    names = {victim_name(*whose): label for whose, label in labels.items()}
    shown_to = {row.whose for row in attacked}
    made_for = {_named(row.victim, names): None for row in attacked if row.victim}
    own_names = {label: None for whose, label in labels.items() if whose in shown_to}
    columns = list(own_names | made_for)
    asked = dict.fromkeys(_attack(row) for row in attacked if row.victim)
    lines: list[Sequence[Value]] = []
    shown: list[Row] = []
    for of_student in by_student(attacked):
        whose = of_student[0].whose
        whole = [row for row in rows if row.whose == whose]
        own = labels[whose]
        for attack in asked:
            cells: dict[str, Value] = {}
            of_attack = [row for row in of_student if _attack(row) == attack]
            for row in largest_of_each(of_attack, lambda row: row.victim).values():
                cells[own if row.victim is None else _named(row.victim, names)] = _done(row, whole)
                shown.append(row)
            noise = largest(r for r in in_a_ball if r.whose == whose and _noise_of(r, attack))
            if not set(cells) - {own}:
                continue
            said = words(attack[0]) + (f", {attack[1]}" if attack[1] else "")
            beside = None if noise is None else _done(noise, whole, is_on_accuracy(attack[0]))
            line = [own, said, ball(attack[3], attack[2]), beside]
            lines.append([*line, *(cells.get(column) for column in columns)])
    header = ("shown to", "attack", "epsilon", "random noise", *(f"for {c}" for c in columns))
    of = "against clean images: of attacks on the size its change, of others that of top-1, points"
    note = notes(shown, of, lines=lines) if lines else ""
    return Table("transfer", "Made for another student", header, lines, note)


def _attack(row: Row) -> Attack:
    assert row.epsilon_255 is not None
    return row.condition, row.preset or "", row.norm or "", row.epsilon_255


def _noise_of(row: Row, attack: Attack) -> bool:
    return row.condition == "noise" and (row.norm or "", row.epsilon_255) == attack[2:]


def _done(row: Row, of_student: Rows, on_accuracy: bool | None = None) -> Change | Number | None:
    reference = clean_beside(of_student, row)
    if reference is None:
        return None
    size, points = changes([(reference, row)])
    return (
        points if (is_on_accuracy(row.condition) if on_accuracy is None else on_accuracy) else size
    )


def _named(victim: str, names: dict[str, str]) -> str:
    """Students as the table calls them; those that are not in it by their files."""
    return victims_name(names.get(name, name) for name in victims_of(victim))


def _one_line(label: str) -> str:
    return label.replace("\n", " ")
