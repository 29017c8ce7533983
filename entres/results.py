"""The results schema: what an evaluation leaves behind, and what every report reads.

``<OUT>/<data>/<student>/eval/<name>/summary.json`` is a JSON list with one :class:`Row` per
condition; ``records.csv`` beside it (:mod:`entres.records`) has one line per image and condition.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

from entres.condition_names import budget_of
from entres.errors import EntresError, reason_of
from entres.files import write_whole
from entres.records import RECORDS

Key = TypeVar("Key", bound=Hashable)

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
    "acc_ensemble",
    "square",
]

CATEGORIES: dict[str, tuple[str, ...]] = {
    "noise": ("gaussian_noise", "shot_noise", "impulse_noise"),
    "blur": ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
    "weather": ("snow", "frost", "fog", "brightness"),
    "digital": ("contrast", "elastic_transform", "pixelate", "jpeg_compression"),
}
"""The fifteen corruptions of ImageNet-C by category (Hendrycks and Dietterich 2019)."""
FIFTEEN = tuple(name for names in CATEGORIES.values() for name in names)
EXTRA_CORRUPTIONS = ("speckle_noise", "gaussian_blur", "spatter", "saturate")
"""Four more corruptions, published beside the fifteen and for tuning on."""
SEVERITIES = (1, 2, 3, 4, 5)
CONVERGENCE = "convergence.csv"
"""What attacks gained step by step, beside the results of an evaluation."""
LEVEL = 0.95
"""Of every interval: the share of repetitions in which it holds the true value."""


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
        victim: name of the student that was attacked, names of several joined by ``and``, or None
            for the one that is evaluated.
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
    victim: str | None = None

    def behind(self, defense: str | None, strength: float | None) -> Condition:
        """The same condition behind a defense of a strength, or behind none."""
        return replace(self, defense=defense, defense_strength=strength)

    @property
    def label(self) -> str:
        """In a few words: ``pgd_e 4/255 (strong) + masked_tv 0.02``."""
        parts: list[str] = [self.corruption or self.condition]
        if self.severity is not None:
            parts.append(f"severity {self.severity}")
        if self.epsilon_255 is not None:
            parts.append(f"{self.epsilon_255:g}/255")
        if not is_papers_norm(self.norm):
            parts.append(str(self.norm))
        if self.preset is not None:
            parts.append(f"({self.preset})")
        if self.through is not None:
            parts.append(f"through the defense ({self.through})")
        if self.victim is not None:
            parts.append(f"made for {self.victim}")
        if self.defense_label is not None:
            parts.append(f"+ {self.defense_label}")
        return " ".join(parts)

    @property
    def defense_label(self) -> str | None:
        """The defense and its strength, ``masked_tv 0.02``; None without a defense."""
        if self.defense is None or self.defense_strength is None:
            return self.defense
        return f"{self.defense} {self.defense_strength:g}"


def recorded_condition(values: Mapping[str, Any]) -> tuple[str, ...]:
    """A condition as ``records.csv`` writes it.

    Args:
        values: of a condition, a row or a line of that file, by name.
    """
    return tuple("" if (v := values.get(f.name)) is None else str(v) for f in fields(Condition))


@dataclass(frozen=True)
class Row:
    """One condition of one evaluation. Public: later versions may add keys, never change these.

    Attributes:
        student: ``<backbone>-<codec>-beta<beta>-<recipe>``.
        backbone: timm name.
        codec: ``fp`` or ``mshp``.
        beta: weight of the rate in training.
        recipe: ``distilled``, ``joint`` or ``frozen-encoder``, and the attacks it was trained on.
        dataset: name of the datamodule's data.
        condition, corruption, severity, preset, epsilon_255, defense: see :class:`Condition`.
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
        norm, defense_strength, through, victim: see :class:`Condition`.
        weights: a few digits that tell files of students of one name apart.
        seed: of the student's training.
        conditions_asked: rows that the evaluation was to have; with fewer it was stopped.
        extra: what further measurements gave.
        folder: of the evaluation that it was read from, or None. It is not written down.
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
    victim: str | None = None
    weights: str | None = None
    seed: int = 0
    conditions_asked: int | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    folder: Path | None = field(default=None, compare=False, repr=False)

    @property
    def whose(self) -> tuple[str, str]:
        """The student's name and the digits of its file: files of one name are several students."""
        return self.student, self.weights or ""

    @property
    def extent(self) -> tuple[int, int]:
        """How much was measured: images, then figures. Of two evaluations of one condition, the
        larger one counts.
        """
        return self.images, sum(value is not None for value in self.as_dict().values())

    @property
    def under(self) -> Condition:
        """What was done to the images, by itself."""
        return Condition(**{f.name: getattr(self, f.name) for f in fields(Condition)})

    @property
    def label(self) -> str:
        """See :attr:`Condition.label`."""
        return self.under.label

    @property
    def defense_label(self) -> str | None:
        """See :attr:`Condition.defense_label`."""
        return self.under.defense_label

    @property
    def images_of(self) -> str:
        """Name of the data whose images these are: ImageNet-C's are those of ImageNet."""
        return self.dataset.removesuffix("-c")

    def as_dict(self) -> dict[str, Any]:
        """Flat, as it is written: what further callbacks measured stands beside the rest."""
        values = asdict(self)
        del values["folder"]
        return {**values.pop("extra"), **values}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Row:
        """The inverse of :meth:`as_dict`; unknown keys go to ``extra``."""
        known = {f.name for f in fields(cls)} - {"extra", "folder"}
        return cls(
            **{k: v for k, v in values.items() if k in known},
            extra={k: v for k, v in values.items() if k not in known},
        )


