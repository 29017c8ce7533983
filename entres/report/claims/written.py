"""Findings as tables, and as the page ``findings.md``."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from entres.files import write_whole
from entres.report.claims import Finding, Verdict
from entres.report.claims.asked import asked_of
from entres.report.claims.claim import Claim, Reading
from entres.report.claims.verdicts import FEWEST, combined
from entres.report.formats import Number, Table, as_markdown
from entres.report.students import by_student, student_names
from entres.report.tables.common import Rows, few
from entres.report.tables.hints import calls
from entres.results import Row

FILE = "findings.md"
HEADER = ("claim", "in the paper", "verdict", "readings", "students", "images")
NO_LINE = "no target of this version measures it"


def findings_table(found: Sequence[Finding], rows: Rows) -> Table:
    """Every claim with its verdict; what was not measured, with the line that would."""
    lines = [
        (
            finding.claim.said,
            finding.claim.place,
            str(finding.verdict),
            counted(finding),
            Number(len(finding.students), "d") if finding.readings else None,
            images(finding) or None,
        )
        for finding in found
    ]
    missing = [line for f in found if not f.readings for line in commands(f, rows)]
    note = f"each verdict follows from intervals by a rule: {FILE} has the rules and all figures"
    note = "; ".join(filter(None, (note, few(r.row for f in found for r in f.readings))))
    title = "What the paper claims, and what is so here"
    unique = list(dict.fromkeys(missing))
    return Table("findings", title, HEADER, lines, note, unique, before_figures=True)


def write_findings(to: Path, of_data: Mapping[str, tuple[Rows, Sequence[Finding]]]) -> Path:
    """Write ``findings.md``: claim by claim the rule, the figures, the command and the picture.

    Args:
        to: folder of the report, which holds its figures already; pictures that lie beside
            evaluations are copied there.
        of_data: rows and findings of each data set, by its name.
    """
    parts = [
        "# What the paper claims, and what is so",
        "Written by `entres report` from the results under one folder; every verdict follows from "
        "the figures by the rule beside it. Of several readings (students, presets, radii) a claim "
        "*holds* if it holds in all of them and *holds in part* if in some; where it holds in none "
        "it is *not so* if one speaks against it, else *not shown*: these images cannot tell. "
        f"Of fewer than {FEWEST} images nothing is shown: intervals of so few are too narrow. "
        "Brackets are 95% intervals over images; a change is that of each image against itself. "
        "The paper's numbers are of ImageNet and other students: compare directions. `DATA_DIR` is "
        "the folder of the data.",
    ]
    for name, (rows, found) in of_data.items():
        parts += [f"## {name}", as_markdown(_without_lines(findings_table(found, rows))).rstrip()]
        for number, finding in enumerate(found, 1):
            parts.append(_section(number, finding, rows, to, name))
    if not of_data:
        parts.append("There are no results yet.")
    return write_whole(to / FILE, _anywhere("\n\n".join(parts)) + "\n")


def _anywhere(text: str) -> str:
    """Lines of make and of entres without the folder that the data have on this machine."""
    return re.sub(r"(DATA_DIR=|--data_dir )(?:'[^']*'|[^\s;]+)", r"\1$DATA_DIR", text)


def _without_lines(table: Table) -> Table:
    """Each claim's section has its line."""
    return Table(table.name, "", table.header, table.rows, table.note)


def _section(number: int, finding: Finding, rows: Rows, to: Path, data: str) -> str:
    claim = finding.claim
    # Without its full stop, as a heading stands.
    parts = [f"### {number}. {claim.said.rstrip('.')}: {finding.verdict}"]
    parts.append(f"{_capital(claim.place)}. **Rule:** {claim.rule}.")
    if finding.readings:
        parts += [for_whom(finding, rows), as_markdown(readings_table(finding, rows)).strip()]
    lines = commands(finding, rows)
    parts.append("\n".join(["```", *lines, "```"]) if lines else f"{_capital(NO_LINE)}.")
    if finding.readings and (figure := _figure(claim, finding, to, data)):
        parts.append(figure)
    return "\n\n".join(part for part in parts if part)


def readings_table(finding: Finding, rows: Rows) -> Table:
    """Every figure that a verdict rests on."""
    names = student_names(rows)
    header = ("student", "what", "size", "top-1, points", "measured", "images", "verdict")
    lines = [
        (
            _who(reading, names),
            reading.what,
            reading.size,
            reading.points,
            reading.other,
            Number(reading.images, ",d"),
            str(reading.verdict),
        )
        for reading in finding.readings
    ]
    return Table("readings", "", header, lines, few(r.row for r in finding.readings))


