"""The images behind a row: what ``records.csv`` says of each of them."""

from __future__ import annotations

import csv
import io
import mmap
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from math import sqrt
from pathlib import Path
from typing import TYPE_CHECKING

from entres.bitstream import KIB
from entres.report.bootstrap import LARGE, mean_interval
from entres.report.intervals import Interval, normal_interval
from entres.results import Condition, ResultsError, Row

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FILE = "records.csv"
CONDITION = [f.name for f in fields(Condition)]
"""The first columns of the file. A condition's lines stand together."""

_SEEN: dict[tuple[str, ...], tuple[str, ...]] = {}
"""Names and labels that were read, each kept once."""


@dataclass(frozen=True)
class Images:
    """The images of a row, in the order of their names.

    Attributes:
        names: what tells an image from others of the same data: its file, or its index.
        labels: the class that each is of.
        sizes: of their streams in KiB, shape (N,).
        right: 1 where the prediction was the label, else 0, shape (N,).
    """

    names: tuple[str, ...]
    labels: tuple[str, ...]
    sizes: NDArray[np.float64]
    right: NDArray[np.float64]

    @cached_property
    def size_interval(self) -> Interval | None:
        """Of the mean size in KiB; None of one image."""
        return mean_interval(self.sizes)


def images_of(row: Row) -> Images:
    """The images of a row, from the ``records.csv`` beside it.

    Raises:
        ResultsError: if they are not there, or not all of them.
    """
    if row.folder is None:
        raise ResultsError(f"nobody knows which {FILE} holds the images of {row.label}")
    path = row.folder / FILE
    try:
        changed = path.stat().st_mtime_ns
        images = _read(path, changed, _line(_text(getattr(row, name)) for name in CONDITION))
    except FileNotFoundError:
        raise ResultsError(f"{path} is not there: evaluate again to compare images") from None
    except (OSError, ValueError, KeyError) as error:
        raise ResultsError(f"{path} holds no records ({error}): evaluate again") from error
    if len(images.names) != row.images:
        raise ResultsError(
            f"{path} holds {len(images.names)} of the {row.images} images of {row.label}: "
            "evaluate again"
        )
    return images


def size_interval(row: Row) -> Interval | None:
    """The interval of a row's mean size in KiB.

    Of up to :data:`LARGE` images it is the bootstrap's over the images; of more, or where their
    records are gone, that of a normal distribution with the row's own deviation.

    Returns:
        None of one image.
    """
    if row.images < 2:
        return None
    if row.images <= LARGE:
        try:
            return images_of(row).size_interval
        except ResultsError:
            pass
    # The row has the deviation of a population.
    deviation = row.kib_std * sqrt(row.images / (row.images - 1))
    return normal_interval(row.kib_mean, deviation, row.images)


@lru_cache(maxsize=512)
def _read(path: Path, changed: int, condition: str) -> Images:
    """Read once for every time (``changed``) that the file was written.

    Raises:
        ValueError: if the file is none of records.
    """
    import numpy as np

    header, lines = _lines(path, f"{condition},".encode())
    if header[: len(CONDITION)] != CONDITION:
        raise ValueError("its first columns are not those of a condition")
    needed = ["index", "label", "prediction", "bytes"]
    if missing := [name for name in needed if name not in header]:
        raise ValueError(f"no column {missing[0]}")
    name = header.index("image" if "image" in header else "index")
    label, prediction, size = (header.index(column) for column in needed[1:])
    found = sorted(
        (line[name] or line[header.index("index")], line[label], line[prediction], line[size])
        for line in csv.reader(io.StringIO(lines.decode(), newline=""))
    )
    names, labels, predictions, sizes = zip(*found, strict=True) if found else ((),) * 4
    right = [a == b for a, b in zip(labels, predictions, strict=True)]
    # They are the same in every condition, and may be 50,000.
    names, labels = _SEEN.setdefault(names, names), _SEEN.setdefault(labels, labels)
    return Images(names, labels, np.array(sizes, float) / KIB, np.array(right, float))


def _lines(path: Path, start: bytes) -> tuple[list[str], bytes]:
    """The names of a file's columns, and those of its lines that begin alike.

    A file may have millions of lines: they are found without reading the others.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        header = next(csv.reader([content.readline().decode()]))
        first = content.find(b"\n" + start, 0) + 1  # not from where it was read to
        if first == 0:
            return header, b""
        content.seek(first)
        while (line := content.readline()).startswith(start):
            pass
        return header, content[first : content.tell() - len(line)]


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _line(values: object) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(values)  # type: ignore[arg-type]
    return text.getvalue()
