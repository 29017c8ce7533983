"""One table, and the ways to write it down: CSV, Markdown, LaTeX, cells for a page or terminal."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import NamedTuple

from entres.report.intervals import Interval, wilson
from entres.results import LEVEL

MISSING = "–"
NOT_SHOWN = "not shown"
"""Behind a change that may be none."""
SAME = "the same"
"""Of a change where there is none in any image."""


class Size(NamedTuple):
    """A size in KiB: mean, standard deviation over images, and the interval of the mean.

    ``10.02 ± 1.50 [9.73, 10.31]``; a mean over conditions has no deviation, and what others have
    published, or a single image, no interval.
    """

    mean: float
    std: float | None = None
    interval: Interval | None = None

    def __str__(self) -> str:
        deviation = "" if self.std is None else f" ± {self.std:.2f}"
        return f"{self.mean:.2f}{deviation}" + _brackets(self.interval, ".2f")


@dataclass(frozen=True)
class Number:
    """A number and how a person reads it; ``Number(0.5, "+.1%")``."""

    value: float
    style: str

    def __str__(self) -> str:
        return format(self.value, self.style)


@dataclass(frozen=True)
class Change:
    """A change from one row to another of the same images: ``+95.3% [+90.1, +101.2]``.

    Attributes:
        value: relative, or in points.
        interval: its ends.
        style: of the numbers, as :class:`Number` has it.
        p_value: of a test that there is none, where there was one.
        alone: images that not all of the compared rows have: they are left out.
    """

    value: float
    interval: Interval
    style: str
    p_value: float | None = None
    alone: int = 0

    @property
    def is_shown(self) -> bool:
        """Whether there is a change at all, as far as these images can tell."""
        low, high = self.interval
        by_chance = self.p_value is not None and self.p_value >= 1 - LEVEL
        return not (low <= 0 <= high or by_chance)

    def __str__(self) -> str:
        if self.value == 0 and tuple(self.interval) == (0, 0):
            return SAME
        text = format(self.value, self.style) + _brackets(self.interval, self.style)
        return text if self.is_shown else f"{text} {NOT_SHOWN}"


class Share(NamedTuple):
    """A share of images, such as an accuracy: ``93.1% [88.1, 96.1]``."""

    fraction: float
    images: int

    @property
    def interval(self) -> tuple[float, float]:
        """See :func:`wilson`."""
        return wilson(self.fraction, self.images)

    def __str__(self) -> str:
        return f"{self.fraction:.1%}" + _brackets(self.interval, ".1%")


class Ranged(NamedTuple):
    """A figure and the ends of its interval, ``35.7 [23.1, 53.0]``.

    Infinity is written as ``beyond``.
    """

    value: float
    low: float
    high: float
    style: str
    beyond: str = "never"

    def __str__(self) -> str:
        ends = self.value, self.low, self.high
        value, low, high = (format(x, self.style) if isfinite(x) else self.beyond for x in ends)
        return f"{value} [{low}, {high}]"


class Effect(NamedTuple):
    """What a condition does: size in KiB, its relative change, and top-1.

    In a table of many of them only files have room for the intervals.
    """

    size: Size
    change: Change | Number | None
    accuracy: Share

    def __str__(self) -> str:
        change = MISSING if self.change is None else f"{self.change.value:+.0%}"
        return f"{self.size.mean:.2f} ({change}) {self.accuracy.fraction:.0%}"


Value = str | Size | Share | Ranged | Effect | Change | Number | None
"""What stands in a cell; None where it has not been measured."""


@dataclass(frozen=True)
class Table:
    """A table of results.

    Attributes:
        name: of its files.
        title: what it shows, and which part of the paper.
        header: names of the columns.
        rows: their cells.
        note: what a reader must know to read it.
        missing: lines of ``entres`` that would fill its gaps.
        who: how many of the first columns say whose row it is (student, data, ...).
        about: what is the same in every row, where it has been taken out of them.
        before_figures: whether it says what was found, and stands before the figures of a report.
    """

    name: str
    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[Value]]
    note: str = ""
    missing: Sequence[str] = ()
    who: int = 0
    about: str = ""
    before_figures: bool = False

    @property
    def heading(self) -> str:
        """The title, and what is the same in every row."""
        return ": ".join(part for part in (self.title, self.about) if part)

    def condensed(self) -> Table:
        """As a person reads it: who is the same in every row is said once, and a column in which
        nothing stands is left out.
        """
        kept, about = [], []
        for number in range(len(self.header)):
            values = {row[number] for row in self.rows}
            if values == {None}:
                continue
            if number < self.who and len(values) == 1:
                about.append(str(values.pop()))
            else:
                kept.append(number)
        return replace(
            self,
            header=[self.header[number] for number in kept],
            rows=[[row[number] for number in kept] for row in self.rows],
            about=" · ".join(about),
            who=sum(number < self.who for number in kept),
        )


def as_csv(table: Table) -> str:
    """Full numbers, all columns; what has several parts has a column for each of them."""
    parts = [
        dict.fromkeys(part for row in table.rows for part in _parts(row[number])) or {"": None}
        for number in range(len(table.header))
    ]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    named = zip(table.header, parts, strict=True)
    writer.writerow([f"{name} {part}".rstrip() for name, found in named for part in found])
    for row in table.rows:
        values = zip(map(_parts, row), parts, strict=True)
        writer.writerow([value.get(part) for value, found in values for part in found])
    return file.getvalue()


def _parts(value: Value) -> dict[str, object]:
    """The plain values in a cell, by what is added to the column's name; nothing if it is empty."""
    match value:
        case None:
            return {}
        case Size():
            std = {} if value.std is None else {"std": value.std}
            return {"": value.mean, **std, **_ends(value.interval)}
        case Share():
            return {"": value.fraction, **_ends(value.interval)}
        case Ranged():
            return {"": value.value, "low": value.low, "high": value.high}
        case Change():
            return {"": value.value, **_ends(value.interval)}
        case Effect():
            named = {"KiB": value.size, "change": value.change, "top-1": value.accuracy}
            return {
                f"{name} {part}".rstrip(): number
                for name, cell in named.items()
                for part, number in _parts(cell).items()
            }
        case Number():
            return {"": value.value}
    return {"": value}