def for_whom(finding: Finding, rows: Rows) -> str:
    """Which students a claim holds for, where they do not agree."""
    names = student_names(rows)
    by_name: dict[str, list[Verdict]] = {}
    for reading in finding.readings:
        by_name.setdefault(_who(reading, names), []).append(reading.verdict)
    verdicts = {who: combined(found) for who, found in by_name.items()}
    if len(set(verdicts.values())) < 2:
        return ""
    groups = {v: [who for who, own in verdicts.items() if own is v] for v in Verdict}
    said = [f"{verdict} for {', '.join(who)}" for verdict, who in groups.items() if who]
    return f"{_capital('; '.join(said))}."


def counted(finding: Finding) -> str | None:
    """How many readings there are of each verdict."""
    verdicts = [reading.verdict for reading in finding.readings]
    counts = [(verdicts.count(verdict), str(verdict)) for verdict in Verdict if verdict in verdicts]
    return ", ".join(f"{number} {verdict}" for number, verdict in counts) or None


def images(finding: Finding) -> str:
    """The fewest and the most images that a reading is of."""
    if finding.images is None:
        return ""
    fewest, most = finding.images
    return f"{fewest:,}" if fewest == most else f"{fewest:,} to {most:,}"


def commands(finding: Finding, rows: Rows) -> list[str]:
    """The lines of make that measure a claim: of its students, or of those that it would need."""
    claim, lines = finding.claim, []
    if finding.readings:
        for student in by_student(_spoken_of(finding)):
            for measured, asked in asked_of(claim, student):
                lines += calls(claim.target, measured, **asked)
    else:
        for codec in claim.codecs or (None,):
            named = {} if codec is None else {"codec": codec}
            lines += calls(claim.target, _of_codec(rows, codec), **claim.asked, **named)
    return list(dict.fromkeys(map(as_make, lines)))


def _spoken_of(finding: Finding) -> list[Row]:
    """The rows that its readings are of."""
    return [row for reading in finding.readings for row in (reading.row, *reading.others)]


def _of_codec(rows: Rows, codec: str | None) -> Rows:
    return [row for row in rows if row.codec == codec] or rows


def as_make(line: str) -> str:
    """A line of ``entres`` as one of ``make``: its flags are variables there."""
    _, target, *words = shlex.split(line)
    pairs = zip(words[::2], words[1::2], strict=True)
    variables = [f"{flag.lstrip('-').upper()}={shlex.quote(value)}" for flag, value in pairs]
    return " ".join(["make", target, *variables])


def _figure(claim: Claim, finding: Finding, to: Path, data: str) -> str:
    """The pictures beside the evaluations that a reading is of, else that of the report."""
    if claim.figure is None:
        return ""
    if beside := _with_picture(claim.figure, finding):
        shown = ((row, _copied(row, claim.figure, to, data)) for row in beside)
        return "\n\n".join(
            f"![{claim.figure} of {row.student}]({file.as_posix()})" for row, file in shown
        )
    for suffix, text in (("png", "![{}]({})"), ("md", "[{}]({})")):
        file = Path(data) / f"{claim.figure}.{suffix}"
        if (to / file).is_file():
            return text.format(f"{claim.figure} of {data}", file.as_posix())
    return ""


def _with_picture(figure: str, finding: Finding) -> list[Row]:
    """A row of every evaluation that has left the picture beside its results."""
    rows = {reading.row.folder: reading.row for reading in finding.readings}
    return [
        row
        for folder, row in sorted(rows.items(), key=lambda item: str(item[0]))
        if folder is not None and (folder / f"{figure}.png").is_file()
    ]


def _copied(row: Row, figure: str, to: Path, data: str) -> Path:
    """The picture in the folder of the report, by its name there."""
    assert row.folder is not None
    student = "-".join(filter(None, row.whose))
    name = Path(data) / f"{figure}-{student}-{row.folder.name}.png"
    write_whole(to / name, (row.folder / f"{figure}.png").read_bytes())
    return name


def copy_findings(report: Path, page: Path) -> list[Path]:
    """Copy the findings of a report to another place, with the pictures and tables that they show.

    Args:
        report: folder of the report.
        page: the file to write; the pictures go into ``figures`` beside it, the tables into it.

    Returns:
        The page, and the pictures.
    """
    written: list[Path] = []

    def picture(link: re.Match[str]) -> str:
        shown, file = link[1], Path(link[2])
        to = Path("figures") / f"findings-{'-'.join(file.parts)}"
        written.append(write_whole(page.parent / to, (report / file).read_bytes()))
        return f"![{shown}]({to.as_posix()})"

    def table(link: re.Match[str]) -> str:
        return _anywhere((report / link[1]).read_text(encoding="utf-8").strip())

    text = (report / FILE).read_text(encoding="utf-8")
    text = re.sub(r"(?<!!)\[[^]]*\]\(([^)]+\.md)\)", table, text)
    text = re.sub(r"!\[([^]]*)\]\(([^)]+\.png)\)", picture, text)
    return [write_whole(page, text), *written]


def _who(reading: Reading, names: Mapping[tuple[str, str], str]) -> str:
    """The students of a reading by their names."""
    return ", ".join(dict.fromkeys(names[r.whose] for r in (reading.row, *reading.others)))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
