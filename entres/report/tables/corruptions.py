"""Corruptions: every one at every severity, and means of the categories."""

from __future__ import annotations

from entres.report.corruptions import category_means, clean_row, evaluations
from entres.report.formats import Effect, Number, Table, Value
from entres.report.tables.common import Rows, by_student, count, points, share, words
from entres.report.tables.hints import make_call
from entres.results import CATEGORIES, EXTRA_CORRUPTIONS, SEVERITIES, Row, relative_change

WHO = ("student", "data", "defense")
EVERY = [
    *((name, category) for category, names in CATEGORIES.items() for name in names),
    *((name, "extra") for name in EXTRA_CORRUPTIONS),
]
"""Corruptions and their categories, in the order of the tables."""


def severities(rows: Rows, gaps: bool = True) -> Table:
    """Size (change) and top-1 under every corruption, a column per severity.

    Args:
        rows: of any students, data and defenses.
        gaps: whether all of the fifteen have lines, measured or not (as long as no student was
            measured under all of them); else only what was measured is there.
    """
    groups = evaluations(rows)
    whole = any(_is_whole(group) for group in groups)
    lines: list[list[Value]] = []
    notes = []
    for group in groups:
        clean = clean_row(group)
        if clean is not None:
            notes.append(f"clean {clean.kib_mean:.2f} KiB, {_accuracy(clean):.0%}")
        measured: dict[tuple[str | None, int | None], Row] = {
            (row.corruption, row.severity): row for row in group if row.corruption
        }
        expected = gaps and not whole and group[0].defense is None
        known = dict(EVERY)
        own = {row.corruption: "extra" for row in group if row.corruption not in (None, *known)}
        for name, category in (known | own).items():
            cells = [_effect(measured.get((name, severity)), clean) for severity in SEVERITIES]
            if any(cells) or (expected and category != "extra"):
                lines.append([*_who(group), category, words(str(name)), *cells])
    # One of which all was measured leaves nothing to ask for; who was asked less has no gaps.
    undefended = [group for group in groups if group[0].defense is None]
    lacking = [] if whole else undefended or by_student(rows) or [list(rows)]
    missing = [make_call("eval-corruptions", group) for group in lacking] if gaps else []
    header = [*WHO, "category", "corruption", *(f"severity {s}" for s in SEVERITIES)]
    # Of several students each has its own; the table of clean images has them.
    note = notes[0] if len(groups) == 1 and notes else ""
    starred = any(r.accuracy_present not in (None, r.accuracy) for g in groups for r in g)
    among = "top-1 among the classes that occur" if starred else ""
    note = "; ".join(part for part in (note, among) if part)
    title = "Fifteen corruptions at severities 1 to 5"
    return Table("corruptions", title, header, lines, note, list(dict.fromkeys(missing)), who=3)


def categories(rows: Rows) -> Table:
    """Means per category: over severities, then over corruptions.

    Args:
        rows: of any students, data and defenses.
    """
    lines: list[list[Value]] = []
    groups = [(group, category_means(group)) for group in evaluations(rows)]
    starred = any(
        mean.accuracy_present not in (None, mean.accuracy) for _, means in groups for mean in means
    )
    for group, means in groups:
        for mean in means:
            star = (share(mean.accuracy_present), _points(mean.accuracy_present_change))
            lines.append(
                [
                    *_who(group),
                    mean.label,
                    count(mean.corruptions),
                    Number(mean.kib, ".2f"),
                    None if mean.kib_change is None else Number(mean.kib_change, "+.0%"),
                    share(mean.accuracy),
                    _points(mean.accuracy_change),
                    *(star if starred else ()),
                ]
            )
    header = [*WHO, "corruptions", "number", "KiB", "size change", "top-1", "top-1 change"]
    header += ["top-1*", "top-1* change"] if starred else []
    note = "Means over severities, then over corruptions"
    note += "; * among the classes that occur" if starred else ""
    return Table("categories", "Categories of corruptions", header, lines, note, who=3)


def _who(group: Rows) -> tuple[str, str, str | None]:
    return group[0].student, group[0].dataset, group[0].defense_label


def _is_whole(group: Rows) -> bool:
    measured = {(row.corruption, row.severity) for row in group}
    every = {(n, s) for names in CATEGORIES.values() for n in names for s in SEVERITIES}
    return group[0].defense is None and measured >= every


def _effect(row: Row | None, clean: Row | None) -> Effect | None:
    if row is None:
        return None
    change = None if clean is None else relative_change(row.kib_mean, clean.kib_mean)
    return Effect(row.kib_mean, change, _accuracy(row))


def _accuracy(row: Row) -> float:
    return row.accuracy if row.accuracy_present is None else row.accuracy_present


def _points(change: float | None) -> Number | None:
    return points(None if change is None else 100 * change)
