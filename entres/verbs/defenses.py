"""Verbs that judge defenses by the results of evaluations."""

from __future__ import annotations

from pathlib import Path

from entres.errors import EntresError
from entres.records import RECORDS
from entres.results import Row, file_of_evaluation, read_evaluations


def tradeoff(*folders: str, price: float = 2.0) -> None:
    """Draw size against accuracy over the strengths of a defense, and name the knee.

    Beside the knee it names the strength that saves most for a price in accuracy of clean images,
    which is to be compared between defenses.

    Of several defenses, or of attacks that go through one, it draws one picture more, which
    compares them over all their strengths. The pictures are written into the first folder.

    Args:
        folders: of an evaluation with several strengths, or of several of one student on the same
            images (sweep-lambda makes them).
        price: points (percent) of clean images' accuracy that a defense may cost, 0 to 100.

    Raises:
        EntresError: if there are no such evaluations, or the price is out of range.
    """
    from entres.report.tables.common import few
    from entres.report.tradeoff import (
        best_at_price,
        curves,
        draw_frontiers,
        draw_tradeoff,
        knee,
        points,
    )

    if not 0 <= price <= 100:
        raise EntresError(f"price is in points of accuracy, 0 to 100, got {price:g}")
    rows = read_evaluations(folders)
    try:
        found = curves(points(rows))
    except ValueError as error:
        raise EntresError(str(error)) from error
    first = Path(folders[0])
    note = "".join(f"; {sentence}" for sentence in [few(rows)] if sentence)
    for name, of_name in found.items():
        best = knee(of_name)
        picture = first / f"tradeoff-{name}.png"
        draw_tradeoff(picture, of_name)
        paid = best_at_price(of_name, price / 100)
        print(
            f"{name}: knee at {_strength_and_size(best)}; for at most {price:g} points of clean "
            f"accuracy {_strength_and_size(paid)} (under {of_name[-1].label}){note}"
        )
        print(picture)
    if len(found) > 1 or any(row.through for row in rows):
        picture = first / "frontiers.png"
        try:
            draw_frontiers(picture, found)
        except ValueError as error:
            raise EntresError(str(error)) from error
        print(picture)


def _strength_and_size(row: Row) -> str:
    """``0.05, 5.56 KiB`` of a point of a trade-off."""
    strength = "no defense" if row.defense_strength is None else f"{row.defense_strength:g}"
    return f"{strength}, {row.kib_mean:.2f} KiB"


def threshold(folder: str, false_alarms: float = 0.05) -> None:
    """Print the size in KiB that only a share of clean images pass, for an automatic defense.

    Args:
        folder: of an evaluation that holds clean images.
        false_alarms: share of clean images that may pass it, in [0, 1).

    Raises:
        EntresError: if there are no clean images, or the share is out of range.
    """
    import numpy as np

    from entres.bitstream import KIB
    from entres.records import read_records

    if not 0 <= false_alarms < 1:
        raise EntresError(f"false_alarms is a share in [0, 1), got {false_alarms}")
    records = read_records(file_of_evaluation(folder, RECORDS))
    clean = [r for r in records if r["condition"] == "clean" and not r["defense"]]
    if not clean:
        raise EntresError(f"no clean images in {folder}")
    sizes = np.array([float(record["bits"]) for record in clean]) / (8 * KIB)
    print(f"{np.quantile(sizes, 1 - false_alarms):.4f}")


def strongest(folder: str) -> None:
    """Print the worst of all attacks in a ball for each image, by defense, norm and epsilon.

    Attacks whose images went through JPEG leave their ball, and are left out.

    Args:
        folder: of an evaluation under several attacks, or several ways through a defense.

    Raises:
        EntresError: if there are no attacks among them that stay in their ball.
    """
    from entres.report.strongest import strongest as strongest_of
    from entres.report.tables.strongest import strongest as strongest_table
    from entres.report.terminal import show_table

    try:
        worst = strongest_of(file_of_evaluation(folder, RECORDS))
    except ValueError as error:
        raise EntresError(str(error)) from error
    show_table(strongest_table(worst))
