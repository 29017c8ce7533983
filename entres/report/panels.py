"""What all figures share: size above, accuracy below, a column for every student, one legend."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from entres.report.intervals import Interval, wilson
from entres.results import Row

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation
    from numpy.typing import NDArray

    Panels = NDArray[np.object_]
    """Axes, shape (2, columns): sizes in the first row, accuracies in the second."""


ACROSS = 4
"""Students beside each other; the next ones stand below, so that a page can show all of them."""


def columns(count: int) -> tuple[Figure, Panels]:
    """An empty figure, and its panels."""
    import numpy as np
    from matplotlib.figure import Figure

    across = min(count, ACROSS)
    bands = -(-count // across)
    figure = Figure(figsize=(3.0 + 3.4 * across, 5.6 * bands), layout="constrained")
    grid = figure.subplots(2 * bands, across, sharex=True, squeeze=False)
    # Of every band the sizes, then the accuracies: those of one student one above the other.
    panels: Panels = np.stack([grid[0::2].ravel(), grid[1::2].ravel()])
    for axes in panels[:, count:].ravel():
        axes.remove()
    panels = panels[:, :count]
    for first, *others in panels:
        for axes in others:
            axes.sharey(first)
    for row in range(2):
        for column in range(count):
            panels[row, column].tick_params(labelleft=column % ACROSS == 0, labelbottom=row == 1)
    return figure, panels


def finish(
    figure: Figure, panels: Panels, title: str, rows: Iterable[Row], accuracy: str = "top-1"
) -> None:
    """Units, limits, the legend, and in the title how many images stand behind the figure.

    The upright lines are 95% intervals, of mean sizes and of accuracies.
    """
    for size, share in panels[:, ::ACROSS].T:
        size.set_ylabel("size of a stream, KiB")
        share.set_ylabel(f"{accuracy}, %")
    size, share = panels[:, 0]
    # From 0 on, with room above what is drawn: sizes that are much alike would touch the edge.
    size.set_ylim(0, 1.05 * max(axes.dataLim.y1 for axes in panels[0]))
    share.set_ylim(0, 100)
    entries: dict[str, Artist] = {}
    for axes in figure.axes:
        axes.grid(axis="y", linewidth=0.4, alpha=0.5)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        handles, labels = axes.get_legend_handles_labels()
        entries |= dict(zip(labels, handles, strict=True))
    figure.legend(list(entries.values()), list(entries), loc="outside right upper", frameon=False)
    # From the left: in the middle of the figure it would run into the legend.
    figure.suptitle(f"{title}, {counted(rows)}", fontsize="medium", x=0.01, ha="left")


def draw_intervals(
    axes: Axes,
    places: Sequence[float],
    intervals: Sequence[Interval | None],
    color: Any = None,
    level: bool = False,
) -> None:
    """An upright line at each place: the interval of what is drawn there.

    Args:
        axes: what is drawn in.
        places: on the level axis.
        intervals: one for each place, in units of the upright axis; None draws nothing.
        color: as matplotlib takes it; that of the axes if None.
        level: whether the lines lie level instead, and the places are on the upright axis.
    """
    import matplotlib as mpl
    from matplotlib.collections import LineCollection

    lines = [
        [(end, place) if level else (place, end) for end in interval]
        for place, interval in zip(places, intervals, strict=True)
        if interval is not None
    ]
    colors = [color] if color is not None else mpl.rcParams["axes.edgecolor"]
    # Matplotlib gets the limits of a collection wrong on a log scale.
    axes.add_collection(LineCollection(lines, colors=colors, linewidths=0.8), autolim=False)
    if lines:
        axes.update_datalim([end for line in lines for end in line], level, not level)


NEAR = [
    (dx, dy, "left" if dx > 0 else "right", "bottom" if dy > 0 else "top")
    for distance in (3, 11, 19, 27)
    for dx, dy in ((3, distance), (-3, distance), (3, -distance), (-3, -distance))
]
"""Where a label may stand beside its point: offsets in points of print, and what of it is there."""


def place_labels(axes: Axes, labels: Sequence[Annotation]) -> None:
    """Put each label where it hides least: no other label, no point, few lines.

    Args:
        axes: all else is drawn in them; their limits and their place in the figure are final.
        labels: of points, their offsets in points of print.
    """
    import numpy as np
    from matplotlib.collections import LineCollection
    from matplotlib.transforms import Bbox

    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()  # only now anybody knows where things are
    to_screen = axes.transData.transform
    places = to_screen([label.xy for label in labels])
    points = [Bbox([place - 4, place + 4]) for place in places]
    intervals = [
        Bbox(to_screen(segment)).padded(1)
        for drawn in axes.collections
        if isinstance(drawn, LineCollection)
        for segment in drawn.get_segments()
    ]
    # Lines lie at an angle: a row of small boxes stands for each of their parts.
    dots = [
        Bbox([dot - 1, dot + 1])
        for line in axes.lines
        for begin, end in pairwise(to_screen(line.get_xydata()))
        for dot in np.linspace(begin, end, 2 + int(np.hypot(*(end - begin)) / 4))
    ]
    placed: list[Bbox] = []
    frame = axes.get_window_extent()

    def hidden(box: Bbox) -> float:
        beyond = box.x0 < frame.x0 or box.x1 > frame.x1 or box.y0 < frame.y0 or box.y1 > frame.y1
        over: list[int] = [box.count_overlaps(there) for there in (placed, points, intervals, dots)]
        cost: float = 100 * (over[0] + beyond) + 10 * over[1] + over[2] + min(2, over[3])
        return cost

    for label in labels:
        boxes = []
        for dx, dy, level, upright in NEAR:
            label.set(position=(dx, dy), ha=level, va=upright)
            boxes.append(label.get_window_extent())
        best = min(range(len(NEAR)), key=lambda number: hidden(boxes[number]) + number / 4)
        dx, dy, level, upright = NEAR[best]
        label.set(position=(dx, dy), ha=level, va=upright)
        placed.append(boxes[best])


def percents(fraction: float, images: int) -> Interval:
    """The interval of a share of images, in percent."""
    low, high = wilson(fraction, images)
    return 100 * low, 100 * high


def as_bytes(figure: Figure, kind: str, **options: Any) -> bytes:
    """A figure as the content of a file.

    Args:
        figure: what is drawn.
        kind: ``png``, ``pdf`` or ``svg``.
        options: of matplotlib's ``savefig``.
    """
    file = io.BytesIO()
    figure.savefig(file, format=kind, **options)
    return file.getvalue()


def counted(rows: Iterable[Row]) -> str:
    """How many images stand behind a figure: of few, a difference may be chance."""
    counts = [row.images for row in rows]
    fewest, most = min(counts), max(counts)
    return f"{most:,} images" if fewest == most else f"{fewest:,} to {most:,} images"
