"""What is over a budget, as files: the curve as a table and as a picture, and every image."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from entres.files import write_whole
from entres.report.formats import as_csv
from entres.report.over_budget import OverBudget
from entres.report.panels import as_bytes, draw_intervals, percents
from entres.report.tables.over_budget import TABLE, curve

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURE, IMAGES = "budget.png", "smallest-epsilons.csv"
BESIDE, SPREAD = 0.006, 0.04
"""Between the points of two attacks at one epsilon, and of all of them at most, in units of the
largest: else one hides the other's interval."""
TICK = 0.05
"""Between two marked epsilons at least, in units of the largest: else round numbers are marked."""


def write_over_budget(found: Sequence[OverBudget], folder: Path) -> list[Path]:
    """Write what is over the budget: the curve as a table and as a picture, and every image.

    Returns:
        The files.
    """
    return [
        write_whole(folder / TABLE, as_csv(curve(found, whole=True))),
        write_whole(folder / IMAGES, _of_images(found)),
        write_whole(folder / PICTURE, as_bytes(draw(found), "png", dpi=120)),
    ]


def _of_images(found: Sequence[OverBudget]) -> str:
    """A line for each attack and image; no epsilon where none passes."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["attack", "defense", "image", "smallest_epsilon_255"])
    for attack in found:
        for key, epsilon in zip(attack.keys.tolist(), attack.smallest_255.tolist(), strict=True):
            shown = f"{epsilon:g}" if isfinite(epsilon) else ""
            writer.writerow([attack.label, attack.defense or "", key, shown])
    return text.getvalue()


def draw(found: Sequence[OverBudget]) -> Figure:
    """Share of the images that are over the budget, over epsilon; a line for each attack."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.2 + 0.22 * len(found)), layout="constrained")
    axes = figure.subplots()
    apart = min(BESIDE, SPREAD / len(found)) * max(attack.epsilons_255[-1] for attack in found)
    for number, (attack, style) in enumerate(zip(found, _styles(found), strict=True)):
        shares = attack.shares
        heights = [100 * share.fraction for share in shares]
        places = [epsilon + number * apart for epsilon in attack.epsilons_255]
        (line,) = axes.plot(places, heights, markersize=4, label=attack.name, **style)
        draw_intervals(axes, places, [percents(*share) for share in shares], line.get_color())
    axes.set_xlabel("epsilon, 1/255 (0: clean)")
    axes.set_ylabel(f"images over {found[0].budget_kib:.4g} KiB, %")
    axes.set_ylim(-2, 102)
    axes.grid(axis="y", linewidth=0.4, alpha=0.5)
    axes.spines[["top", "right"]].set_visible(False)
    ticks = sorted({epsilon for attack in found for epsilon in attack.epsilons_255})
    if all(after - tick > TICK * ticks[-1] for tick, after in pairwise(ticks)):
        axes.set_xticks(ticks)
    # Below: an attack through a defense has a long name.
    figure.legend(loc="outside lower left", frameon=False)
    counts = sorted({attack.images for attack in found})
    images = " to ".join(f"{count:,}" for count in dict.fromkeys((counts[0], counts[-1])))
    title = f"Streams over a budget, {images} images (upright: 95% intervals)"
    figure.suptitle(title, fontsize="medium", x=0.01, ha="left")
    return figure


def _styles(found: Sequence[OverBudget]) -> Iterator[dict[str, Any]]:
    """A colour for each attack, a line and a marker for each defense."""
    attacks = list(dict.fromkeys(attack.label for attack in found))
    defenses = list(dict.fromkeys([None, *(attack.defense for attack in found)]))
    lines, markers = ("-", "--", ":", "-."), ("o", "s", "^", "v", "D")
    for attack in found:
        number = defenses.index(attack.defense)
        yield {
            "color": f"C{attacks.index(attack.label) % 10}",
            "linestyle": lines[number % len(lines)],
            "marker": markers[number % len(markers)],
        }
