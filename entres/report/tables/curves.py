"""Codecs and recipes, each by its curve of accuracy over size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations

from entres.report.bjontegaard import LEAST, Point, accuracy_delta, size_delta
from entres.report.formats import Table, Value
from entres.report.students import in_order
from entres.report.tables.common import Rows, count, few, percent, points
from entres.results import Row, clean_reference

HEADER = (
    *("A", "B", "data", "students of A", "students of B", "images"),
    *("size of B at equal top-1", "top-1 of B at equal size, points"),
)


def curves(rows: Rows) -> Table:
    """Every two curves over beta by one number each way: the Bjontegaard deltas, on clean images.

    A curve are students that differ in beta alone; with fewer than :data:`LEAST` betas there is no
    curve. Those of other numbers of images are not compared.
    """
    lines: list[Sequence[Value]] = []
    shown: list[Row] = []
    for (name_a, data, a), (name_b, other, b) in combinations(_curves(rows), 2):
        images = {row.images for row in (*a, *b)}
        if data != other or len(images) > 1:
            continue
        size, accuracy = _delta(size_delta, a, b), _delta(accuracy_delta, a, b)
        if size is None and accuracy is None:
            continue
        shown += [*a, *b]
        numbers = (count(len(a)), count(len(b)), count(images.pop()))
        change = points(None if accuracy is None else 100 * accuracy)
        lines.append((name_a, name_b, data, *numbers, percent(size), change))
    said = "area between two curves over the range that they share (Bjontegaard delta)"
    said += ", monotone cubics over the logarithm of the size; no intervals"
    note = "; ".join(filter(None, (said, few(shown)))) if lines else ""
    return Table("curves", "Curves of accuracy over size", HEADER, lines, note)


def _curves(rows: Rows) -> list[tuple[str, str, list[Row]]]:
    """What the students of each curve have in common, their data, and their clean rows."""
    groups: dict[tuple[str, str], dict[float, list[Row]]] = {}
    for row in in_order(rows):
        name = " · ".join((row.backbone, row.codec, row.recipe))
        name += f" · seed {row.seed}" if row.seed else ""
        groups.setdefault((name, row.dataset), {}).setdefault(row.beta, []).append(row)
    found = []
    for (name, data), by_beta in groups.items():
        references = map(clean_reference, by_beta.values())
        clean = [row for row in references if row is not None]
        if len(clean) >= LEAST:
            found.append((name, data, clean))
    return found


def _delta(
    measure: Callable[[Sequence[Point], Sequence[Point]], float], a: Rows, b: Rows
) -> float | None:
    """None where the two share no range, or have no size of an accuracy."""
    try:
        return measure(*([Point(r.kib_mean, r.accuracy) for r in rows] for rows in (a, b)))
    except ValueError:
        return None
