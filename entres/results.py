"""The results schema: what an evaluation leaves behind, and what every report reads.

``<OUT>/<student>/eval/<name>/summary.json`` is a JSON list with one :class:`Row` per condition;
``records.csv`` beside it has one line per image and condition.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from entres.errors import EntresError

# An attack of a user's own has a name of its own.
ConditionName = Literal[
    "clean",
    "corruption",
    "noise",
    "pgd_acc",
    "pgd_e",
    "pgd_joint",
    "low_frequency",
    "regional",
]


class ResultsError(EntresError, ValueError):
    """A file of results that cannot be read."""


@dataclass(frozen=True)
class Condition:
    """What was done to the images before the student saw them.

    Attributes:
        condition: the kind.
        corruption: name of the corruption, or None.
        severity: of the corruption, 1 to 5, or None.
        preset: of the attack, or None.
        epsilon_255: radius of the attack in units of 1/255, or None.
        norm: ball of the attack, ``linf`` or ``l2``, or None.
        defense: name of the defense, or None.
        defense_strength: the defense's one number (lambda, sigma, quality, ...), or None.
        through: how the attack went through the defense, or None if it did not know of it.
    """

    condition: ConditionName | str = "clean"
    corruption: str | None = None
    severity: int | None = None
    preset: str | None = None
    epsilon_255: float | None = None
    norm: str | None = None
    defense: str | None = None
    defense_strength: float | None = None
    through: str | None = None


@dataclass(frozen=True)
class Row:
    """One condition of one evaluation. Public: later versions may add keys, never change these.

    Attributes:
        student: ``<backbone>-<codec>-beta<beta>-<recipe>``.
        backbone: timm name.
        codec: ``fp`` or ``mshp``.
        beta: weight of the rate in training.
        recipe: ``distilled``, ``joint`` or ``frozen-encoder``.
        dataset: name of the datamodule's data.
        condition: see :class:`Condition`, like the five that follow it.
        images: how many images were counted.
        accuracy: top-1, a fraction.
        kib_mean: mean size of an image's stream, real bytes / 1024.
        kib_std: its standard deviation over images.
        seconds: wall-clock time of the condition.
        top5: top-5 accuracy, a fraction; None with fewer than five classes.
        accuracy_present: top-1 among the classes that occur in the data, a fraction.
        payload_kib_mean: mean size of the entropy-coded strings alone.
        published_kib_mean: mean size by the accounting of the published code.
        rate_kib_mean: mean size that the entropy model estimates.
        teacher_accuracy: the teacher's top-1 on the same images, where it was asked for.
        teacher_accuracy_present: likewise among the classes that occur.
        norm: ball of the attack.
        defense_strength, through: see :class:`Condition`.
        extra: what measurements of a user's own gave.
    """

    student: str
    backbone: str
    codec: str
    beta: float
    recipe: str
    dataset: str
    condition: ConditionName | str
    corruption: str | None
    severity: int | None
    preset: str | None
    epsilon_255: float | None
    defense: str | None
    images: int
    accuracy: float
    kib_mean: float
    kib_std: float
    seconds: float
    top5: float | None = None
    accuracy_present: float | None = None
    payload_kib_mean: float | None = None
    published_kib_mean: float | None = None
    rate_kib_mean: float | None = None
    teacher_accuracy: float | None = None
    teacher_accuracy_present: float | None = None
    norm: str | None = None
    defense_strength: float | None = None
    through: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Flat, as it is written: what further callbacks measured stands beside the rest."""
        values = asdict(self)
        return {**values.pop("extra"), **values}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Row:
        """The inverse of :meth:`as_dict`; unknown keys go to ``extra``."""
        known = {f.name for f in fields(cls)} - {"extra"}
        return cls(
            **{k: v for k, v in values.items() if k in known},
            extra={k: v for k, v in values.items() if k not in known},
        )


def is_plain(row: Row) -> bool:
    """Whether the paper's ball was used, if any, and no defense was in sight."""
    return row.norm in (None, "linf") and row.defense is None and row.through is None


def clean_reference(rows: Iterable[Row], images: int | None = None) -> Row | None:
    """The undefended clean row to compare with: of as many images, where there is such a one, or
    else of most; None where nothing clean was measured.
    """
    clean = [row for row in rows if row.condition == "clean" and row.defense is None]
    same = [row for row in clean if row.images == images]
    return max(same or clean, key=lambda row: row.images, default=None)


def evaluation_folder(out: str | Path, student: str, name: str) -> Path:
    """Where the results of an evaluation lie."""
    return Path(out) / student / "eval" / name


def write_summary(folder: Path, rows: Sequence[Row]) -> Path:
    """Write ``summary.json``; a reader never sees half of one."""
    text = json.dumps([row.as_dict() for row in rows], indent=2, allow_nan=False) + "\n"
    return write_whole(folder / "summary.json", text)


def read_summary(path: str | Path) -> list[Row]:
    """The rows of a ``summary.json``.

    Raises:
        ResultsError: if it is none.
    """
    try:
        return [Row.from_dict(values) for values in json.loads(Path(path).read_text())]
    except (ValueError, TypeError, AttributeError) as error:
        raise ResultsError(
            f"{path} holds no results ({error}): delete it, or evaluate again"
        ) from error


def find_results(out: str | Path) -> tuple[list[Path], list[Row]]:
    """Every ``summary.json`` under a folder of runs, and the rows in them."""
    files = sorted(Path(out).glob("**/eval/*/summary.json"))
    return files, [row for file in files for row in read_summary(file)]


def write_records(folder: Path, records: Iterable[Mapping[str, Any]]) -> Path:
    """Write ``records.csv``: one mapping per image and condition; what one lacks stays empty."""
    records = list(records)
    names = list(dict.fromkeys(name for record in records for name in record))
    path = folder / "records.csv"
    partial = path.with_name(f".{path.name}.partial")
    folder.mkdir(parents=True, exist_ok=True)
    with partial.open("w", newline="") as file:
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(records)
    partial.replace(path)
    return path


def append_records(folder: Path, records: Iterable[Mapping[str, Any]]) -> Path:
    """Add records to ``records.csv`` in one write; all of it is rewritten for a new column only."""
    records, path = list(records), folder / "records.csv"
    with path.open(newline="") as file:
        names = next(csv.reader(file))
    if any(name not in names for record in records for name in record):
        return write_records(folder, [*read_records(path), *records])
    text = io.StringIO()
    csv.DictWriter(text, names, lineterminator="\n").writerows(records)
    with path.open("a", newline="") as file:
        file.write(text.getvalue())
    return path


def read_records(path: str | Path) -> list[dict[str, str]]:
    """The lines of a ``records.csv``, every value as it is written there."""
    with Path(path).open() as file:
        return list(csv.DictReader(file))


def write_whole(path: Path, text: str) -> Path:
    """Write a file; a reader never sees half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text)
    partial.replace(path)
    return path
