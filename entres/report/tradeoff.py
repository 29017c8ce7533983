"""What a defense's strength buys and costs: size against accuracy, and which strength to take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

from entres.condition_names import budget_of
from entres.files import write_whole
from entres.report.panels import as_bytes, counted, draw_intervals, percents, place_labels
from entres.report.records import size_interval
from entres.results import Condition, Row, largest_of_each

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation

SIZE = (6.5, 4.8)
"""Of a picture, in inches."""

STYLES = ("-", "--", ":", "-.")
"""Of lines in a picture: under an attack that knows of no defense, then by way through it."""


class Curve(NamedTuple):
    """One condition without a defense and under one defense, by rising strength.

    Attributes:
        label: the condition in words.
        rows: the first without a defense.
        through: how the attack went through the defense; None if it did not know of it.
    """

    label: str
    rows: list[Row]
    through: str | None = None


def points(rows: Sequence[Row]) -> list[Row]:
    """Each condition once: what several evaluations hold, such as the clean images, is the same.

    Raises:
        ValueError: if they are of different numbers of images.
    """
    each = list(largest_of_each(rows, lambda row: row.under).values())
    if len(counts := {row.images for row in rows}) > 1:
        numbers = " and ".join(str(count) for count in sorted(counts))
        raise ValueError(
            f"these evaluations saw {numbers} images: a trade-off compares points of the same ones"
        )
    return each


def curves(rows: Sequence[Row]) -> dict[str, list[Curve]]:
    """The curves of each defense: clean first, attacks that know of the defense last.

    Among these the order is that of epsilon, then of the sizes behind defenses: the last one is the
    hardest. The curve of an attack has the strengths that were evaluated on clean images, too. One
    through the defense begins at the attack that knows of none. An attack that goes no further than
    a budget has none: its size is that budget.

    Raises:
        ValueError: if no defense was evaluated on clean and on attacked images, or an attack
            through a defense without the one that knows of none.
    """
    found: dict[str, list[Curve]] = {}
    rows = [row for row in rows if budget_of(row.condition) is None]
    undefended = {row.under: row for row in rows if row.defense is None}

    def hardness(under: Condition) -> tuple[bool, bool, float, float]:
        sizes = [row.kib_mean for row in rows if row.under.behind(None, None) == under]
        return (
            under.condition != "clean",
            under.through is not None,
            under.epsilon_255 or 0,
            fmean(sizes),
        )

    starts = sorted(undefended, key=hardness)
    for name in dict.fromkeys(row.defense for row in rows if row.defense is not None):
        of_name = [row for row in rows if row.defense == name]
        behind = {under: _by_strength(of_name, under) for under in starts}
        behind = {under: of_strength for under, of_strength in behind.items() if of_strength}
        on_clean = next(iter(behind.values()))  # if there are any; else it is said below
        found[name] = []
        for under, of_strength in behind.items():
            start = undefended.get(replace(under, through=None))
            if start is None:
                raise ValueError(
                    f"{under.label} begins at the attack that knows of no defense, which is not "
                    "there: evaluate with --through oblivious,... too"
                )
            own = [of_strength[s] for s in sorted(of_strength) if s in on_clean]
            found[name].append(Curve(under.label, [start, *own], under.through))
    if not found or any(
        len(of_name) < 2 or of_name[0].rows[0].condition != "clean" or len(of_name[-1].rows) < 2
        for of_name in found.values()
    ):
        raise ValueError(
            "a trade-off needs a defense on clean and on attacked images, of the same strengths: "
            "evaluate with --defense, --defense_strengths and an attack (entres sweep-lambda)"
        )
    return found


def _by_strength(of_defense: Sequence[Row], under: Condition) -> dict[float, Row]:
    """The rows of one condition behind one defense."""
    same = (row for row in of_defense if row.under.behind(None, None) == under)
    return {row.defense_strength or 0: row for row in same}


def knee(curves: Sequence[Curve]) -> Row:
    """Where more strength begins to cost more than it saves.

    Of the points (size under attack, accuracy), accuracy being the mean of the clean and the
    attacked one, that with the largest gain in size less loss in accuracy, each in units of its
    range over all points. Where no point loses accuracy, the smallest size is the knee.

    Args:
        curves: of one defense, clean first; the last attack counts, which is the hardest.

    Returns:
        The row under attack at the knee.
    """
    clean, attacked = _clean_of(curves[-1], curves[0]), curves[-1].rows
    accuracy = [(c.accuracy + a.accuracy) / 2 for c, a in zip(clean, attacked, strict=True)]
    saved = [attacked[0].kib_mean - row.kib_mean for row in attacked]
    lost = [accuracy[0] - value for value in accuracy]
    # A range of nothing: that axis says nothing. A gain in accuracy is chance, and no reason.
    worth = [max(loss, 0.0) for loss in lost]
    scale_saved, scale_lost = (max(v) - min(v) or 1.0 for v in (saved, worth))
    gains = [s / scale_saved - loss / scale_lost for s, loss in zip(saved, worth, strict=True)]
    return attacked[gains.index(max(gains))]


def best_at_price(curves: Sequence[Curve], price: float) -> Row:
    """What saves most for a price that is the same for every defense.

    The knee depends on which strengths were tried, this does not: strengths of several defenses
    that are chosen by it can be compared.

    Args:
        curves: of one defense, clean first; the last attack counts, as for :func:`knee`.
        price: accuracy of clean images that may be lost, in [0, 1].

    Returns:
        The row under attack of the smallest size; that without a defense if each costs more.
    """
    clean, attacked = _clean_of(curves[-1], curves[0]), curves[-1].rows
    least = clean[0].accuracy - price - 1e-9  # two points are not less than two points
    paid = [a for c, a in zip(clean, attacked, strict=True) if c.accuracy >= least]
    return min(paid, key=lambda row: row.kib_mean)


def draw_tradeoff(path: Path, curves: Sequence[Curve]) -> None:
    """Size against accuracy, a line per condition, a point per strength, the knee marked."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE, layout="constrained")
    axis = figure.subplots()
    labels: list[Annotation] = []
    for curve in curves:
        labels += _draw(axis, curve.label, curve.rows, curve.rows)
    best = knee(curves)
    (star,) = axis.plot([best.kib_mean], [100 * best.accuracy], "k*", markersize=18, label="knee")
    star.set_zorder(1.5)  # under its point, whose strength stands beside it
    axis.set_xlabel("KiB per image")
    axis.set_ylabel("top-1, %")
    rows = [row for curve in curves for row in curve.rows]
    defense = curves[-1].rows[-1].defense  # the knee may be where there is none
    axis.set_title(f"{defense} by strength, {counted(rows)}", fontsize="medium")
    _finish(path, figure, axis, labels)


