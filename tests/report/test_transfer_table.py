"""The table of attacks that were made for one student and shown to another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from rows import CLEAN, evaluation

from entres.report.tables import transfer
from entres.results import Row

FP = {"codec": "fp", "student": "resnet50-fp-beta0.08-joint", "weights": "bbbbbb"}
MSHP = {"weights": "aaaaaa"}
OF_FP, OF_MSHP = "resnet50-fp-beta0.08-joint (bbbbbb)", "resnet50-mshp-beta0.08-joint (aaaaaa)"


def rows_of(
    tmp_path: Path, student: dict[str, str], attacked: list[tuple[str, float, int]]
) -> list[Row]:
    """Clean images of 8,000 to 12,000 bytes, and attacked ones of so much more."""
    sizes = np.linspace(8000, 12_000, 50)
    right = np.arange(50) < 40
    clean = (replace(CLEAN, **student), sizes.astype(int).tolist(), right.tolist())
    measured = [clean]
    for name, factor, still in attacked:
        condition, _, victim = name.partition(" for ")
        preset = None if condition == "noise" else "strong"
        row = replace(
            CLEAN,
            **student,
            condition=condition,
            epsilon_255=8.0,
            norm="linf",
            preset=preset,
            victim=victim or None,
        )
        measured.append(
            (row, (sizes * factor).astype(int).tolist(), (np.arange(50) < still).tolist())
        )
    folder = tmp_path / student["weights"] / "eval" / "e"
    return evaluation(folder, measured)


def test_a_line_for_every_student_and_a_column_for_whom_it_was_made(tmp_path: Path) -> None:
    both = f"{OF_MSHP} and {OF_FP}"
    rows = rows_of(
        tmp_path,
        MSHP,
        [
            ("noise", 1.25, 40),
            ("pgd_e", 3.0, 40),
            (f"pgd_e for {OF_FP}", 1.5, 40),
            (f"pgd_e for {both}", 2.0, 40),
            (f"pgd_acc for {OF_FP}", 1.0, 20),
            ("regional", 2.0, 40),  # never made for another one
        ],
    )
    attacked = [("pgd_e", 2.0, 40), (f"pgd_e for {OF_MSHP}", 1.1, 40)]
    # Noise of that evaluation has the victim on it: it is noise all the same.
    rows += rows_of(tmp_path, FP, [*attacked, (f"noise for {OF_MSHP}", 1.05, 40)])
    table = transfer(rows)
    assert table.header == (
        *("shown to", "attack", "epsilon", "random noise"),
        *("for fp", "for mshp", "for mshp and fp"),
    )
    cells = [
        [None if cell is None else getattr(cell, "value", cell) for cell in line]
        for line in table.rows
    ]
    rounded = [[round(c, 2) if isinstance(c, float) else c for c in line] for line in cells]
    assert rounded == [
        ["fp", "PGD-E, strong", "8/255", 0.05, 1.0, 0.1, None],
        ["mshp", "PGD-E, strong", "8/255", 0.25, 0.5, 2.0, 1.0],
        ["mshp", "PGD-Acc, strong", "8/255", 0.0, -40.0, None, None],
    ]


def test_nothing_is_shown_where_nothing_was_made_for_another(tmp_path: Path) -> None:
    assert not transfer(rows_of(tmp_path, MSHP, [("noise", 1.2, 40), ("pgd_e", 3.0, 40)])).rows
    assert not transfer([]).rows
