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
from entres.records import RECORDS
from entres.report.bootstrap import LARGE, mean_interval
from entres.report.intervals import Interval, normal_interval
from entres.results import Condition, ResultsError, Row

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

COLUMNS = ("index", "label", "prediction", "bytes")
PRESENT = "prediction_present"
NAME = "image"
CONDITION = [f.name for f in fields(Condition)]
"""The first columns of the file. A condition's lines stand together."""
LATER = ("victim",)
"""Those that files have had since a later version only."""


@dataclass(frozen=True)
class Images:
    """The images of a row, in the order of the data.

    Attributes:
        index: of each in its split, shape (N,).
        labels: the class that each is of, shape (N,).
        sizes: of their streams in KiB, shape (N,).
        right: 1 where the prediction was the label, else 0, shape (N,).
        right_present: likewise, of predictions among the classes that occur; NaN where there are
            none.
        names: a number for the name of each, the same wherever this process reads that name, shape
            (N,); None where the data have no names that tell their images apart.
    """

    index: NDArray[np.int64]
    labels: NDArray[np.int64]
    sizes: NDArray[np.float64]
    right: NDArray[np.float64]
    right_present: NDArray[np.float64]
    names: NDArray[np.int64] | None

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
        raise ResultsError(f"nobody knows which {RECORDS} holds the images of {row.label}")
    path = row.folder / RECORDS
    try:
        images = _read(path, path.stat().st_mtime_ns, _start_of(row))
    except FileNotFoundError:
        raise ResultsError(f"{path} is not there: evaluate again to compare images") from None
    except (OSError, ValueError) as error:
        raise ResultsError(f"{path} holds no records ({error}): evaluate again") from error
    if len(images.index) != row.images:
        raise ResultsError(
            f"{path} holds {len(images.index)} of the {row.images} images of {row.label}: "
            "evaluate again"
        )
    return images


def column_of(row: Row, name: str) -> NDArray[np.float64]:
    """A column of numbers, in the order of :func:`images_of`.

    Raises:
        ResultsError: if there is none, or not a number in every line.
    """
    import numpy as np

    index = images_of(row).index
    assert row.folder is not None
    header, lines = _lines(row.folder / RECORDS, _start_of(row))
    if name not in header:
        raise ResultsError(f"{row.folder / RECORDS} has no column {name}: evaluate again")
    places = [header.index("index"), header.index(name)]
    reader = csv.reader(io.StringIO(lines.decode(), newline=""))
    try:
        found = {int(line[places[0]]): float(line[places[1]]) for line in reader}
    except ValueError as error:
        raise ResultsError(f"{row.folder / RECORDS}: {name} of {row.label}: {error}") from error
    return np.array([found[i] for i in index.tolist()])


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
def _read(path: Path, changed: int, start: bytes) -> Images:
    """Read once for every time (``changed``) that the file was written.

    Raises:
        ValueError: if the file is none of records.
    """
    import numpy as np

    header, lines = _lines(path, start)
    columns = _condition_columns(header)
    if header[: len(columns)] != columns:
        raise ValueError("its first columns are not those of a condition")
    if missing := [name for name in COLUMNS if name not in header]:
        raise ValueError(f"no column {missing[0]}")
    if not lines:
        return Images(*(np.zeros(0, np.int64),) * 2, *(np.zeros(0),) * 3, None)
    present = [PRESENT] if PRESENT in header else []
    values = np.loadtxt(
        io.StringIO(lines.decode()),
        dtype=np.int64,
        delimiter=",",
        usecols=[header.index(name) for name in (*COLUMNS, *present)],
        comments=None,
        quotechar='"',
        ndmin=2,
    )
    order = np.argsort(values[:, 0])
    index, labels, predictions, sizes, *among = values[order].T
    right = (labels == predictions).astype(float)
    right_present = (labels == among[0]).astype(float) if among else np.full(len(index), np.nan)
    names = _names(lines, header.index(NAME)) if NAME in header else None
    named = None if names is None else names[order]
    return Images(index, labels, sizes / KIB, right, right_present, named)


def _names(lines: bytes, column: int) -> NDArray[np.int64] | None:
    """Numbers for the names of images: 64 bits, of which two of a million names share none.

    Returns:
        None where two images have one name: it does not tell them apart.
    """
    import numpy as np

    if b'"' in lines:
        reader = csv.reader(io.StringIO(lines.decode(), newline=""))
        names = [line[column].encode() for line in reader]
    else:  # in a fifth of the time, for millions of lines
        names = [line.split(b",", column + 1)[column] for line in lines.rstrip().split(b"\n")]
    numbers = np.array([hash(name) for name in names], np.int64)
    return numbers if len(np.unique(numbers)) == len(numbers) else None


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


def _condition_columns(header: list[str]) -> list[str]:
    """The first columns that a file with this header should have."""
    return [name for name in CONDITION if name in header or name not in LATER]


def _start_of(row: Row) -> bytes:
    """How the lines of a row's condition begin in its file."""
    assert row.folder is not None
    with (row.folder / RECORDS).open(newline="", encoding="utf-8") as file:
        header = next(csv.reader(file), [])
    values = [getattr(row, name) for name in _condition_columns(header)]
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow([*values, ""])
    return text.getvalue().encode()
