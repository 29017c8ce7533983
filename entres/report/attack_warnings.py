"""What looks broken about attacks: each by itself, and beside one that sees less."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from entres.condition_names import is_black_box
from entres.results import Row

WHITE_BOX = "pgd_e"
"""The attack that has the gradient of the size: none that lacks it may make longer streams."""


def attack_warnings(rows: Sequence[Row]) -> list[tuple[Row, str]]:
    """Sentences on attacks that look weaker than they should be, and whom they are about.

    Args:
        rows: of any evaluations.
    """
    own = [(row, said) for row in rows for said in row.extra.get("attack_warnings") or []]
    return own + _beaten(rows)


def _beaten(rows: Sequence[Row]) -> list[tuple[Row, str]]:
    """Attacks with the gradient that one without makes look weak, on the same images and ball."""
    found = []
    for row in rows:
        if row.condition != WHITE_BOX:
            continue
        blind = [r for r in rows if is_black_box(r.condition) and _setting(r) == _setting(row)]
        for other in blind:
            if other.kib_mean > row.kib_mean:
                sentence = (
                    f"{other.label}, which sees the length of streams alone, makes longer ones "
                    f"({other.kib_mean:.2f} against {row.kib_mean:.2f} KiB): an attack that has "
                    "the gradient and loses to it is broken, or takes far too few steps"
                )
                found.append((row, sentence))
    return found


def _setting(row: Row) -> tuple[object, ...]:
    """What two attacks must share to be compared: the student, the images and the ball."""
    under = replace(row.under, condition="", preset=None)
    return (row.whose, row.dataset, row.images, under)
