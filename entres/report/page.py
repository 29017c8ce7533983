"""The report: tables and figures as files, and one HTML page that needs nothing but itself."""

from __future__ import annotations

import base64
import io
import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import matplotlib as mpl
from jinja2 import Environment, PackageLoader, StrictUndefined

from entres.card import read_card
from entres.errors import WeightsError
from entres.experiment.stamps import (
    duration,
    is_finished,
    log_path,
    read_plans,
    read_stamps,
    versions,
)
from entres.report.figures import FIGURES, Drawing, write_figures
from entres.report.formats import FORMATS, Number, Table, cells, left_columns
from entres.report.maps import PICTURES, numbers_table
from entres.report.tables import TABLES
from entres.results import Row, find_results, read_summary

# Text stays text, and the same results give the same file.
SVG = {"svg.fonttype": "none", "svg.hashsalt": "entres", "savefig.transparent": True}
INK = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
FIRST = 2
"""Tables of a report that stand before the figures: clean images and findings."""
DARK = dict.fromkeys(INK, "#d6d9de")


def write_report(out: str | Path, to: str | Path) -> list[Path]:
    """Write every table and figure of the results under a folder, and ``index.html``.

    Args:
        out: folder of all runs; it may hold nothing.
        to: folder of the report, ``<dataset>/`` in it for files of tables and figures.

    Returns:
        The files, the page first.
    """
    out, to = Path(out), Path(to)
    files, rows, _ = find_results(out)
    written = write_figures(rows, to)
    datasets = []
    # ImageNet-C is ImageNet under corruptions: its rows belong beside the clean ones.
    names = sorted({row.images_of for row in rows})
    for name in names:
        own = [row for row in rows if row.images_of == name]
        tables = [make(own) for make in TABLES]
        written += _write_tables(tables, to / name)
        drawn = {figure: _drawn(draw, own) for figure, draw in FIGURES.items()}
        datasets.append(
            {
                "id": f"data-{names.index(name)}",
                "name": name,
                # What was found comes before the figures, what it was found from behind them.
                "first": [_shown(table) for table in tables[:FIRST]],
                "others": [_shown(table) for table in tables[FIRST:]],
                "figures": [figure for figure in drawn.values() if figure is not None],
                "no_figures": [_what(FIGURES[n]) for n, f in drawn.items() if f is None],
                "warnings": _warnings(own),
            }
        )
    template = Environment(
        loader=PackageLoader("entres.report", "."), autoescape=True, undefined=StrictUndefined
    ).get_template("page.html")
    page = to / "index.html"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(
        template.render(
            out=str(out),
            written=datetime.now(timezone.utc).strftime("%d %B %Y, %H:%M UTC"),
            datasets=datasets,
            maps=_maps(out),
            students=_students(out, files),
            plans=_plans(out),
            versions=_versions(out),
        ),
        encoding="utf-8",
    )
    return [page, *written]


def _shown(table: Table) -> dict[str, Any]:
    """What the page needs of a table: who is the same in every row is said once, above.

    Of a table without any figure of one's own only what would measure it is shown.
    """
    left, header, of = left_columns(table), list(table.header), None
    own = [i for i, name in enumerate(header) if not (left[i] or name.startswith("paper"))]
    measured = any(row[i] not in (None, Number(0, "d")) for row in table.rows for i in own)
    lines = cells(table) if measured else []
    # What follows must be words, to head the rows.
    if header[0] == "student" and left[1] and len({line[0] for line in lines}) == 1:
        of = lines[0][0]
        lines, left, header = [line[1:] for line in lines], left[1:], header[1:]
    return vars(table) | {"of": of, "cells": lines, "left": left, "header": header}


def _maps(out: Path) -> list[dict[str, Any]]:
    """The pictures that lie beside results, and the numbers of maps."""
    found: list[dict[str, Any]] = []
    for folder in sorted({path.parent for path in out.glob("**/eval/*/*.png")}):
        name = f"{folder.parents[1].name}, {folder.name}"
        pictures = []
        for path in sorted(folder.glob("*.png"), reverse=True):  # Fig. 5 before Fig. 6
            caption = _what(PICTURES[path.stem]) if path.stem in PICTURES else path.stem
            source = _inline("image/png", path.read_bytes())
            pictures.append({"source": source, "caption": caption, "alt": f"{caption} ({name})"})
        tables = [_shown(numbers_table(path)) for path in folder.glob("maps.json")]
        found.append({"id": len(found), "name": name, "pictures": pictures, "tables": tables})
    return found


