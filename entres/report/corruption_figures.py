"""Fig. 3: size and accuracy under four corruptions, over beta and over severity."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from entres.report.corruptions import clean_row, evaluations
from entres.report.results import Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

REPRESENTATIVES = ("defocus_blur", "shot_noise", "snow", "contrast")
"""One corruption of each category, those of the paper."""
COLOURS = {
    "clean": "black",
    "defocus_blur": "tab:blue",
    "shot_noise": "tab:red",
    "snow": "tab:gray",
    "contrast": "tab:green",
}
LINES = {"mshp": "-", "fp": "--"}
SEVEREST = 5


class Curve(NamedTuple):
    """A line of a figure."""

    who: str
    """Name of the student, or of the students that a line joins."""
    codec: str
    corruption: str
    """Its name, or ``clean``."""


Points = dict[float, Row]
"""What stands at a place of the horizontal axis."""


def fig3a(rows: Sequence[Row]) -> Figure | None:
    """Size and accuracy over beta, at severity 5 and on clean images.

    A line joins students of one backbone and codec; a single beta is a dot.

    Args:
        rows: of any students, data and conditions; only those without a defense are drawn.

    Returns:
        None if none of the four corruptions was measured at severity 5.
    """
    curves: dict[Curve, Points] = defaultdict(dict)
    for group in _undefended(rows):
        shown = [r for r in group if r.severity == SEVEREST and r.corruption in REPRESENTATIVES]
        clean = clean_row(group)
        for row in [clean, *shown] if clean and shown else shown:
            who = f"{row.backbone} {row.codec}"
            curves[Curve(who, row.codec, row.corruption or "clean")][row.beta] = row
    figure = _figure(curves, "beta", f"severity {SEVEREST}")
    betas = sorted({beta for points in curves.values() for beta in points})
    for axes in figure.axes if figure else ():
        axes.set_xscale("log")
        axes.set_xticks(betas, [f"{beta:g}" for beta in betas])
        axes.minorticks_off()
    return figure


def fig3b(rows: Sequence[Row]) -> Figure | None:
    """Size and accuracy over severity; at 0 stand the clean images. A line is one student.

    Args:
        rows: of any students, data and conditions; only those without a defense are drawn.

    Returns:
        None if none of the four corruptions was measured.
    """
    curves: dict[Curve, Points] = defaultdict(dict)
    for group in _undefended(rows):
        clean = clean_row(group)
        for row in group:
            if row.corruption in REPRESENTATIVES and row.severity is not None:
                points = curves[Curve(row.student, row.codec, row.corruption)]
                points[row.severity] = row
                if clean is not None:
                    points[0] = clean
    figure = _figure(curves, "severity", "severity 0: clean")
    for axes in figure.axes if figure else ():
        axes.set_xticks(range(SEVEREST + 1))
    return figure


def _undefended(rows: Sequence[Row]) -> list[list[Row]]:
    return [group for group in evaluations(rows) if group[0].defense is None]


def _figure(curves: dict[Curve, Points], horizontal: str, title: str) -> Figure | None:
    """Size on the left, accuracy on the right, one legend for both."""
    from matplotlib.figure import Figure

    if not curves:
        return None
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    sizes, accuracies = figure.subplots(1, 2)
    several = len({curve.who for curve in curves}) > 1
    for curve, points in sorted(curves.items()):
        places = sorted(points)
        style = {
            "label": f"{curve.corruption} ({curve.who})" if several else curve.corruption,
            "color": COLOURS[curve.corruption],
            "linestyle": LINES.get(curve.codec, ":"),
            "marker": "o",
            "markersize": 3,
        }
        sizes.plot(places, [points[x].kib_mean for x in places], **style)
        accuracies.plot(places, [100 * _accuracy(points[x]) for x in places], **style)
    shared = {row.accuracy_present is not None for p in curves.values() for row in p.values()}
    sizes.set_ylabel("KiB per image")
    accuracies.set_ylabel(
        "top-1 among the classes that occur, %" if shared == {True} else "top-1, %"
    )
    for axes in (sizes, accuracies):
        axes.set_xlabel(horizontal)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
    who = next(iter(curves)).who
    figure.suptitle(title if several else f"{who}, {title}", fontsize="medium")
    figure.legend(*sizes.get_legend_handles_labels(), loc="outside right center", fontsize="small")
    return figure


def _accuracy(row: Row) -> float:
    return row.accuracy if row.accuracy_present is None else row.accuracy_present
