"""The report: tables and figures as files, and one HTML page that needs nothing but itself."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from entres.card import read_card
from entres.errors import EntresError, WeightsError
from entres.experiment.layout import student_beside
from entres.experiment.stamps import (
    duration,
    is_finished,
    log_path,
    read_plans,
    read_stamps,
    versions,
)
from entres.files import write_whole
from entres.link.study import FILE as STUDY
from entres.link.study import Study
from entres.report import link
from entres.report.attack_warnings import attack_warnings
from entres.report.claims import findings
from entres.report.claims.written import findings_table, write_findings
from entres.report.figures import FIGURES, write_figures
from entres.report.formats import FORMATS, Table, cells, left_columns
from entres.report.maps import FILE, NUMBERS, PICTURES, numbers_table, read_maps
from entres.report.panels import as_bytes
from entres.report.rerun import same_again, settings_of, student_of
from entres.report.students import student_names
from entres.report.tables import TABLES
from entres.results import ResultsError, Row, evaluation_files, find_results

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Of = TypeVar("Of")
"""What a figure is of."""

# Text stays text, and the same results give the same file.
SVG = {"svg.fonttype": "none", "svg.hashsalt": "entres", "savefig.transparent": True}
INK = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
DARK = dict.fromkeys(INK, "#d6d9de")


def write_report(out: str | Path, to: str | Path) -> list[Path]:
    """Write every table and figure of the results under a folder, ``findings.md``, ``index.html``.

    Args:
        out: folder of all runs; it may hold nothing.
        to: folder of the report, ``<dataset>/`` in it for files of tables and figures.

    Returns:
        The files, the page first.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    out, to = Path(out), Path(to)
    _, rows, unreadable, partial = find_results(out)
    written = write_figures(rows, to)
    datasets = []
    found = {}
    # ImageNet-C is ImageNet under corruptions: its rows belong beside the clean ones.
    names = sorted({row.images_of for row in rows})
    for name in names:
        of_data = [row for row in rows if row.images_of == name]
        # A table that nothing is for (a single seed, say) is none.
        found[name] = (of_data, findings(of_data))
        tables = [findings_table(found[name][1], of_data)]
        tables += [t for t in (make(of_data) for make in TABLES) if t.rows or t.missing]
        written += _write_tables(tables, to / name)
        drawn = {figure: _drawn(draw, of_data) for figure, draw in FIGURES.items()}
        datasets.append(
            {
                "id": f"data-{names.index(name)}",
                "name": name,
                # What was found comes before the figures, what it was found from behind them.
                "first": [_shown(table) for table in tables if table.before_figures],
                "others": [_shown(table) for table in tables if not table.before_figures],
                "figures": [figure for figure in drawn.values() if figure is not None],
                "no_figures": [_what(FIGURES[n]) for n, f in drawn.items() if f is None],
                "warnings": _warnings(of_data),
            }
        )
    written.append(write_findings(to, found))
    maps = _maps(out, unreadable)
    links = _links(out, unreadable)
    template = Environment(
        loader=PackageLoader("entres.report", "."), autoescape=True, undefined=StrictUndefined
    ).get_template("page.html")
    page = write_whole(
        to / "index.html",
        template.render(
            out=str(out),
            written=datetime.now(timezone.utc).strftime("%d %B %Y, %H:%M UTC"),
            datasets=datasets,
            maps=maps,
            links=links,
            unreadable=unreadable,
            partial=partial,
            students=_students(out, rows),
            plans=_plans(out),
            versions=_versions(out),
        ),
    )
    return [page, *written]


def _shown(table: Table) -> dict[str, Any]:
    """What the page needs of a table.

    Of a table without any figure of one's own only what would measure it is shown.
    """
    table = table.condensed()
    left = left_columns(table)
    figures = [
        number
        for number, name in enumerate(table.header)
        if not (left[number] or name.startswith("paper"))
    ]
    measured = any(row[number] is not None for row in table.rows for number in figures)
    return vars(table) | {"cells": cells(table) if measured else [], "left": left}


def _maps(out: Path, unreadable: list[str]) -> list[dict[str, Any]]:
    """The pictures that lie beside results, and maps: their pictures and their numbers.

    Args:
        out: folder of all runs.
        unreadable: takes a sentence on each file that is damaged.
    """
    shown: list[dict[str, Any]] = []
    files = [*_shown_here(evaluation_files(out, "*.png")), *evaluation_files(out, FILE)]
    for folder in sorted({path.parent for path in files}):
        pictures, tables = {}, []
        try:
            if (folder / FILE).is_file():
                maps = read_maps(folder)
                pictures = {n: as_bytes(draw(maps), "png", dpi=120) for n, draw in PICTURES.items()}
            if (folder / NUMBERS).is_file():
                tables.append(_shown(numbers_table(folder / NUMBERS)))
        except ResultsError as error:
            unreadable.append(str(error))
        for path in sorted(_shown_here(folder.glob("*.png")), reverse=True):  # Fig. 5 before Fig. 6
            pictures.setdefault(path.stem, path.read_bytes())
        name = f"{folder.parents[1].name}, {folder.name}"
        shown.append(
            {
                "id": len(shown),
                "name": name,
                "pictures": [_picture(n, content, name) for n, content in pictures.items()],
                "tables": tables,
            }
        )
    return shown


def _shown_here(pictures: Iterable[Path]) -> list[Path]:
    """Those of which the report has no section of its own."""
    return [path for path in pictures if path.name != link.PICTURE]


