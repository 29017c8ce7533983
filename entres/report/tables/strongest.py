"""What the strongest attack on each image does."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, pstdev

from entres.report.bootstrap import mean_interval
from entres.report.formats import Share, Size, Table
from entres.report.strongest import Strongest
from entres.report.tables.common import ball, count


def strongest(found: Sequence[Strongest]) -> Table:
    """A line per defense and ball."""
    import numpy as np

    lines = [
        (
            ball(float(worst.epsilon_255), worst.norm),
            f"{worst.defense} {worst.strength}".strip() or None,
            count(worst.images),
            count(worst.attacks),
            ", ".join(worst.presets) or None,
            Size(fmean(worst.sizes), pstdev(worst.sizes), mean_interval(np.array(worst.sizes))),
            Share(worst.accuracy, worst.images),
            ", ".join(f"{name}: {number}" for name, number in worst.chosen.items()),
        )
        for worst in found
    ]
    header = ("epsilon", "defense", "images", "attacks", "presets", "KiB", "top-1", "chosen")
    return Table("strongest", "Strongest per image", header, lines)