def _ends(interval: Interval | None) -> dict[str, object]:
    return {} if interval is None else {"low": interval[0], "high": interval[1]}


def _brackets(interval: Interval | None, style: str) -> str:
    """An interval behind its number, in the same unit."""
    if interval is None:
        return ""
    low, high = (format(end, style).rstrip("%") for end in interval)
    return f" [{low}, {high}]"


def as_markdown(table: Table) -> str:
    """A pipe table, under its title if it has one."""
    table = table.condensed()

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    rule = [":--" if left else "--:" for left in left_columns(table)]
    lines = [line(table.header), line(rule), *(line(row) for row in cells(table))]
    title = [f"**{table.heading}**", ""] if table.heading else []
    return "\n".join([*title, *lines, *_notes(table, "\n")]) + "\n"


def as_latex(table: Table) -> str:
    """A ``table`` with booktabs rules."""
    table = table.condensed()

    def line(cells: Sequence[str]) -> str:
        return " & ".join(map(_latex, cells)) + r" \\"

    align = "".join("l" if left else "r" for left in left_columns(table))
    lines = [
        "% needs \\usepackage{booktabs}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_latex(table.heading)}}}",
        rf"\begin{{tabular}}{{{align}}}",
        r"\toprule",
        line(table.header),
        r"\midrule",
        *(line(row) for row in cells(table)),
        r"\bottomrule",
        r"\end{tabular}",
        *(rf"\par\footnotesize {_latex(note)}" for note in _notes(table, "") if note),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


FORMATS: dict[str, Callable[[Table], str]] = {"csv": as_csv, "md": as_markdown, "tex": as_latex}
"""By the suffix of the file."""


def cells(table: Table) -> list[list[str]]:
    """The rows as a person reads them."""
    return [[MISSING if value is None else str(value) for value in row] for row in table.rows]


def left_columns(table: Table) -> list[bool]:
    """Which columns hold words, and are written from the left."""
    return [any(isinstance(row[i], str) for row in table.rows) for i in range(len(table.header))]


def _notes(table: Table, before: str) -> list[str]:
    missing = f"Not run yet: {'; '.join(table.missing)}" if table.missing else ""
    return [before + note for note in (table.note, missing) if note]


_LATEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    MISSING: "--",
}


def _latex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)
