"""A row of results that the tests of reports vary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from entres.records import write_records
from entres.results import Row, write_summary

CLEAN = Row(
    student="resnet50-mshp-beta0.08-joint",
    backbone="resnet50.tv_in1k",
    codec="mshp",
    beta=0.08,
    recipe="joint",
    dataset="imagenet",
    condition="clean",
    corruption=None,
    severity=None,
    preset=None,
    epsilon_255=None,
    defense=None,
    images=100,
    accuracy=0.8,
    kib_mean=10.0,
    kib_std=1.5,
    seconds=1.0,
)


Measured = tuple[Row, Sequence[int], Sequence[bool]]
"""A row, and of each of its images the bytes and whether it was right."""


def evaluation(folder: Path, measured: Sequence[Measured], first: int = 0) -> list[Row]:
    """An evaluation on the disk, its rows as a report finds them.

    Args:
        folder: of the evaluation.
        measured: its conditions.
        first: index of the first image; they are written in another order.
    """
    rows, records = [], []
    for row, sizes, right in measured:
        kib = np.array(sizes) / 1024
        figures = {"images": len(sizes), "accuracy": float(np.mean(right))}
        figures |= {"kib_mean": float(kib.mean()), "kib_std": float(kib.std())}
        rows.append(replace(row, **figures, folder=folder))
        images = list(enumerate(zip(sizes, right, strict=True)))
        for i, (size, is_right) in images[::-1]:
            index = first + i
            found = {"index": index, "image": f"class {index % 3}, a/{index}.jpg"}
            found |= {"label": index % 3, "prediction": index % 3 if is_right else 9}
            # Among those that occur, every fifth image more is right.
            found["prediction_present"] = index % 3 if is_right or index % 5 == 0 else 1000
            records.append({**asdict(row.under), **found, "bytes": int(size), "teacher": ""})
    write_summary(folder, rows)
    write_records(folder, records)
    return rows