def _links(out: Path, unreadable: list[str]) -> list[dict[str, Any]]:
    """What became of each shared uplink.

    Args:
        out: folder of all runs.
        unreadable: takes a sentence on each file that is damaged.
    """
    shown: list[dict[str, Any]] = []
    for path in evaluation_files(out, STUDY):
        try:
            study = Study.read(path.parent)
        except ResultsError as error:
            unreadable.append(str(error))
            continue
        tables = [link.saturation(study), *link.experiences(study)]
        shown.append(
            {
                "id": len(shown),
                "name": f"{path.parents[2].name}, {path.parent.name}",
                "how_to_read": link.how_to_read(study),
                "figure": _drawn(link.draw, study),
                "tables": [_shown(table) for table in tables],
            }
        )
    return shown


def _picture(stem: str, content: bytes, of: str) -> dict[str, str]:
    caption = _what(PICTURES[stem]) if stem in PICTURES else stem
    source = _inline("image/png", content)
    return {"source": source, "caption": caption, "alt": f"{caption} ({of})"}


def _write_tables(tables: Sequence[Table], folder: Path) -> list[Path]:
    return [
        write_whole(folder / f"{table.name}.{suffix}", write(table))
        for table in tables
        for suffix, write in FORMATS.items()
    ]


def _drawn(draw: Callable[[Of], Figure | None], of: Of) -> dict[str, str] | None:
    """A figure for light and for dark pages, and what it shows."""
    import matplotlib as mpl

    drawn = {}
    for theme, colours in (("light", {}), ("dark", DARK)):
        style: dict[Any, Any] = {**SVG, **colours}
        with mpl.rc_context(style):
            figure = draw(of)
            if figure is None:
                return None
            image = as_bytes(figure, "svg", metadata={"Date": None})
        drawn[theme] = _inline("image/svg+xml", image)
    return {**drawn, "alt": _what(draw)}


def _what(draw: Callable[..., object]) -> str:
    return (draw.__doc__ or draw.__name__).splitlines()[0].rstrip(".")


def _inline(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _warnings(rows: Sequence[Row]) -> list[tuple[str, str, list[str]]]:
    """What is said of attacks, once for each student, and of which conditions."""
    warnings: dict[tuple[str, str], dict[str, None]] = {}
    names = student_names(rows)
    for row, sentence in attack_warnings(rows):
        warnings.setdefault((names[row.whose], sentence), {})[row.label] = None
    return [(student, sentence, list(where)) for (student, sentence), where in warnings.items()]


def _students(out: Path, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """What is known of each student that was evaluated, and how to do so again."""
    groups: dict[Path, list[Row]] = {}
    for row in rows:
        assert row.folder is not None
        groups.setdefault(student_beside(row.folder).parent, []).append(row)
    students = []
    for folder, of_student in sorted(groups.items()):
        row = of_student[0]
        names = ("backbone", "codec", "beta", "recipe", "seed")
        facts: dict[str, Any] = {name: getattr(row, name) for name in names}
        facts["evaluated on"] = ", ".join(sorted({row.dataset for row in of_student}))
        facts["images"] = f"{max(row.images for row in of_student):,}"
        file = student_of(row, settings_of(row.folder))
        facts["file"] = file or f"not in {folder}"
        if row.weights is not None:
            facts["file"] = f"{facts['file']} ({row.weights})"
        with suppress(WeightsError):
            card = asdict(read_card(file)) if file else {}
            facts |= {k.replace("_", " "): v for k, v in card.items() if v is not None}
        evaluations = sorted({row.folder for row in of_student if row.folder})
        commands = [line for line in map(same_again, evaluations) if line]
        name = folder.relative_to(out) if folder.is_relative_to(out) else folder
        students.append({"name": str(name), "facts": facts, "commands": commands})
    return students


def _plans(out: Path) -> list[dict[str, Any]]:
    """The cells of each matrix that was begun: their state, and the lines that they come to."""
    stamps = read_stamps(out)
    plans = []
    for plan in read_plans(out):
        lines = []
        for cell in plan.cells:
            stamp = stamps.get(cell.name)
            try:
                done, command = is_finished(cell, stamps), cell.line(out)
            except EntresError as error:  # a plan of another version, or somebody wrote into it
                done, command = False, str(error)
            begun = log_path(out, cell.name).is_file()
            state = "begun, or failed: see its log" if begun else "not run yet"
            lines.append(
                {
                    "name": cell.name,
                    "state": "finished" if done else state,
                    "took": duration(stamp.seconds) if stamp and done else "",
                    "finished": stamp.finished if stamp and done else "",
                    "machine": stamp.machine if stamp and done else "",
                    "command": command,
                    "lines": stamp.lines if stamp and done else [],
                }
            )
        finished = sum(line["state"] == "finished" for line in lines)
        plans.append(
            {
                "name": plan.name,
                "description": plan.description,
                "cells": lines,
                "done": finished,
            }
        )
    return plans


def _versions(out: Path) -> dict[str, dict[str, str]]:
    """Versions that the cells ran with, once each; and those of the report."""
    shown: dict[str, dict[str, str]] = {"This report": versions()}
    groups: dict[str, list[str]] = {}
    for name, stamp in read_stamps(out).items():
        groups.setdefault(json.dumps(stamp.versions, sort_keys=True), []).append(name)
    for text, names in groups.items():
        also = f" and {len(names) - 1} more cells" if len(names) > 1 else ""
        shown[names[0] + also] = json.loads(text)
    return shown
