"""Students that differ in the seed of their training alone."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, stdev

from entres.report.formats import Number, Share, Size, Table, Value
from entres.report.paired import mean_size_interval
from entres.report.students import in_order
from entres.report.tables.common import Rows, count, notes
from entres.results import Row, largest

HEADER = (
    *("student", "data", "condition", "seeds"),
    *("KiB", "KiB over seeds", "top-1", "top-1 over seeds, points"),
)


def seeds(rows: Rows, quick: bool = False) -> Table:
    """Means over seeds: how they deviate from seed to seed, beside the interval over images.

    A condition has a line where at least two seeds were measured under it. Nothing is learned of
    other seeds from more images, nor of other images from more seeds: the two stand apart.

    Args:
        rows: of any students.
        quick: whether to leave the records of many images alone.
    """
    lines: list[Sequence[Value]] = []
    shown: list[Row] = []
    for (who, data, label), of_seeds in _by_seed(rows).items():
        measured = [row for row in map(largest, of_seeds.values()) if row is not None]
        if len(measured) < 2:
            continue
        shown += measured
        sizes, shares = [r.kib_mean for r in measured], [r.accuracy for r in measured]
        lines.append(
            (
                who,
                data,
                label,
                count(len(measured)),
                Size(fmean(sizes), None, mean_size_interval(measured, quick=quick)),
                Number(stdev(sizes), ".2f"),
                Share(fmean(shares), min(row.images for row in measured)),
                Number(100 * stdev(shares), ".1f"),
            )
        )
    note = notes(
        shown,
        "over seeds: standard deviation of the means of single seeds",
        "intervals of top-1 as wide as those of a single seed",
    )
    return Table("seeds", "Means over seeds", HEADER, lines, note if lines else "", who=2)


def _by_seed(rows: Rows) -> dict[tuple[str, str, str], dict[int, list[Row]]]:
    groups: dict[tuple[str, str, str], dict[int, list[Row]]] = {}
    for row in in_order(rows):
        who = f"{row.backbone}-{row.codec}-beta{row.beta:g}-{row.recipe}"
        groups.setdefault((who, row.dataset, row.label), {}).setdefault(row.seed, []).append(row)
    return groups