def is_whole(rows: Sequence[Row]) -> bool:
    """Whether an evaluation has all the conditions that it was asked for."""
    return bool(rows) and len(rows) >= (rows[0].conditions_asked or 0)


# --- what is compared with what -------------------------------------------------------------------


def is_papers_norm(norm: str | None) -> bool:
    """Whether a ball, if there was any, was one of the paper's; None or empty: there was none."""
    return norm in (None, "", "linf")


def is_of_papers_attacks(row: Row) -> bool:
    """Whether an attack, if there was any, was in the paper's ball and made for this student."""
    return is_papers_norm(row.norm) and row.victim is None


def is_unaware(row: Row) -> bool:
    """Whether the attack, if there was any, knew of no defense."""
    return row.through in (None, "oblivious")


def is_plain(row: Row) -> bool:
    """Whether the paper's ball was used, if any, on this student, and no defense was in sight.

    An attack that goes no further than it takes to pass a budget does not use its ball.
    """
    whole = budget_of(row.condition) is None
    return whole and is_of_papers_attacks(row) and row.defense is None and row.through is None


def clean_reference(
    rows: Iterable[Row], images: int | None = None, defense_label: str | None = None
) -> Row | None:
    """The clean row that others are compared with.

    Args:
        rows: of one student.
        images: of as many images, where there is such a row; else that of most images is taken. Of
            several such, the one with most figures: not every evaluation asks for the teacher's.
        defense_label: behind this defense (see :attr:`Row.defense_label`); None: behind none.

    Returns:
        None where nothing such was measured.
    """
    clean = [r for r in rows if r.condition == "clean" and r.defense_label == defense_label]
    same = [row for row in clean if row.images == images]
    return largest(same or clean)


def beside(rows: Iterable[Row], row: Row) -> list[Row]:
    """Those rows that are of the same evaluation as another; all of them where there are none.

    Evaluations of one student may differ in their images and in much else; those of one do not.
    """
    everyone = list(rows)
    same = [other for other in everyone if row.folder is not None and other.folder == row.folder]
    return same or everyone


def clean_beside(rows: Iterable[Row], row: Row, defense_label: str | None = None) -> Row | None:
    """The clean row that another is compared with: of its own evaluation, else as
    :func:`clean_reference` chooses.

    Args:
        rows: of one student.
        row: one of them.
        defense_label: behind this defense; None: behind none.
    """
    clean = [r for r in rows if r.condition == "clean" and r.defense_label == defense_label]
    return clean_reference(beside(clean, row), row.images, defense_label)


def largest(rows: Iterable[Row]) -> Row | None:
    """Of several evaluations of one condition the one of the largest :attr:`Row.extent`."""
    return max(rows, key=lambda row: row.extent, default=None)


def largest_of_each(rows: Iterable[Row], key: Callable[[Row], Key]) -> dict[Key, Row]:
    """Of the rows of each key the :func:`largest`, in the order in which keys first occur."""
    found: dict[Key, Row] = {}
    for row in rows:
        if (of_key := key(row)) not in found or found[of_key].extent < row.extent:
            found[of_key] = row
    return found


