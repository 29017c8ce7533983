"""Two students, or two conditions, image by image."""

from __future__ import annotations

from collections.abc import Sequence

from entres.report.formats import Change, Number, Size, Table, Value
from entres.report.paired import Pair, compare
from entres.report.records import size_interval
from entres.report.tables.common import count, few, share

HEADER = (
    *("condition", "images", "KiB A", "KiB B", "size"),
    *("top-1 A", "top-1 B", "points", "McNemar p"),
)


def comparison(pairs: Sequence[Pair], names: tuple[str, str]) -> Table:
    """What changes from the first row of each pair to the second.

    Args:
        pairs: rows of the same images.
        names: of both sides, for the title.

    Raises:
        ResultsError: if rows cannot be compared.
    """
    lines: list[Sequence[Value]] = []
    alone: list[str] = []
    for before, after in pairs:
        found = compare([(before, after)])
        labels = list(dict.fromkeys((before.label, after.label)))
        what = " → ".join(labels)
        p_value = found.accuracy.p_value if isinstance(found.accuracy, Change) else None
        line: list[Value] = [
            what,
            count(found.images),
            Size(before.kib_mean, None, size_interval(before)),
            Size(after.kib_mean, None, size_interval(after)),
            found.size,
            share(before.accuracy, before),
            share(after.accuracy, after),
            found.accuracy,
            None if p_value is None else Number(p_value, ".2g"),
        ]
        lines.append(line)
        if found.alone:
            alone.append(f"{what}: {found.alone:,} images are in one alone and left out")
    note = "; ".join(
        filter(
            None,
            (
                "size and points: what changes from A to B, paired by image",
                "in brackets: 95% intervals over images",
                few(row for pair in pairs for row in pair),
                *alone,
            ),
        )
    )
    title = names[0] if names[0] == names[1] else f"A: {names[0]}, B: {names[1]}"
    return Table("comparison", title, HEADER, lines, note)
