"""Corruptions: every one at every severity, and means of the categories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from entres.report.corruptions import category_means, clean_row, evaluations
from entres.report.formats import Effect, Number, Share, Table, Value
from entres.report.students import Whose, by_student, student_names
from entres.report.tables.common import Rows, count, notes, points, words
from entres.report.tables.hints import calls
from entres.results import CATEGORIES, EXTRA_CORRUPTIONS, SEVERITIES, Row, relative_change

Names = Mapping[Whose, str]

WHO = ("student", "data", "defense")
EVERY = [
    *((name, category) for category, names in CATEGORIES.items() for name in names),
    *((name, "extra") for name in EXTRA_CORRUPTIONS),
]
"""Corruptions and their categories, in the order of the tables."""


def severities(rows: Rows, gaps: bool = True, names: Names | None = None) -> Table:
    """Size (change) and top-1 under every corruption, a column per severity.

    Args:
        rows: of any students, data and defenses.
        gaps: whether all of the fifteen have lines, measured or not (as long as no student was
            measured under all of them); else only what was measured is there.
        names: of the students; those that tell the rows' students apart if None.
    """
    groups, names = evaluations(rows), names or student_names(rows)
    whole = any(_is_whole(group) for group in groups)
    lines: list[list[Value]] = []
    of_clean = []
    for group in groups:
        clean = clean_row(group)
        if clean is not None:
            of_clean.append(f"clean {clean.kib_mean:.2f} KiB, {_accuracy(clean)}")
        measured: dict[tuple[str | None, int | None], Row] = {
            (row.corruption, row.severity): row for row in group if row.corruption
        }
        expected = gaps and not whole and group[0].defense is None
        known = dict(EVERY)
        own = {row.corruption: "extra" for row in group if row.corruption not in (None, *known)}
        for name, category in (known | own).items():
            cells = [_effect(measured.get((name, severity)), clean) for severity in SEVERITIES]
            if any(cells) or (expected and category != "extra"):
                lines.append([*_who(group, names), category, words(str(name)), *cells])
    # One of which all was measured leaves nothing to ask for; who was asked less has no gaps.
    undefended = [group for group in groups if group[0].defense is None]
    lacking = [] if whole else undefended or by_student(rows) or [list(rows)]
    missing = [x for group in lacking for x in calls("eval-corruptions", group)] if gaps else []
    header = [*WHO, "category", "corruption", *(f"severity {s}" for s in SEVERITIES)]
    # Of several students each has its own; the table of clean images has them.
    note = of_clean[0] if len(groups) == 1 and of_clean else ""
    starred = any(r.accuracy_present not in (None, r.accuracy) for g in groups for r in g)
    among = "top-1 among the classes that occur" if starred else ""
    note = notes([row for group in groups for row in group], note, among, _widest(groups))
    title = "Fifteen corruptions at severities 1 to 5"
    return Table("corruptions", title, header, lines, note, list(dict.fromkeys(missing)), who=3)


def categories(rows: Rows, names: Names | None = None) -> Table:
    """Means per category: over severities, then over corruptions.

    Args:
        rows: of any students, data and defenses.
        names: as for :func:`severities`.
    """
    lines: list[list[Value]] = []
    groups = [(group, category_means(group)) for group in evaluations(rows)]
    names = names or student_names(rows)
    starred = any(
        mean.accuracy_present not in (None, mean.accuracy) for _, means in groups for mean in means
    )
    for group, means in groups:
        for mean in means:
            present = mean.accuracy_present
            star = (
                None if present is None else Share(present, mean.images),
                _points(mean.accuracy_present_change),
            )
            lines.append(
                [
                    *_who(group, names),
                    mean.label,
                    count(mean.corruptions),
                    Number(mean.kib, ".2f"),
                    None if mean.kib_change is None else Number(mean.kib_change, "+.0%"),
                    Share(mean.accuracy, mean.images),
                    _points(mean.accuracy_change),
                    *(star if starred else ()),
                ]
            )
    header = [*WHO, "corruptions", "number", "KiB", "size change", "top-1", "top-1 change"]
    header += ["top-1*", "top-1* change"] if starred else []
    note = notes(
        [row for group, _ in groups for row in group],
        "means over severities, then over corruptions",
        "* among the classes that occur" if starred else "",
        # Of one image the mean over conditions varies no more than one of them can.
        "intervals as wide as those of a single condition" if groups else "",
    )
    return Table("categories", "Categories of corruptions", header, lines, note, who=3)


def _who(group: Rows, names: Names) -> tuple[str, str, str | None]:
    return names[group[0].whose], group[0].dataset, group[0].defense_label


def _widest(groups: Sequence[Rows]) -> str:
    """How far the intervals of a table reach that has no room for them."""
    shares = [_accuracy(row) for group in groups for row in group]
    if not shares:
        return ""
    low, high = max((share.interval for share in shares), key=lambda ends: ends[1] - ends[0])
    return f"intervals of top-1 (in the CSV) are up to {100 * (high - low):.0f} points wide"


def _is_whole(group: Rows) -> bool:
    measured = {(row.corruption, row.severity) for row in group}
    every = {(n, s) for names in CATEGORIES.values() for n in names for s in SEVERITIES}
    return group[0].defense is None and measured >= every


def _effect(row: Row | None, clean: Row | None) -> Effect | None:
    if row is None:
        return None
    change = None if clean is None else relative_change(row.kib_mean, clean.kib_mean)
    return Effect(row.kib_mean, change, _accuracy(row))


def _accuracy(row: Row) -> Share:
    known = row.accuracy if row.accuracy_present is None else row.accuracy_present
    return Share(known, row.images)


def _points(change: float | None) -> Number | None:
    return points(None if change is None else 100 * change)