def relative_change(value: float, reference: float) -> float:
    """``value`` against ``reference``: 0.95 is 95% more.

    Raises:
        ValueError: if the reference is 0.
    """
    if reference == 0:
        raise ValueError("relative change against 0 is undefined")
    return value / reference - 1


# --- files ----------------------------------------------------------------------------------------


SUMMARY = "summary.json"
"""A row for every condition of an evaluation."""


def write_summary(folder: Path, rows: Sequence[Row]) -> Path:
    """Write ``summary.json``.

    Raises:
        ValueError: if a figure is not finite.
    """
    text = json.dumps([row.as_dict() for row in rows], indent=2, allow_nan=False) + "\n"
    return write_whole(folder / SUMMARY, text)


def read_summary(path: str | Path) -> list[Row]:
    """The rows of a ``summary.json``.

    Raises:
        ResultsError: if it is none.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        return [Row.from_dict(values) for values in json.loads(text)]
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ResultsError(
            f"{path} holds no results ({reason_of(error)}): delete it, or evaluate again"
        ) from error


def file_of_evaluation(folder: str | Path, name: str) -> Path:
    """A file that an evaluation has left.

    Args:
        folder: of the evaluation.
        name: of the file.

    Raises:
        ResultsError: if it is not there.
    """
    path = Path(folder) / name
    if not path.is_file():
        raise ResultsError(
            f"no evaluation at {folder}, {name} is not there: give the folder that entres test has "
            "named"
        )
    return path


def read_evaluations(folders: Iterable[str | Path]) -> list[Row]:
    """The rows of evaluations of one student on one data set.

    Args:
        folders: of at least one evaluation, with its records.

    Returns:
        All of their rows; each knows its folder.

    Raises:
        ResultsError: if there is none at a folder, one cannot be read, or they are of several
            students or data sets.
    """
    rows: list[Row] = []
    for folder in map(Path, folders):
        summary = file_of_evaluation(folder, SUMMARY)
        file_of_evaluation(folder, RECORDS)
        rows += [replace(row, folder=folder) for row in read_summary(summary)]
    if not rows:
        raise ResultsError("no evaluation was given: name the folder of one, or of several")
    for what, found in (
        ("students", {" ".join(filter(None, row.whose)) for row in rows}),
        ("data sets", {row.images_of for row in rows}),
    ):
        if len(found) > 1:
            raise ResultsError(
                f"these are evaluations of several {what} ({', '.join(sorted(found))}): give those "
                "of one"
            )
    return rows


class Found(NamedTuple):
    """What lies under a folder of runs.

    Attributes:
        files: every ``summary.json`` that can be read.
        rows: what stands in them; each knows its folder.
        unreadable: a sentence on each of the others.
        partial: a sentence on each evaluation that has not all of its conditions. Their rows count:
            every condition in them is finished.
    """

    files: list[Path]
    rows: list[Row]
    unreadable: list[str]
    partial: list[str]


def evaluation_files(out: str | Path, name: str) -> list[Path]:
    """Files of one name that evaluations have left, sorted.

    Args:
        out: a folder around evaluations: of all runs, of a student, of its ``eval``; or one of an
            evaluation. Folders inside of an evaluation's are no evaluations.
        name: of the files; ``*.png`` is every picture.
    """
    here = Path(os.path.abspath(out))  # of `.` nobody knows where it lies
    found = list(Path(out).glob(f"**/eval/*/{name}"))
    if here.name == "eval":
        found += here.glob(f"*/{name}")
    if (here / SUMMARY).is_file():
        found += here.glob(name)
    return sorted(found)


def find_results(out: str | Path) -> Found:
    """Every ``summary.json`` under a folder of runs; a damaged one does not hide the rest.

    Args:
        out: see :func:`evaluation_files`.
    """
    found = Found([], [], [], [])
    for path in evaluation_files(out, SUMMARY):
        try:
            rows = [replace(row, folder=path.parent) for row in read_summary(path)]
        except ResultsError as error:
            found.unreadable.append(str(error))
            continue
        found.files.append(path)
        found.rows.extend(rows)
        if rows and not is_whole(rows):
            found.partial.append(
                f"{path.parent}: {len(rows)} of {rows[0].conditions_asked} conditions: it was "
                "stopped (or still runs); the same command goes on with it"
            )
    return found