def draw_frontiers(path: Path, found: Mapping[str, Sequence[Curve]]) -> None:
    """What several defenses buy and cost: size under attack against clean accuracy.

    A line per defense, a point per strength; a dashed one under an attack through the defense. Of
    two lines the one further up and to the left saves more for what it costs on clean images; what
    is right under attack stands in the table.

    Args:
        path: file of the picture.
        found: of each defense its curves, clean first; of the attacks that all have, the last one
            counts, in all of its ways through the defense.

    Raises:
        ValueError: if they have none in common.
    """
    from matplotlib.figure import Figure

    first, *others = ([_start(curve) for curve in of_name[1:]] for of_name in found.values())
    last = next((a for a in reversed(first) if all(a in starts for starts in others)), None)
    if last is None:
        raise ValueError("these defenses were evaluated under no attack in common")
    figure = Figure(figsize=SIZE, layout="constrained")
    axis = figure.subplots()
    labels: list[Annotation] = []
    shown: list[Row] = []
    ways = list(dict.fromkeys(curve.through for of_name in found.values() for curve in of_name))
    for number, (name, (clean, *attacked)) in enumerate(found.items()):
        for curve in attacked:
            if _start(curve) == last:
                label = f"{name}, through it ({curve.through})" if curve.through else name
                style = STYLES[ways.index(curve.through)]
                shown += curve.rows
                labels += _draw(
                    axis, label, curve.rows, _clean_of(curve, clean), f"C{number}", style
                )
    axis.set_xlabel(f"KiB per image under {last.label}")
    axis.set_ylabel("top-1 of clean images, %")
    axis.set_title(f"defenses by strength, {counted(shown)}", fontsize="medium")
    _finish(path, figure, axis, labels)


def _finish(path: Path, figure: Figure, axis: Axes, labels: Sequence[Annotation]) -> None:
    """Write a picture, its legend below the axes: inside it would lie on intervals."""
    figure.legend(
        *axis.get_legend_handles_labels(), fontsize=8, ncols=2, loc="outside lower center"
    )
    place_labels(axis, labels)
    write_whole(path, as_bytes(figure, "png", dpi=120))


def _clean_of(curve: Curve, clean: Curve) -> list[Row]:
    """The clean points of the strengths of a curve."""
    of_strength = {row.defense_strength: row for row in clean.rows}
    return [of_strength[row.defense_strength] for row in curve.rows]


def _start(curve: Curve) -> Condition:
    """The attack of a curve, whatever it knows and whatever stands before the student."""
    return replace(curve.rows[0].under, through=None)


def _draw(
    axis: Axes,
    label: str,
    of_size: Sequence[Row],
    of_accuracy: Sequence[Row],
    color: str | None = None,
    style: str = "-",
) -> list[Annotation]:
    """A line through points of size and accuracy, by rising strength, which stands beside each."""
    from matplotlib.colors import to_rgba
    from matplotlib.patheffects import withStroke

    sizes = [row.kib_mean for row in of_size]
    accuracies = [100 * row.accuracy for row in of_accuracy]
    (line,) = axis.plot(sizes, accuracies, "o" + style, color=color, label=label)
    shares = [percents(row.accuracy, row.images) for row in of_accuracy]
    pale = to_rgba(line.get_color(), 0.5)
    draw_intervals(axis, sizes, shares, pale)
    lengths = [size_interval(row) for row in of_size]
    draw_intervals(axis, accuracies, lengths, pale, level=True)
    return [
        axis.annotate(
            "none" if row.defense_strength is None else f"{row.defense_strength:g}",
            (x, y),
            (3, 3),
            textcoords="offset points",
            fontsize=7,
            color=line.get_color(),
            path_effects=[withStroke(linewidth=2, foreground="white")],
        )
        for row, x, y in zip(of_size, sizes, accuracies, strict=True)
    ]
