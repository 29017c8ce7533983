"""Corruptions: every one at every severity, and means of the categories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from entres.report.corruptions import category_means, clean_row, evaluations
from entres.report.formats import Change, Effect, Number, Share, Size, Table, Value
from entres.report.intervals import Interval
from entres.report.students import Whose, by_student, student_names
from entres.report.tables.common import Rows, changes, count, notes, size, words
from entres.report.tables.hints import calls
from entres.results import CATEGORIES, EXTRA_CORRUPTIONS, SEVERITIES, Row

Names = Mapping[Whose, str]

WHO = ("student", "data", "defense")
CORRUPTION_ERROR = "error (teacher 100%)"
ERRORS = (
    "error (teacher 100%): errors by the teacher's, both summed over severities; of all, the mean "
    "corruption error (mCE)"
)
MEAN_ERROR = "mean error (not normalized)"
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
    note = notes(
        [row for group in groups for row in group], note, among, _widest(groups), lines=lines
    )
    title = "Fifteen corruptions at severities 1 to 5"
    return Table("corruptions", title, header, lines, note, list(dict.fromkeys(missing)), who=3)


def categories(rows: Rows, names: Names | None = None, quick: bool = False) -> Table:
    """Means per category: over severities, then over corruptions.

    Args:
        rows: of any students, data and defenses.
        names: as for :func:`severities`.
        quick: whether to leave the records of many images alone, and changes without intervals.
    """
    lines: list[list[Value]] = []
    groups = [(group, category_means(group)) for group in evaluations(rows)]
    names = names or student_names(rows)
    everything = [mean for _, means in groups for mean in means]
    starred = any(mean.accuracy_present not in (None, mean.accuracy) for mean in everything)
    for group, means in groups:
        for mean in means:
            present = mean.accuracy_present
            intervals = mean.intervals(clean_row(group), quick)
            star = (
                None if present is None else Share(present, mean.images),
                _changed(
                    _in_points(mean.accuracy_present_change), intervals.points_present, "+.1f"
                ),
            )
            error = mean.corruption_error
            lines.append(
                [
                    *_who(group, names),
                    mean.label,
                    count(mean.corruptions),
                    Size(mean.kib, None, intervals.size),
                    _changed(mean.kib_change, intervals.size_change, "+.0%"),
                    Share(mean.accuracy, mean.images),
                    _changed(_in_points(mean.accuracy_change), intervals.points, "+.1f"),
                    *(star if starred else ()),
                    None if error is None else Number(error, ".0%"),
                    Number(1 - mean.accuracy, ".1%") if error is None else None,
                ]
            )
    header = [*WHO, "corruptions", "number", "KiB", "size change", "top-1", "top-1 change"]
    header += ["top-1*", "top-1* change"] if starred else []
    header += [CORRUPTION_ERROR, MEAN_ERROR]
    note = notes(
        [row for group, _ in groups for row in group],
        "means over severities, then over corruptions",
        "* among the classes that occur" if starred else "",
        # Of one image the mean over conditions varies no more than one of them can.
        "intervals of top-1 as wide as those of a single condition" if groups else "",
        ERRORS if any(mean.corruption_error is not None for mean in everything) else "",
        lines=lines,
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
    wide = f"intervals (in the CSV) of top-1 are up to {100 * (high - low):.0f} points wide"
    ends = [(size(row).interval, row.kib_mean) for group in groups for row in group]
    widths = [(end[1] - end[0]) / mean for end, mean in ends if end is not None and mean > 0]
    return f"{wide}, those of the size up to {max(widths):.0%} of it" if widths else wide


def _is_whole(group: Rows) -> bool:
    measured = {(row.corruption, row.severity) for row in group}
    every = {(n, s) for names in CATEGORIES.values() for n in names for s in SEVERITIES}
    return group[0].defense is None and measured >= every


def _effect(row: Row | None, clean: Row | None) -> Effect | None:
    if row is None:
        return None
    change = None if clean is None else changes([(clean, row)])[0]
    return Effect(size(row), change, _accuracy(row))


def _accuracy(row: Row) -> Share:
    known = row.accuracy if row.accuracy_present is None else row.accuracy_present
    return Share(known, row.images)


def _changed(change: float | None, interval: Interval | None, style: str) -> Change | Number | None:
    if change is None:
        return None
    return Number(change, style) if interval is None else Change(change, interval, style)


def _in_points(change: float | None) -> float | None:
    return None if change is None else 100 * change
