"""Reading a data set to the end before anything is made of it, and saying what was found."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from rich.console import Console
from rich.progress import Progress

from entres.data.base import ImageDataModule
from entres.data.folder_source import FolderSource, Skipped
from entres.data.sources import Examined, ImageSource

TINY = 32  # pixels: the deepest stage of the usual backbones has stride 32
AT_ONCE = 256  # images that are under way
LISTED = 10  # of a kind, on the terminal


@dataclass
class SplitReport:
    """What one split holds.

    Attributes:
        images: how many there are.
        size: of all of them as they are stored, in bytes.
        per_class: name of every class that occurs -> how many are of it.
        formats: format (``JPEG``) -> how many.
        modes: Pillow's word for the channels (``RGB``, ``CMYK``, ``I;16``) -> how many.
        turned: how many lie otherwise than upright, as their EXIF data say.
        smallest: width and height in pixels of the one with the fewest, as stored.
        largest: likewise of the one with the most.
        short_side: the median of the shorter sides, in pixels.
        not_read: files that lie there and are not read: reason -> how many, and one of them.
    """

    images: int = 0
    size: int = 0
    per_class: dict[str, int] = field(default_factory=dict)
    formats: dict[str, int] = field(default_factory=dict)
    modes: dict[str, int] = field(default_factory=dict)
    turned: int = 0
    smallest: tuple[int, int] | None = None
    largest: tuple[int, int] | None = None
    short_side: float = 0
    not_read: dict[str, tuple[int, str]] = field(default_factory=dict)


@dataclass
class DataReport:
    """What was found in a data set; ``str`` gives it in words.

    Attributes:
        name: of the data set.
        splits: ``train`` and ``val``, or what the data have instead.
        unreadable: place of every image that cannot be read, and why.
        in_training_and_test: pairs of places of the same file, one in training and one in test: a
            measured accuracy is then too good.
        twice: pairs of places of the same file within a split.
        tiny: places of the images with a side of less than 32 pixels.
    """

    name: str
    splits: dict[str, SplitReport] = field(default_factory=dict)
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    in_training_and_test: list[tuple[str, str]] = field(default_factory=list)
    twice: list[tuple[str, str]] = field(default_factory=list)
    tiny: list[str] = field(default_factory=list)

    @property
    def is_fine(self) -> bool:
        """Whether every image can be read, and no test image is trained on."""
        return not self.unreadable and not self.in_training_and_test

    def as_dict(self) -> dict[str, Any]:
        """Everything as numbers, strings, lists and mappings, to be written as JSON."""
        return asdict(self)

    def __str__(self) -> str:
        lines = [_of_split(name, split) for name, split in self.splits.items()]
        for name, split in self.splits.items():
            if split.not_read:
                lines.append(f"{name}: files that are not read: {Skipped(split.not_read)}")
        lines += _listed("cannot be read", [f"{place}: {why}" for place, why in self.unreadable])
        lines += _listed(
            "are in training and in test",
            [f"{one} is {other}" for one, other in self.in_training_and_test],
        )
        lines += _listed("are there twice", [f"{one} is {other}" for one, other in self.twice])
        lines += _listed(f"have a side of less than {TINY} pixels", self.tiny)
        if self.is_fine:
            lines.append("every image can be read, and none is in training and in test")
        return "\n".join(lines)


def _of_split(name: str, split: SplitReport) -> str:
    counts = list(split.per_class.values()) or [0]
    each = f"{min(counts)}" if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
    parts = [
        f"{name}: {split.images} images in {len(split.per_class)} classes, {each} of each",
        f"{split.size / 1e6:,.1f} MB",
        _counts(split.formats),
        _counts(split.modes),
    ]
    if split.smallest is not None and split.largest is not None:
        (width, height), (most_width, most_height) = split.smallest, split.largest
        parts.append(
            f"{width} x {height} to {most_width} x {most_height} pixels, half of them with a short "
            f"side of {split.short_side:g} or more"
        )
    if split.turned:
        parts.append(f"{split.turned} lie on their side or head, as their EXIF data say")
    return "; ".join(part for part in parts if part)


def _counts(counts: dict[str, int]) -> str:
    most_first = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count} {what}" for what, count in most_first)


def _count(counts: dict[str, int], what: str) -> None:
    counts[what] = counts.get(what, 0) + 1


def _listed(what: str, items: list[str]) -> list[str]:
    if not items:
        return []
    more = [f"  and {len(items) - LISTED} more"] if len(items) > LISTED else []
    return [f"{len(items)} {what}:", *(f"  {item}" for item in items[:LISTED]), *more]


def check_data(
    data: ImageDataModule, workers: int | None = None, progress: bool | None = None
) -> DataReport:
    """Reads every image of a data set once, to the end.

    An image that cannot be read would otherwise stop a training hours after its start, one at a
    time.

    Args:
        data: the data set; the limits on images per class do not count here.
        workers: number of threads (decoders work outside of Python's lock); ``None``: as many as
            there are processors, up to 16.
        progress: whether to draw a bar; ``None``: if the error output is a terminal.

    Returns:
        What was found. Files are the same if their contents are, byte by byte.

    Raises:
        DataError: if the folders themselves are not as they must be.
    """
    data.prepare_data()
    sources = data.sources()
    names = data.class_names
    report = DataReport(data.name)
    places: dict[str, dict[bytes, str]] = {}
    shown = sys.stderr.isatty() if progress is None else progress
    threads = min(os.cpu_count() or 1, 16) if workers is None else max(workers, 1)
    with (
        Progress(console=Console(stderr=True), transient=True, disable=not shown) as bar,
        ThreadPoolExecutor(threads) as pool,
    ):
        tasks = {split: bar.add_task(split, total=len(source)) for split, source in sources.items()}
        for split, source in sources.items():
            found = _Split(report, source, names)
            # In parts: a million tasks at once would be a million objects.
            for start in range(0, len(source), AT_ONCE):
                part = range(start, min(start + AT_ONCE, len(source)))
                for index, examined in zip(part, pool.map(source.examine, part), strict=True):
                    found.add(index, examined)
                    bar.advance(tasks[split])
            report.splits[split] = found.finished()
            places[split] = found.places
    train, test = places.get("train", {}), places.get("val", {})
    common = [(place, test[digest]) for digest, place in train.items() if digest in test]
    report.in_training_and_test += common
    return report


class _Split:
    """Adds up one split."""

    def __init__(self, report: DataReport, source: ImageSource, class_names: list[str]) -> None:
        self.report = report
        self.source = source
        self.class_names = class_names
        self.split = SplitReport()
        self.places: dict[bytes, str] = {}
        self.short_sides: list[int] = []

    def add(self, index: int, examined: Examined) -> None:
        split, place = self.split, self.source.where(index)
        split.images += 1
        split.size += examined.size
        _count(split.per_class, self.class_names[int(self.source.labels[index])])
        if examined.error is not None:
            self.report.unreadable.append((place, examined.error))
            return
        if (first := self.places.setdefault(examined.digest, place)) != place:
            self.report.twice.append((first, place))
        _count(split.formats, examined.kind)
        _count(split.modes, examined.mode)
        split.turned += examined.orientation != 1
        size = (examined.width, examined.height)
        self.short_sides.append(min(size))
        if min(size) < TINY:
            self.report.tiny.append(f"{place}: {size[0]} x {size[1]}")
        split.smallest = min(split.smallest or size, size, key=_area)
        split.largest = max(split.largest or size, size, key=_area)

    def finished(self) -> SplitReport:
        self.split.short_side = median(self.short_sides) if self.short_sides else 0
        if isinstance(self.source, FolderSource):
            self.split.not_read = self.source.index.skipped.reasons
        return self.split


def _area(size: tuple[int, int]) -> int:
    return size[0] * size[1]
