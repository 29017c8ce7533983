"""Who is who: students of one name are told apart by the digits of their files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from entres.results import Row

Whose = tuple[str, str]
"""See :attr:`Row.whose`."""


def in_order(rows: Iterable[Row]) -> list[Row]:
    """By backbone, codec, beta, recipe, seed and file; the rows of one student stay as they are."""
    return sorted(
        rows,
        key=lambda row: (row.backbone, row.codec, row.beta, row.recipe, row.seed, row.whose),
    )


def by_student(rows: Iterable[Row]) -> list[list[Row]]:
    """The rows of each student, students of one backbone and codec side by side."""
    groups: dict[Whose, list[Row]] = {}
    for row in in_order(rows):
        groups.setdefault(row.whose, []).append(row)
    return list(groups.values())


def student_names(rows: Iterable[Row]) -> dict[Whose, str]:
    """What each student is called: its name, with the digits of its file where others share it."""
    everyone = dict.fromkeys(row.whose for row in in_order(rows))
    shared = _shared(everyone)
    return {
        (name, weights): f"{name} ({_digits(weights)})" if name in shared else name
        for name, weights in everyone
    }


def student_labels(rows: Sequence[Row]) -> dict[Whose, str]:
    """Names of students, in order, and what tells them apart, a line for each part."""
    shared = _shared({row.whose for row in rows})
    cards = {
        row.whose: (
            row.backbone,
            row.codec,
            f"beta {row.beta:g}",
            row.recipe,
            f"seed {row.seed}",
            _digits(row.weights or "") if row.student in shared else "",
        )
        for row in rows
    }
    differ = [len(set(part)) > 1 for part in zip(*cards.values(), strict=True)]
    if not any(differ):
        differ = [True, True, True, False, False, False]
    return {
        whose: "\n".join(part for part, keep in zip(card, differ, strict=True) if keep and part)
        for whose, card in sorted(cards.items(), key=lambda item: item[1])
    }


def _shared(everyone: Iterable[Whose]) -> set[str]:
    """Names that several students have."""
    return {name for name, number in Counter(name for name, _ in everyone).items() if number > 1}


def _digits(weights: str) -> str:
    return weights or "weights unknown"
