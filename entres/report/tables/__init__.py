"""Every table of a report, from rows of results.

Each function takes the rows of one data set and gives a table; what is missing is None in it, and
named with the line of ``entres`` that would measure it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from entres.report.formats import Table
from entres.report.tables.attacks import attacks
from entres.report.tables.clean import clean
from entres.report.tables.compared import table2, table3, table4
from entres.report.tables.control import control
from entres.report.tables.corruptions import categories, severities
from entres.report.tables.curves import curves
from entres.report.tables.figure_means import figure_means
from entres.report.tables.over_budget import over_clean_budget
from entres.report.tables.results import results
from entres.report.tables.seeds import seeds
from entres.report.tables.transfer import transfer
from entres.results import Row

TABLES: tuple[Callable[[Sequence[Row]], Table], ...] = (
    clean,
    figure_means,
    table2,
    table3,
    table4,
    attacks,
    transfer,
    over_clean_budget,
    control,
    severities,
    categories,
    curves,
    seeds,
    results,
)
"""In the order of a report."""

__all__ = [
    "TABLES",
    "attacks",
    "categories",
    "clean",
    "control",
    "curves",
    "figure_means",
    "over_clean_budget",
    "results",
    "seeds",
    "severities",
    "table2",
    "table3",
    "table4",
    "transfer",
]
