"""Figures of results: rows in, a matplotlib figure out; None where the rows hold nothing of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

from entres.files import write_whole
from entres.report.corruption_figures import fig3a, fig3b
from entres.report.panels import as_bytes, columns, draw_intervals, finish, percents
from entres.report.records import size_interval
from entres.report.students import student_labels
from entres.results import Row, clean_reference, is_plain, largest_of_each

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from entres.report.panels import Panels

ATTACKS = {
    "clean": ("clean", "#8c8c8c"),
    "noise": ("random noise", "#e0a100"),
    "pgd_acc": ("PGD-Acc", "#2f6fb0"),
    "pgd_e": ("PGD-E", "#c23b4b"),
    "pgd_joint": ("PGD joint", "#7a4fa3"),
    "low_frequency": ("low-frequency", "#2a9d8f"),
    "regional": ("regional", "#e07a3f"),
    "acc_ensemble": ("worst on accuracy", "#1b3f66"),
    "square": ("square", "#8a5a44"),
}
"""What a condition is called, and its colour in every figure."""
OTHER_COLOURS = ("#333333", "#6b8e23", "#d46a9f", "#4fb3bf")
"""Of other conditions, in the order in which a figure shows them."""

PRESETS = {"strong": ("", "-", "o"), "published": ("///", "--", "s")}
"""Hatch of the bars, line and marker of a preset."""
OTHER_PRESETS = (("...", ":", "^"), ("xxx", "-.", "D"), ("ooo", ":", "v"))
"""Of other presets, in the order in which a figure shows them."""

Drawing = Callable[[Sequence[Row]], "Figure | None"]


def fig4a(rows: Sequence[Row]) -> Figure | None:
    """Bit size and accuracy under attacks of 4/255, student by student (Fig. 4a)."""
    return _attacks_at(rows, 4)


def fig4b(rows: Sequence[Row]) -> Figure | None:
    """Bit size and accuracy under attacks of 8/255, student by student (Fig. 4b)."""
    return _attacks_at(rows, 8)


def attacks_over_epsilon(rows: Sequence[Row]) -> Figure | None:
    """Bit size and accuracy over epsilon, one column of panels per student."""
    rows = [row for row in rows if is_plain(row)]
    attacked = [row for row in rows if row.epsilon_255 is not None]
    if not attacked:
        return None
    students = student_labels(attacked)
    called, drawn = _called(attacked), _drawn(attacked)
    figure, panels = columns(len(students))
    for (student, name), (size, accuracy) in zip(students.items(), panels.T, strict=True):
        size.set_title(name, fontsize="medium")
        of_student = [row for row in attacked if row.whose == student]
        images = max(row.images for row in of_student)
        reference = clean_reference((row for row in rows if row.whose == student), images)
        for key in dict.fromkeys((row.condition, row.preset) for row in of_student):
            of_key = [row for row in of_student if (row.condition, row.preset) == key]
            by_epsilon = largest_of_each(of_key, lambda row: row.epsilon_255 or 0)
            points = [by_epsilon[epsilon] for epsilon in sorted(by_epsilon)]
            label, colour = called[key[0]]
            _, line, marker = drawn[key[1] or "strong"]
            for axes, values in (
                (size, [row.kib_mean for row in points]),
                (accuracy, [100 * row.accuracy for row in points]),
            ):
                axes.plot(
                    [row.epsilon_255 or 0 for row in points],
                    values,
                    color=colour,
                    linestyle=line,
                    marker=marker,
                    markersize=4,
                    label=_with_preset(label, key[1], attacked),
                )
            at = [row.epsilon_255 or 0 for row in points]
            draw_intervals(size, at, [size_interval(row) for row in points], colour)
            shares = [percents(row.accuracy, row.images) for row in points]
            draw_intervals(accuracy, at, shares, colour)
        if reference is not None:
            for axes, value in ((size, reference.kib_mean), (accuracy, 100 * reference.accuracy)):
                axes.axhline(value, color=ATTACKS["clean"][1], linewidth=1, label="clean")
        accuracy.set_xlabel("epsilon, 1/255")
        # Small radii say as much as large ones: each twice as far as the one before.
        accuracy.set_xscale("log", base=2)
        epsilons = sorted({row.epsilon_255 or 0 for row in attacked})
        accuracy.set_xticks(epsilons, [f"{epsilon:g}" for epsilon in epsilons])
        accuracy.minorticks_off()
    finish(figure, panels, "Attacks", attacked)
    return figure


def _attacks_at(rows: Sequence[Row], epsilon_255: float) -> Figure | None:
    """Grouped bars: one group per student, one bar per attack and preset."""
    from matplotlib.figure import Figure

    rows = [row for row in rows if is_plain(row)]
    attacked = [row for row in rows if row.epsilon_255 == epsilon_255]
    if not attacked:
        return None
    students = student_labels(attacked)
    shown = [*attacked]
    for student in students:
        images = max(row.images for row in attacked if row.whose == student)
        reference = clean_reference((row for row in rows if row.whose == student), images)
        shown += [] if reference is None else [reference]
    order = list(ATTACKS)
    bars = sorted(
        dict.fromkeys((row.condition, row.preset) for row in shown),
        key=lambda bar: (order.index(bar[0]) if bar[0] in order else len(order), bar[1] or ""),
    )
    figure = Figure(figsize=(3.0 + 1.6 * len(students), 5.6), layout="constrained")
    panels: Panels = figure.subplots(2, 1, sharex=True, squeeze=False)
    size, accuracy = panels[:, 0]
    width = 0.85 / len(bars)
    called, drawn = _called(shown), _drawn(shown)
    for place, (condition, preset) in enumerate(bars):
        label, colour = called[condition]
        of_bar = [row for row in shown if (row.condition, row.preset) == (condition, preset)]
        by_student = largest_of_each(of_bar, lambda row: row.whose)
        at = [
            number + (place - (len(bars) - 1) / 2) * width
            for number, student in enumerate(students)
            if student in by_student
        ]
        values = [by_student[student] for student in students if student in by_student]
        style = {
            "color": colour,
            "hatch": drawn[preset or "strong"][0],
            "edgecolor": "white",
            "label": _with_preset(label, preset, shown),
        }
        size.bar(at, [row.kib_mean for row in values], width, **style)
        draw_intervals(size, at, [size_interval(row) for row in values])
        accuracy.bar(at, [100 * row.accuracy for row in values], width, **style)
        draw_intervals(accuracy, at, [percents(row.accuracy, row.images) for row in values])
    accuracy.set_xticks(range(len(students)), list(students.values()))
    finish(figure, panels, f"Attacks, epsilon {epsilon_255:g}/255", shown)
    return figure


def _called(rows: Iterable[Row]) -> dict[str, tuple[str, str]]:
    """Name and colour of every condition."""
    others = dict.fromkeys(row.condition for row in rows if row.condition not in ATTACKS)
    return ATTACKS | {
        condition: (condition.replace("_", " "), colour)
        for condition, colour in zip(others, cycle(OTHER_COLOURS), strict=False)
    }


def _drawn(rows: Iterable[Row]) -> dict[str, tuple[str, str, str]]:
    """Hatch, line and marker of every preset."""
    others = sorted({row.preset for row in rows if row.preset} - PRESETS.keys())
    return PRESETS | dict(zip(others, cycle(OTHER_PRESETS), strict=False))


def _with_preset(label: str, preset: str | None, rows: Iterable[Row]) -> str:
    """The preset is named where there are several."""
    several = len({row.preset for row in rows} - {None}) > 1
    return f"{label}, {preset}" if several and preset else label


FIGURES: dict[str, Drawing] = {
    "fig3a": fig3a,
    "fig3b": fig3b,
    "fig4a": fig4a,
    "fig4b": fig4b,
    "attacks": attacks_over_epsilon,
}
"""Every figure by the name of its files."""


def write_figures(rows: Sequence[Row], folder: str | Path) -> list[Path]:
    """Draw what the rows have results for.

    Args:
        rows: of any evaluations.
        folder: where ``<dataset>/<name>.png`` and ``<name>.pdf`` are written.

    Returns:
        The files.
    """
    written = []
    for dataset in sorted({row.dataset for row in rows}):
        of_data = [row for row in rows if row.dataset == dataset]
        for name, draw in FIGURES.items():
            figure = draw(of_data)
            if figure is None:
                continue
            for suffix in ("png", "pdf"):
                path = Path(folder) / dataset / f"{name}.{suffix}"
                written.append(write_whole(path, as_bytes(figure, suffix, dpi=150)))
    return written
