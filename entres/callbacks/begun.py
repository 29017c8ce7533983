"""What an evaluation that was stopped has left, for the one that goes on."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from entres.data.sources import EvaluationDataset
from entres.experiment.layout import weights_digest
from entres.experiment.same import RunConflictError, differences, read_asked
from entres.files import write_whole
from entres.records import RECORDS
from entres.results import CONVERGENCE, SUMMARY, Condition, ResultsError, Row, read_summary

FOLDER = "begun"
"""Inside of an evaluation's, while it is not finished."""
IDENTITY = "begun.json"
SECONDS = "seconds"
PATIENCE = 20.0
"""Seconds that a process waits for another one to leave a folder."""


@dataclass
class Part:
    """Images of one condition that are measured.

    Attributes:
        columns: of the images as they were received, and after each defense; names as in
            ``records.csv``, each of shape (images, ...).
        seconds: what they took.
    """

    columns: list[dict[str, Tensor]]
    seconds: float

    @property
    def indices(self) -> set[int]:
        """Of the images."""
        return set(self.columns[0]["index"].tolist())


@dataclass
class Left:
    """What there is.

    Attributes:
        rows: of the conditions that are finished, the first ones.
        parts: of the condition after them.
        finished: how many conditions the rows are of.
    """

    rows: list[Row] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    finished: int = 0

    def __bool__(self) -> bool:
        """Whether there is anything."""
        return bool(self.rows or self.parts)

    def __str__(self) -> str:
        """In words."""
        finished = self.finished
        said = [f"{finished} finished condition{'s' * (finished != 1)}"] if finished else []
        if images := len(self._measured):
            said.append(f"{images:,} image{'s' * (images != 1)} of {'the next' if said else 'one'}")
        return " and ".join(said)

    @property
    def _measured(self) -> frozenset[int]:
        return frozenset().union(*(part.indices for part in self.parts))

    def evaluated(self, indices: frozenset[int]) -> dict[int, frozenset[int]]:
        """Images that need not be measured again, by the number of the condition.

        Args:
            indices: of all images.
        """
        found = dict.fromkeys(range(self.finished), indices)
        if some := self._measured:
            # Of a condition without a row something is left: its row is made where its last batch
            # ends.
            found[self.finished] = some - {max(some)} if some == indices else some
        return found


