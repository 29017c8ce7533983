"""Fig. 3: size and accuracy under four corruptions, over beta and over severity."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from entres.report.corruptions import clean_row, evaluations
from entres.report.panels import columns, draw_intervals, finish, percents
from entres.report.records import size_interval
from entres.report.students import Whose, student_labels, student_names
from entres.results import Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

REPRESENTATIVES = ("defocus_blur", "shot_noise", "snow", "contrast")
"""One corruption of each category, those of the paper."""
COLOURS = {
    "clean": "#8c8c8c",
    "defocus_blur": "tab:blue",
    "shot_noise": "tab:red",
    "snow": "tab:purple",
    "contrast": "tab:green",
}
SEVEREST = 5


class Line(NamedTuple):
    """A line of a figure."""

    who: str | Whose
    """The student, or what those that a line joins have in common: a column of panels."""
    corruption: str
    """Its name, or ``clean``."""


Points = dict[float, Row]
"""What stands at a place of the horizontal axis."""


def fig3a(rows: Sequence[Row]) -> Figure | None:
    """Size and accuracy over beta, at severity 5 and on clean images (Fig. 3a).

    A line joins students of one backbone, codec, recipe and seed, which have a column of panels; a
    single beta is a dot. Students of one name stand alone.

    Args:
        rows: of any students, data and conditions; only those without a defense are drawn.

    Returns:
        None if none of the four corruptions was measured at severity 5.
    """
    lines: dict[Line, Points] = defaultdict(dict)
    names = student_names(rows)
    for group in _undefended(rows):
        shown = [r for r in group if r.severity == SEVEREST and r.corruption in REPRESENTATIVES]
        clean = clean_row(group)
        for row in [clean, *shown] if clean and shown else shown:
            who = f"{row.backbone}\n{row.codec}\n{row.recipe}"
            who += f"\nseed {row.seed}" if row.seed else ""
            # Those that share a name with others have digits behind it.
            who += names[row.whose].removeprefix(row.student)
            lines[Line(who, row.corruption or "clean")][row.beta] = row
    figure = _figure(lines, "beta", f"Corruptions of severity {SEVEREST}")
    betas = sorted({beta for points in lines.values() for beta in points})
    for axes in figure.axes if figure else ():
        axes.set_xscale("log")
        axes.set_xticks(betas, [f"{beta:g}" for beta in betas])
        axes.minorticks_off()
    return figure


def fig3b(rows: Sequence[Row]) -> Figure | None:
    """Size and accuracy over severity; at 0 stand the clean images (Fig. 3b).

    A column of panels is one student.

    Args:
        rows: of any students, data and conditions; only those without a defense are drawn, of
            students that met more than one severity.

    Returns:
        None if none of the four corruptions was measured at several severities.
    """
    lines: dict[Line, Points] = defaultdict(dict)
    for group in _undefended(rows):
        shown = [r for r in group if r.severity is not None and r.corruption in REPRESENTATIVES]
        if len({row.severity for row in shown}) < 2:
            continue
        clean = clean_row(group)
        for row in shown:
            points = lines[Line(row.whose, row.corruption or "")]
            points[row.severity or 0] = row
            if clean is not None:
                points[0] = clean
    titles = student_labels([row for points in lines.values() for row in points.values()])
    figure = _figure(lines, "severity", "Corruptions; at severity 0 clean images", titles)
    for axes in figure.axes if figure else ():
        axes.set_xticks(range(SEVEREST + 1))
    return figure


def _undefended(rows: Sequence[Row]) -> list[list[Row]]:
    return [group for group in evaluations(rows) if group[0].defense is None]


def _figure(
    lines: dict[Line, Points],
    horizontal: str,
    title: str,
    titles: Mapping[Whose, str] | None = None,
) -> Figure | None:
    """A column of panels for everyone, in the order of their ``titles`` where these are given."""
    if not lines:
        return None
    everyone: list[str | Whose] = list(titles or sorted({str(line.who) for line in lines}))
    figure, panels = columns(len(everyone))
    for who, (sizes, accuracies) in zip(everyone, panels.T, strict=True):
        title_of = titles.get(who) if titles and isinstance(who, tuple) else str(who)
        sizes.set_title(title_of or "", fontsize="medium")
        accuracies.set_xlabel(horizontal)
        of_panel = [(line, points) for line, points in lines.items() if line.who == who]
        for line, points in sorted(of_panel, key=lambda item: item[0].corruption):
            places = sorted(points)
            style = {
                "label": line.corruption.replace("_", " "),
                "color": COLOURS[line.corruption],
                "marker": "o",
                "markersize": 3,
            }
            sizes.plot(places, [points[x].kib_mean for x in places], **style)
            drawn_sizes = [size_interval(points[x]) for x in places]
            draw_intervals(sizes, places, drawn_sizes, COLOURS[line.corruption])
            shares = [_accuracy(points[x]) for x in places]
            accuracies.plot(places, [100 * share for share in shares], **style)
            drawn_shares = [percents(_accuracy(points[x]), points[x].images) for x in places]
            draw_intervals(accuracies, places, drawn_shares, COLOURS[line.corruption])
    drawn = [row for points in lines.values() for row in points.values()]
    shared = all(row.accuracy_present is not None for row in drawn)
    finish(figure, panels, title, drawn, "top-1 of occurring classes" if shared else "top-1")
    return figure


def _accuracy(row: Row) -> float:
    return row.accuracy if row.accuracy_present is None else row.accuracy_present