def _write_tables(tables: Sequence[Table], folder: Path) -> list[Path]:
    written = []
    folder.mkdir(parents=True, exist_ok=True)
    for table in tables:
        for suffix, write in FORMATS.items():
            path = folder / f"{table.name}.{suffix}"
            path.write_text(write(table), encoding="utf-8")
            written.append(path)
    return written


def _drawn(draw: Drawing, rows: Sequence[Row]) -> dict[str, str] | None:
    """A figure for light and for dark pages, and what it shows."""
    found = {}
    for theme, colours in (("light", {}), ("dark", DARK)):
        style: dict[Any, Any] = {**SVG, **colours}
        with mpl.rc_context(style):
            figure = draw(rows)
            if figure is None:
                return None
            image = io.BytesIO()
            figure.savefig(image, format="svg", metadata={"Date": None})
        found[theme] = _inline("image/svg+xml", image.getvalue())
    return {**found, "alt": _what(draw)}


def _what(draw: Callable[..., object]) -> str:
    return (draw.__doc__ or draw.__name__).splitlines()[0].rstrip(".")


def _inline(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _warnings(rows: Sequence[Row]) -> list[tuple[str, str, list[str]]]:
    """What is said of attacks, once for each student, and of which conditions."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        for sentence in row.extra.get("attack_warnings") or []:
            found.setdefault((row.student, sentence), []).append(row.label)
    return [(*said, conditions) for said, conditions in found.items()]


def _students(out: Path, files: Sequence[Path]) -> list[dict[str, Any]]:
    """What is known of each student that was evaluated, and how to do so again."""
    found = []
    for folder in sorted({file.parents[2] for file in files}):
        own = [file for file in files if file.parents[2] == folder]
        rows = [row for file in own for row in read_summary(file)]
        facts: dict[str, Any] = {}
        if rows:
            names = ("backbone", "codec", "beta", "recipe")
            facts = {name: getattr(rows[0], name) for name in names}
            facts["evaluated on"] = ", ".join(sorted({row.dataset for row in rows}))
            facts["images"] = f"{max(row.images for row in rows):,}"
        try:
            card = asdict(read_card(folder / "student.safetensors"))
            facts |= {k.replace("_", " "): v for k, v in card.items() if v is not None}
        except WeightsError:
            facts["weights"] = f"not in {folder}"
        configs = [
            max(file.parent.glob("logs/version_*/config.yaml"), default=None) for file in own
        ]
        commands = [
            shlex.join(["entres", "test", "--config", str(path)]) for path in configs if path
        ]
        found.append({"name": folder.name, "facts": facts, "commands": commands})
    return found


def _plans(out: Path) -> list[dict[str, Any]]:
    """Every matrix that was begun, cell by cell."""
    stamps = read_stamps(out)
    plans = []
    for plan in read_plans(out):
        lines = []
        for cell in plan.cells:
            stamp = stamps.get(cell.name)
            done = is_finished(cell, stamps)
            begun = log_path(out, cell.name).is_file()
            state = "begun, or failed: see its log" if begun else "not run yet"
            lines.append(
                {
                    "name": cell.name,
                    "state": "finished" if done else state,
                    "took": duration(stamp.seconds) if stamp and done else "",
                    "finished": stamp.finished if stamp and done else "",
                    "machine": stamp.machine if stamp and done else "",
                    "command": cell.line(out),
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
    found: dict[str, dict[str, str]] = {"This report": versions()}
    groups: dict[str, list[str]] = {}
    for name, stamp in read_stamps(out).items():
        groups.setdefault(json.dumps(stamp.versions, sort_keys=True), []).append(name)
    for text, names in groups.items():
        also = f" and {len(names) - 1} more cells" if len(names) > 1 else ""
        found[names[0] + also] = json.loads(text)
    return found
