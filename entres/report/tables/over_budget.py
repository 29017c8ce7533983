"""Which attacks make streams pass a budget, and from which epsilon on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress

from entres.report.formats import Number, Share, Table, Value
from entres.report.over_budget import (
    PASSED_BY_CLEAN,
    OverBudget,
    clean_budget_kib,
    over_budget,
    sought,
)
from entres.report.students import by_student, student_names
from entres.report.tables.common import Rows, count
from entres.results import ResultsError

QUANTILES = {0.25: "a quarter from", 0.5: "half from", 0.75: "three quarters from"}
"""Shares of the images, and the columns that say from which epsilon on so many are over."""
INTERVALS = "in brackets: 95% intervals over images"


def curve(found: Sequence[OverBudget]) -> Table:
    """The share of images over the budget, a line for each attack and epsilon."""
    lines: list[Sequence[Value]] = [
        (attack.label, attack.defense, Number(epsilon, "g"), count(attack.images), share)
        for attack in found
        for epsilon, share in _some(zip(attack.epsilons_255, attack.shares, strict=True))
    ]
    header = ("attack", "defense", "epsilon, 1/255", "images", "over the budget")
    title = f"Streams over {found[0].budget_kib:.4g} KiB"
    note = "; ".join(filter(None, ("epsilon 0: clean images", INTERVALS, left_out(found))))
    return Table("over-budget", title, header, lines, note)


def smallest(found: Sequence[OverBudget]) -> Table:
    """The smallest epsilons that pass the budget, a line for each attack."""
    lines = [(attack.label, attack.defense, *_smallest(attack)) for attack in found]
    header = ("attack", "defense", *_COLUMNS)
    title = f"Smallest epsilon, in 1/255, over {found[0].budget_kib:.4g} KiB"
    return Table("smallest-epsilon", title, header, lines, f"{BOUND}; {INTERVALS}")


def over_clean_budget(rows: Rows) -> Table:
    """The smallest epsilons that pass what few clean images pass, of every student and attack."""
    lines: list[Sequence[Value]] = []
    names = student_names(rows)
    for of_student in by_student(rows):
        # Without records, or without attacks, there is nothing to say.
        with suppress(ResultsError):
            budget = clean_budget_kib(of_student)
            found = over_budget(of_student, budget)
            found += [attack for attack in sought(of_student) if attack.budget_kib != budget]
            who = names[of_student[0].whose]
            for attack in found:
                beginning = who, Number(attack.budget_kib, ".2f"), attack.label, attack.defense
                lines.append((*beginning, *_smallest(attack)))
    header = ("student", "budget, KiB", "attack", "defense", *_COLUMNS)
    said = f"the budget is what {PASSED_BY_CLEAN:.0%} of the clean images are over, or the attack's"
    title = "Smallest epsilon, in 1/255, over a budget"
    note = "; ".join((said, BOUND, INTERVALS))
    return Table("over-budget", title, header, lines, note if lines else "", who=2)


_COLUMNS = ("images", "over at any", *QUANTILES.values())
BOUND = "of the epsilons that were evaluated: upper bounds of the smallest"
MANY = 12
"""Epsilons of an attack that a table shows, at most: one that seeks finds as many as images."""


def _some(points: Iterable[tuple[float, Share]]) -> list[tuple[float, Share]]:
    """Evenly many of them, the first and the last among these."""
    every = list(points)
    places = {round(n * (len(every) - 1) / (MANY - 1)) for n in range(MANY)}
    return [point for place, point in enumerate(every) if place in places]


def _smallest(attack: OverBudget) -> list[Value]:
    return [count(attack.images), attack.passed, *map(attack.quantile, QUANTILES)]


def left_out(found: Sequence[OverBudget]) -> str:
    """How many images could not be compared, if any."""
    alone = max(attack.alone for attack in found)
    return f"up to {alone:,} images are left out, not being there at every epsilon" if alone else ""
