"""Verbs that judge defenses by the results of one evaluation."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from entres.bitstream import KIB
from entres.card import read_card
from entres.report.strongest import strongest as strongest_of
from entres.report.tables.strongest import strongest as strongest_table
from entres.report.terminal import show_table
from entres.report.tradeoff import curves, draw_tradeoff, knee
from entres.results import evaluation_folder, read_records, read_summary


def tradeoff(student: str, evaluation: str, out: str = "runs") -> None:
    """Draw size against accuracy over the strengths of a defense, and name the knee.

    Args:
        student: file of a student.
        evaluation: name of one of its evaluations, with --defense_strengths (make sweep-lambda).
        out: folder of all runs.

    Raises:
        SystemExit: if there is no such evaluation.
    """
    path = _evaluated(student, evaluation, out, "summary.json")
    try:
        found = curves(read_summary(path))
    except ValueError as error:
        raise SystemExit(f"entres: {error}") from error
    for name, of_name in found.items():
        best = knee(of_name)
        picture = path.with_name(f"tradeoff-{name}.png")
        draw_tradeoff(picture, of_name)
        strength = "no defense" if best.defense_strength is None else f"{best.defense_strength:g}"
        print(f"{name}: knee at {strength}, {best.kib_mean:.2f} KiB under {of_name[-1].label}")
        print(picture)


def threshold(
    student: str, evaluation: str = "clean", out: str = "runs", false_alarms: float = 0.05
) -> None:
    """Print the size in KiB that only a share of clean images pass, for an automatic defense.

    Args:
        student: file of a student.
        evaluation: name of one of its evaluations that holds clean images.
        out: folder of all runs.
        false_alarms: share of clean images that may pass it, in [0, 1).

    Raises:
        SystemExit: if there are no clean images, or the share is out of range.
    """
    if not 0 <= false_alarms < 1:
        raise SystemExit(f"entres: false_alarms is a share in [0, 1), got {false_alarms}")
    records = read_records(_evaluated(student, evaluation, out, "records.csv"))
    clean = [r for r in records if r["condition"] == "clean" and not r["defense"]]
    if not clean:
        raise SystemExit(f"entres: no clean images in the evaluation {evaluation!r}")
    sizes = [float(record["bits"]) / (8 * KIB) for record in clean]
    print(f"{np.quantile(sizes, 1 - false_alarms):.4f}")


def strongest(student: str, evaluation: str, out: str = "runs") -> None:
    """Print the worst of all attacks for each image, by defense and epsilon.

    Args:
        student: file of a student.
        evaluation: name of one of its evaluations, under several attacks or ways to attack.
        out: folder of all runs.

    Raises:
        SystemExit: if there are no attacks among them.
    """
    try:
        worst = strongest_of(_evaluated(student, evaluation, out, "records.csv"))
    except ValueError as error:
        raise SystemExit(f"entres: {error}") from error
    show_table(strongest_table(worst))


def _evaluated(student: str, evaluation: str, out: str, file: str) -> Path:
    """A file that an evaluation left."""
    path = evaluation_folder(out, read_card(student).name, evaluation) / file
    if not path.is_file():
        raise SystemExit(f"entres: no such evaluation, {path} is not there: entres test writes it")
    return path
