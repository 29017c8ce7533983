"""What the strongest attack on each image does."""

from __future__ import annotations

from collections.abc import Sequence

from entres.report.formats import Number, Share, Table
from entres.report.strongest import Strongest
from entres.report.tables.common import count


def strongest(found: Sequence[Strongest]) -> Table:
    """A line per defense and epsilon."""
    lines = [
        (
            f"{float(worst.epsilon_255):g}/255",
            f"{worst.defense} {worst.strength}".strip() or None,
            count(worst.images),
            count(worst.attacks),
            Number(worst.kib_mean, ".2f"),
            Share(worst.accuracy, worst.images),
            ", ".join(f"{name}: {number}" for name, number in worst.chosen.items()),
        )
        for worst in found
    ]
    header = ("epsilon", "defense", "images", "attacks", "KiB", "top-1", "chosen")
    return Table("strongest", "Strongest per image", header, lines)
