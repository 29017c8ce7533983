"""One table, four ways to write it down: CSV, Markdown, LaTeX, and cells for a page."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

MISSING = "–"


class Size(NamedTuple):
    """A size in KiB: mean, and standard deviation over images."""

    mean: float
    std: float

    def __str__(self) -> str:
        return f"{self.mean:.2f} ± {self.std:.2f}"


@dataclass(frozen=True)
class Number:
    """A number and how a person reads it; ``Number(0.5, "+.1%")``."""

    value: float
    style: str

    def __str__(self) -> str:
        return format(self.value, self.style)


Value = str | Size | Number | None
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
        missing: calls of ``make`` that would fill its gaps.
    """

    name: str
    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[Value]]
    note: str = ""
    missing: Sequence[str] = ()


def as_csv(table: Table) -> str:
    """Full numbers, a size in two columns; what is missing stays empty."""
    sizes = [any(isinstance(row[i], Size) for row in table.rows) for i in range(len(table.header))]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    header = []
    for name, size in zip(table.header, sizes, strict=True):
        header += [name, f"{name} std"] if size else [name]
    writer.writerow(header)
    for row in table.rows:
        cells: list[object] = []
        for value, size in zip(row, sizes, strict=True):
            if isinstance(value, Size):
                cells += [value.mean, value.std]
            else:
                plain = value.value if isinstance(value, Number) else value
                cells += [plain, None] if size else [plain]
        writer.writerow(cells)
    return file.getvalue()


def as_markdown(table: Table) -> str:
    """A pipe table under its title."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    rule = [":--" if left else "--:" for left in left_columns(table)]
    lines = [line(table.header), line(rule), *(line(row) for row in cells(table))]
    return "\n".join([f"**{table.title}**", "", *lines, *_notes(table, "\n")]) + "\n"


def as_latex(table: Table) -> str:
    """A ``table`` with booktabs rules."""

    def line(cells: Sequence[str]) -> str:
        return " & ".join(map(_latex, cells)) + r" \\"

    align = "".join("l" if left else "r" for left in left_columns(table))
    lines = [
        "% needs \\usepackage{booktabs}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_latex(table.title)}}}",
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
