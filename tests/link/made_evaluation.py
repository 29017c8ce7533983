"""A folder as an evaluation leaves it, of sizes that a test chooses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from entres.records import write_records
from entres.results import Condition, Row, write_summary

CLEAN = Condition()
PGD_E = Condition("pgd_e", preset="strong", epsilon_255=8.0, norm="linf")
WEAK = Condition("pgd_e", preset="strong", epsilon_255=2.0, norm="linf")
SNOW = Condition("corruption", corruption="snow", severity=5)
SIZES = {CLEAN: [4000, 5000, 6000], WEAK: [5000, 6000, 7000], PGD_E: [12_000, 15_000, 18_000]}


def behind(condition: Condition) -> Condition:
    return condition.behind("masked_tv", 0.02)


def made_evaluation(
    folder: Path, sizes: dict[Condition, Sequence[int]] | None = None, **changed: Any
) -> Path:
    """Write ``summary.json`` and ``records.csv``; a defense has taken 30 ms for an image."""
    rows, records = [], []
    for condition, of_condition in (SIZES if sizes is None else sizes).items():
        extra = {"defense_seconds": 0.03} if condition.defense else {}
        who = {"student": "resnet50-mshp-beta0.08-joint", "backbone": "resnet50", "codec": "mshp"}
        who |= {"beta": 0.08, "recipe": "joint", "dataset": "imagenet", "weights": "abc123"}  # type: ignore[dict-item]
        figures = {
            "images": len(of_condition),
            "accuracy": 0.5,
            "kib_mean": float(np.mean(of_condition)) / 1024,
            "kib_std": 0.0,
            "seconds": 1.0,
        }
        values = {**who, **asdict(condition), **figures, **extra, **changed}
        rows.append(Row.from_dict(values))
        records += [
            {**asdict(condition), "index": index, "label": 0, "prediction": 0, "bytes": size}
            for index, size in enumerate(of_condition)
        ]
    write_records(folder, records)
    write_summary(folder, rows)
    return folder
