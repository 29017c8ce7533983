"""Which attacks make streams pass a budget, and from which epsilon on."""

from __future__ import annotations

from collections.abc import Sequence
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

TABLE = "budget.csv"
"""The file of a :func:`curve` at every epsilon."""
QUANTILES = {0.25: "a quarter from", 0.5: "half from", 0.75: "three quarters from"}
"""Shares of the images, and the columns that say from which epsilon on so many are over."""
INTERVALS = "in brackets: 95% intervals over images"


def curve(found: Sequence[OverBudget], whole: bool = False) -> Table:
    """The share of images over the budget, a line for each attack and epsilon.

    Args:
        found: the attacks.
        whole: every epsilon, also of an attack that found as many as there are images.
    """
    lines: list[Sequence[Value]] = []
    some = False
    for attack in found:
        points = list(zip(attack.epsilons_255, attack.shares, strict=True))
        shown = points if whole else _some(points)
        some |= len(shown) < len(points)
        who = attack.label, attack.defense
        lines += [(*who, Number(e, "g"), count(attack.images), share) for e, share in shown]
    header = ("attack", "defense", "epsilon, 1/255", "images", "over the budget")
    title = f"Streams over {found[0].budget_kib:.4g} KiB"
    said = ("epsilon 0: clean images", f"all epsilons: {TABLE}" if some else "", INTERVALS)
    note = "; ".join(filter(None, (*said, left_out(found))))
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
        found: list[OverBudget] = []
        # Without records, or without attacks, there is nothing to say.
        with suppress(ResultsError):
            found += sought(of_student)
        with suppress(ResultsError):
            usual = over_budget(of_student, clean_budget_kib(of_student))
            found = [*usual, *(a for a in found if a.budget_kib != usual[0].budget_kib)]
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
MANY = 16
"""Epsilons of an attack above which a table shows evenly spaced ones: one that seeks finds as many
as there are images."""


def _some(points: Sequence[tuple[float, Share]]) -> list[tuple[float, Share]]:
    """At most so many of them, the first and the last among these."""
    places = {round(n * (len(points) - 1) / (MANY - 1)) for n in range(MANY)}
    return [p for place, p in enumerate(points) if len(points) <= MANY or place in places]


def _smallest(attack: OverBudget) -> list[Value]:
    return [count(attack.images), attack.passed, *map(attack.quantile, QUANTILES)]


def left_out(found: Sequence[OverBudget]) -> str:
    """How many images could not be compared, if any."""
    alone = max(attack.alone for attack in found)
    return f"up to {alone:,} images are left out, not being there at every epsilon" if alone else ""