class Begun:
    """The images of unfinished conditions, in a folder inside of an evaluation's.

    Every rank writes files of its own, each once and whole, so that what is there can be read at
    any time; rank zero reads them all. Results are gone on with only where the weights, the images
    and all that was asked for are the same.

    Args:
        folder: of the evaluation.
        weights: digest of the student's.
        datasets: the images, of every condition where these differ.
        conditions: of the evaluation, in their order.
        asked: what the evaluation is asked for now.
        rank: of this process.
    """

    def __init__(
        self,
        folder: Path,
        weights: str,
        datasets: Sequence[EvaluationDataset],
        conditions: Sequence[Condition],
        asked: Mapping[str, Any],
        rank: int = 0,
    ) -> None:
        self.folder = folder
        self.asked = asked
        self.conditions = list(conditions)
        self.rank = rank
        # Now, as files may be edited later; and on the one rank that reads and signs, as the names
        # of all images take seconds.
        self.identity = None if rank else _identity(weights, datasets, conditions, asked)
        self._there = folder / FOLDER
        self._written = 0

    def read(self, outputs: int) -> Left:
        """What there is of these weights and images.

        Args:
            outputs: of each image: one, and one more for each defense.

        Raises:
            RunConflictError: if there is something that was asked for otherwise.
        """
        try:
            identity = json.loads((self._there / IDENTITY).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return Left()
        there = read_asked(self.folder)
        if identity != self.identity or there is None:
            return Left()
        if changed := differences(there, self.asked):
            raise RunConflictError(
                f"{self.folder} holds the beginning of an evaluation with other settings "
                f"({'; '.join(changed)}): give the same ones to go on with it, name this one "
                "--model.evaluation NAME, or delete that folder"
            )
        rows: list[Row] = []
        if (self.folder / RECORDS).is_file():
            with suppress(ResultsError):
                rows = read_summary(self.folder / SUMMARY)
        done = len(rows) // outputs
        finished = [row.under for row in rows[::outputs]]
        fits = len(rows) % outputs == 0 and finished == self.conditions[:done]
        if not fits or done == len(self.conditions):
            return Left()
        return Left(rows, self._parts(done, outputs), done)

    def _parts(self, number: int, outputs: int) -> list[Part]:
        parts = []
        for path in sorted(self._there.glob(f"{number:04d}-*.npz")):
            # What a disk has damaged, in whatever way, is measured again.
            with suppress(Exception):
                parts.append(_read_part(path, outputs))
        return parts

    def keep(self, number: int, part: Part) -> None:
        """Write images of a condition that are measured.

        Args:
            number: of the condition.
            part: images that were not written before.

        Raises:
            WriteError: if they cannot be written.
        """
        self.sign()
        arrays = {
            f"{output}/{name}": values.numpy()
            for output, columns in enumerate(part.columns)
            for name, values in columns.items()
        }
        file = io.BytesIO()
        np.savez(file, **arrays, **{SECONDS: np.array(part.seconds)})
        self._written += 1
        while (path := self._path(number)).exists():  # of a run before this one
            self._written += 1
        write_whole(path, file.getvalue())

    def _path(self, number: int) -> Path:
        return self._there / f"{number:04d}-rank{self.rank}-{self._written:06d}.npz"

    def sign(self) -> None:
        """Note whose results these are, once."""
        if self.rank == 0 and not (self._there / IDENTITY).exists():
            write_whole(self._there / IDENTITY, json.dumps(self.identity, indent=2) + "\n")

    def forget(self, number: int) -> None:
        """Remove the images of a condition: its results are written."""
        for path in self._there.glob(f"{number:04d}-*.npz"):
            path.unlink(missing_ok=True)


def _identity(
    weights: str,
    datasets: Sequence[EvaluationDataset],
    conditions: Sequence[Condition],
    asked: Mapping[str, Any],
) -> dict[str, Any]:
    """What results must have in common to be gone on with, beside what is asked for."""
    return {
        "weights": weights,
        "images": [digest(dataset) for dataset in datasets],
        "conditions": [condition.label for condition in conditions],
        "files": digests_of_files(asked),
    }


def _read_part(path: Path, outputs: int) -> Part:
    """Raises:
    ValueError: if not all of its columns are of the same images.
    """
    columns: list[dict[str, Tensor]] = [{} for _ in range(outputs)]
    with np.load(path) as arrays:
        for key in arrays.files:
            output, _, name = key.partition("/")
            if name:
                columns[int(output)][name] = torch.from_numpy(arrays[key])
        part = Part(columns, float(arrays[SECONDS]))
    index = columns[0]["index"]
    for each in columns:
        if not torch.equal(each["index"], index) or {len(c) for c in each.values()} != {len(index)}:
            raise ValueError(f"{path} holds columns of several lengths")
    return part


def lock(folder: Path) -> IO[str] | None:
    """Keep other processes from the folder of an evaluation, for as long as the file is open.

    Args:
        folder: of the evaluation.

    Returns:
        The open file; None where the system, or the disk, has no such locks.

    Raises:
        RunConflictError: if another process keeps it.
    """
    try:
        import fcntl
    except ImportError:  # on Windows
        return None
    name = hashlib.blake2b(str(folder.resolve()).encode(), digest_size=16).hexdigest()
    path = Path(tempfile.gettempdir()) / f"entres-{name}.lock"
    # Loaders of one that was killed keep it, too, until they see that it is gone.
    deadline = time.monotonic() + PATIENCE
    with suppress(OSError):  # a disk without locks
        while True:
            file = path.open("a")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # Who had it may have removed it since it was opened: then it keeps nobody out.
                if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                    return file
            except BlockingIOError:
                if time.monotonic() > deadline:
                    break
                time.sleep(0.2)
            file.close()
        file.close()
        raise RunConflictError(
            f"{folder} is being evaluated by another process: wait until that ends, or name this "
            "one --model.evaluation NAME"
        )
    return None


def unlock(file: IO[str]) -> None:
    """Let other processes to the folder that :func:`lock` has kept them from."""
    Path(file.name).unlink(missing_ok=True)
    file.close()


def clear(folder: Path) -> None:
    """Remove all of an evaluation that was not finished.

    Args:
        folder: of the evaluation.
    """
    shutil.rmtree(folder / FOLDER, ignore_errors=True)
    for name in (SUMMARY, RECORDS, CONVERGENCE):
        (folder / name).unlink(missing_ok=True)


def digest(dataset: EvaluationDataset) -> str:
    """Which images of which labels a data set has, as 32 hexadecimal digits."""
    hashed = hashlib.blake2b(digest_size=16)
    for index in dataset.indices.tolist():
        # A name may hold bytes that are no Unicode.
        key = (dataset.source.key(index) or "").encode("utf-8", "surrogateescape")
        hashed.update(b"%d %d %b\n" % (index, int(dataset.source.labels[index]), key))
    return hashed.hexdigest()


def digests_of_files(asked: object) -> dict[str, str]:
    """A digest of every file that is named in what an evaluation is asked for: a victim's, say."""
    if isinstance(asked, Mapping):
        asked = list(asked.values())
    if isinstance(asked, list | tuple):
        return {name: each for part in asked for name, each in digests_of_files(part).items()}
    # Not every string is a path that a system takes.
    with suppress(OSError, ValueError):
        if isinstance(asked, str) and (file := Path(asked)).is_file():
            return {asked: weights_digest(file, 16)}
    return {}
