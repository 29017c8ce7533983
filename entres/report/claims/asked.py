"""What a line must ask for, so that it measures what was read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from entres import configs
from entres.experiment.experiment import Experiment
from entres.report.claims.claim import Claim
from entres.report.rerun import settings_of
from entres.results import Row, is_unaware

UNASKED = ("codec", "beta", "robust", "student")
"""Options that say which student: a line for one that is there names it already."""
ATTACKED = ("eval-attacks", "eval-defense", "eval-link")
"""Targets of attacks."""
DEFAULTS: Mapping[str, tuple[Any, ...]] = {
    "attack": ("pgd_e",),  # of eval-defense and eval-link; the claims on eval-attacks name theirs
    "epsilons": Experiment.epsilons,
    "defense": Experiment.defense,
    "through": Experiment.through,
}
"""What is asked for of an option that takes several values, where a claim does not ask."""
CAP = "budget"


def asked_of(claim: Claim, of_student: Iterable[Row]) -> list[tuple[list[Row], dict[str, Any]]]:
    """The options that measure what was read of a student: the claim's, and where these do not
    cover a row, the row's own.

    Args:
        claim: what was read.
        of_student: the rows of one student that its readings are of.

    Returns:
        Rows that one line measures, and its options.
    """
    asked = {name: value for name, value in claim.asked.items() if name not in UNASKED}
    if claim.target not in ATTACKED:
        return [(list(of_student), asked)]
    groups: dict[tuple[Any, ...], list[Row]] = {}
    # What has no preset, such as noise, is measured beside what has one.
    for row in sorted(of_student, key=lambda row: row.preset is None):
        one = _at_once(row)
        beside = (key for key in groups if row.preset is None and key[1:] == one[1:])
        groups.setdefault(next(beside, one), []).append(row)
    return [(rows, asked | _own(asked, rows)) for rows in groups.values()]


def _at_once(row: Row) -> tuple[Any, ...]:
    """Of what a line has one value only; and how many images, which its first row says."""
    through = None if is_unaware(row) else row.defense
    return row.preset, strength_asked(row), _cap(row), through, row.images


def _own(asked: Mapping[str, Any], rows: Sequence[Row]) -> dict[str, Any]:
    """What rows that one line measures need of it beyond what a claim asks for."""
    row = rows[0]
    found: dict[str, Any] = {"preset": row.preset, "lambda": strength_asked(row)}
    found |= {"budget_kib": _cap(row)}
    known = configs.names("attack")
    several: dict[str, list[Any]] = {
        "attack": [r.condition for r in rows if r.condition in known],
        "epsilons": sorted({r.epsilon_255 for r in rows if r.epsilon_255 is not None}),
        "defense": [r.defense for r in rows if r.defense is not None and r.defense != CAP],
        "through": [r.through for r in rows if not is_unaware(r)],
    }
    for name, values in several.items():
        covered = _several(asked.get(name, DEFAULTS[name]))
        # A strength that was asked for is that of these defenses alone.
        is_others = name == "defense" and found["lambda"] is not None
        if is_others or not set(values) <= set(covered):
            reference = ["noise"] if "noise" in {*covered, *values} else []
            found[name] = tuple(dict.fromkeys([*reference, *values]))
    return {name: value for name, value in found.items() if value is not None}


def strength_asked(row: Row) -> float | None:
    """The strength of a row's defense, where it is not the one of the defense's own file."""
    if row.defense in (None, CAP) or row.defense not in configs.names("defense"):
        return None
    own = _own_strength(row.defense)
    settings = settings_of(row.folder) if own is None else {}
    if row.defense_strength == own or (settings and not settings.get("defense_strengths")):
        return None
    return row.defense_strength


@cache
def _own_strength(defense: str) -> float | None:
    """As its file says; None where that leaves it to the defense."""
    file = configs.read(configs.find("defense", defense))
    found = (file.get("init_args") or {}).get("strength")
    return None if found is None else float(found)


def _cap(row: Row) -> float | None:
    return row.defense_strength if row.defense == CAP else None


def _several(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, list | tuple) else (value,)
