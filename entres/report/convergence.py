"""The picture of what attacks gained step by step."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from entres.files import write_whole
from entres.report.panels import as_bytes
from entres.report.tables.common import words
from entres.results import CONVERGENCE, ResultsError, is_papers_norm

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CONDITION = ("condition", "preset", "epsilon_255", "norm", "through")


def draw_convergence(folder: str | Path) -> list[Path]:
    """Draw the ``convergence.csv`` of an evaluation; the pictures written, none without one.

    Raises:
        ResultsError: if the file is damaged.
    """
    file = Path(folder) / CONVERGENCE
    if not file.is_file():
        return []
    try:
        with file.open(encoding="utf-8", newline="") as lines:
            curves = _curves(list(csv.DictReader(lines)))
    except (KeyError, ValueError) as error:
        raise ResultsError(f"{file} is no file of curves: {error!r}") from error
    figure = _figure(curves)
    written = []
    for suffix in ("png", "pdf"):
        path = file.with_suffix(f".{suffix}")
        write_whole(path, as_bytes(figure, suffix))
        written.append(path)
    return written


Curve = list[tuple[float, float, float]]
"""Step, mean, standard error."""


def _curves(lines: Sequence[dict[str, str]]) -> dict[str, Curve]:
    curves: dict[str, Curve] = {}
    for line in lines:
        name, preset, epsilon, norm, through = (line[key] for key in _CONDITION)
        label = ", ".join(filter(None, (words(name), preset, f"{float(epsilon):g}/255")))
        label += "" if is_papers_norm(norm) else f", {norm}"
        label += f", {words(through)}" if through else ""
        label += f", made for {line['victim']}" if line.get("victim") else ""
        point = (float(line["step"]), float(line["objective"]), float(line["standard_error"]))
        curves.setdefault(label, []).append(point)
    return curves


def _figure(curves: dict[str, Curve]) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    panel = figure.add_subplot()
    for label, curve in curves.items():
        steps, means, errors = zip(*curve, strict=True)
        start = abs(means[0]) or 1.0
        relative = [mean / start for mean in means]
        (line,) = panel.plot(steps, relative, label=label)
        low, high = (
            [(m + sign * e) / start for m, e in zip(means, errors, strict=True)] for sign in (-1, 1)
        )
        panel.fill_between(steps, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
    panel.set_xlabel("steps (of a black-box attack: queries)")
    panel.set_ylabel("objective / that of the beginning\n(band: one standard error)")
    panel.locator_params("x", integer=True)
    panel.grid(alpha=0.3)
    panel.legend(fontsize="small")
    return figure
