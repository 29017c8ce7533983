"""``records.csv``: of an evaluation, one line per image and condition; and tables like it."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from entres.files import GOES_ON, WriteError, write_whole

RECORDS = "records.csv"


def write_records(folder: Path, records: Iterable[Mapping[str, Any]], name: str = RECORDS) -> Path:
    """Write ``records.csv``: one mapping per image and condition; what one lacks stays empty.

    Args:
        folder: of the evaluation.
        records: the lines.
        name: of another table, whose lines begin with a condition as well.
    """
    records = list(records)
    names = list(dict.fromkeys(name for record in records for name in record))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return write_whole(folder / name, text.getvalue())


def append_records(folder: Path, records: Iterable[Mapping[str, Any]], name: str = RECORDS) -> Path:
    """Add records to ``records.csv`` in one write; all of it is rewritten for a new column only.

    Args: see :func:`write_records`.

    Raises:
        WriteError: if they cannot be written; those that were there stay.
    """
    records, path = list(records), folder / name
    with path.open(newline="", encoding="utf-8") as file:
        names = next(csv.reader(file))
    if any(column not in names for record in records for column in record):
        return write_records(folder, [*read_records(path), *records], name)
    text = io.StringIO()
    csv.DictWriter(text, names, lineterminator="\n").writerows(records)
    before = path.stat().st_size
    try:
        with path.open("a", newline="", encoding="utf-8") as file:
            file.write(text.getvalue())
    except OSError as error:  # a full disk: no half of a line is to stay
        os.truncate(path, before)
        raise WriteError(f"cannot write {path} ({error.strerror or error}): {GOES_ON}") from error
    return path


def keep_records(
    folder: Path, wanted: Callable[[Mapping[str, str]], bool], name: str = RECORDS
) -> None:
    """Take out of ``records.csv`` what is not wanted, and half a line that a kill has left.

    Args:
        folder: of the evaluation.
        wanted: whether a line stays.
        name: see :func:`write_records`.

    Raises:
        WriteError: if it cannot be written; then it is as it was.
    """
    whole = (record for record in each_record(folder / name) if None not in record.values())
    write_records(folder, [record for record in whole if wanted(record)], name)


def each_record(path: str | Path) -> Iterator[dict[str, str]]:
    """The lines of a ``records.csv`` one by one: those of a large data set fill the memory."""
    with Path(path).open(newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)


def read_records(path: str | Path) -> list[dict[str, str]]:
    """The lines of a ``records.csv``, every value as it is written there."""
    return list(each_record(path))
