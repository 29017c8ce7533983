"""What all figures share: size above, accuracy below, a column for every student, one legend."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from entres.report.intervals import Interval, wilson
from entres.results import Row

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
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
    figure.suptitle(f"{title}, {_images(rows)}", fontsize="medium", x=0.01, ha="left")


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


def _images(rows: Iterable[Row]) -> str:
    """Of few, a difference may be chance."""
    counts = [row.images for row in rows]
    fewest, most = min(counts), max(counts)
    return f"{most:,} images" if fewest == most else f"{fewest:,} to {most:,} images"
