"""The verb that asks how far an attack has to go until streams pass a budget."""

from __future__ import annotations

from math import isfinite
from pathlib import Path

from entres.errors import EntresError
from entres.results import read_evaluations


def budget(*folders: str, budget_kib: float | None = None) -> None:
    """Print how many streams are over a budget, and from which epsilon on, attack by attack.

    Evaluations at several epsilons have all that it takes; no attack is run. One that has sought
    the smallest epsilon itself says it more finely. budget.csv, smallest-epsilons.csv (image by
    image) and budget.png are written into the first folder.

    Args:
        folders: of evaluations of one student under attack (eval-attacks makes some).
        budget_kib: what a stream may have, in KiB (default: what such an attack sought to pass, or
            else what 5% of the clean images are over).

    Raises:
        EntresError: if there are no such evaluations, or the budget is out of range.
    """
    from entres.report.over_budget import (
        budgets_sought,
        clean_budget_kib,
        over_budget,
    )
    from entres.report.over_budget_files import write_over_budget
    from entres.report.tables.over_budget import curve, smallest
    from entres.report.terminal import show_table

    if budget_kib is not None and not (budget_kib > 0 and isfinite(budget_kib)):
        raise EntresError(f"budget_kib must be > 0, got {budget_kib:g}")
    rows = read_evaluations(folders)
    if budget_kib is None:
        budgets = budgets_sought(rows)
        if len(budgets) > 1:
            names = " and ".join(f"{budget:g}" for budget in budgets)
            raise EntresError(f"attacks here seek to pass {names} KiB: name one, --budget_kib")
        budget_kib = budgets[0] if budgets else clean_budget_kib(rows)
    found = over_budget(rows, budget_kib)
    files = write_over_budget(found, Path(folders[0]))
    show_table(curve(found))
    show_table(smallest(found), files)
