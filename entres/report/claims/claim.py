"""A claim, what was measured of it, and how the rows that it is about are found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from entres.experiment.experiment import RECIPES
from entres.report.claims.verdicts import FEWEST, Measured, Verdict, combined
from entres.report.formats import Number
from entres.report.paired import POINTS, SIZE, Comparison, Pair, contrast
from entres.report.students import by_student
from entres.report.tables.common import compared
from entres.results import (
    Condition,
    ResultsError,
    Row,
    beside,
    clean_beside,
    is_of_papers_attacks,
    is_unaware,
    largest,
    largest_of_each,
    relative_change,
)

Student = Sequence[Row]
"""The rows of one."""
DENOISERS = ("published", "masked_tv", "masked_chambolle")
"""Defenses that are the paper's: as its code has it, as it is described, and its exact minimum."""
BEYOND = "beyond the paper"


@dataclass(frozen=True)
class Reading:
    """One thing that was measured of a claim.

    Attributes:
        row: what it is of; its student, and the images.
        what: condition and reference, in words.
        by_rule: what the claim's rule says of the figures.
        images: how many it is of; where rows were compared, those that all of them have.
        size: a relative change of the mean size, or a difference of two.
        points: likewise of top-1.
        other: any other figure, with its interval.
        others: further rows that it is of, such as those of other students.
    """

    row: Row
    what: str
    by_rule: Verdict
    images: int
    size: Measured | None = None
    points: Measured | None = None
    other: str | None = None
    others: tuple[Row, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """Of this reading alone; of fewer than :data:`FEWEST` images nothing is shown."""
        return self.by_rule if self.images >= FEWEST else Verdict.NOT_SHOWN


@dataclass(frozen=True)
class Claim:
    """A sentence that results can speak for or against.

    Attributes:
        said: the claim in our words.
        place: where it stands in the paper, or :data:`BEYOND`.
        rule: how a reading gets its verdict, in words.
        measure: readings from the rows of one data set; none where nothing was measured.
        target: what of ``entres`` measures it.
        asked: options of that target.
        figure: stem of the figure that shows it; of the report, or beside the evaluation.
        codecs: of the students that it needs, if not any.
    """

    said: str
    place: str
    rule: str
    measure: Callable[[Sequence[Row]], list[Reading]]
    target: str
    asked: Mapping[str, Any] = field(default_factory=dict)
    figure: str | None = None
    codecs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Finding:
    """A claim, and what the rows of one data set say of it.

    Attributes:
        claim: what is claimed.
        readings: what was measured.
    """

    claim: Claim
    readings: Sequence[Reading]

    @property
    def verdict(self) -> Verdict:
        """One of all readings."""
        return combined(reading.verdict for reading in self.readings)

    @property
    def students(self) -> set[tuple[str, str]]:
        """All that something was measured of."""
        return {row.whose for reading in self.readings for row in (reading.row, *reading.others)}

    @property
    def images(self) -> tuple[int, int] | None:
        """The fewest and the most that a reading is of."""
        counts = [reading.images for reading in self.readings]
        return (min(counts), max(counts)) if counts else None


# --- finding rows ---------------------------------------------------------------------------------


def students_of(rows: Iterable[Row]) -> list[list[Row]]:
    """The students that were not trained on attacks, under the paper's attacks on themselves."""
    return by_student(r for r in rows if is_of_papers_attacks(r) and r.recipe in RECIPES)


def trained_on_attacks(rows: Iterable[Row]) -> list[list[Row]]:
    """The other students, likewise."""
    return by_student(r for r in rows if is_of_papers_attacks(r) and r.recipe not in RECIPES)


def alike(rows: Iterable[Row], axis: str) -> list[list[Student]]:
    """Groups of students that differ in one thing alone: ``codec``, ``beta``, ..."""
    names = [n for n in ("backbone", "codec", "beta", "recipe", "seed") if n != axis]
    groups: dict[tuple[Any, ...], list[Student]] = {}
    for student in students_of(rows):
        groups.setdefault(tuple(getattr(student[0], n) for n in names), []).append(student)
    return [g for g in groups.values() if len({getattr(s[0], axis) for s in g}) > 1]


def codec_pairs(rows: Iterable[Row]) -> Iterator[tuple[Student, Student]]:
    """A student of the factorized prior, and one of the mean-scale hyperprior that is like it."""
    for group in alike(rows, "codec"):
        for fp in (s for s in group if s[0].codec == "fp"):
            for mshp in (s for s in group if s[0].codec == "mshp"):
                yield fp, mshp


def find(student: Student, near: Row | None = None, **wanted: Any) -> Row | None:
    """The largest row of these properties; without a defense and with no knowledge of one, if
    nothing else is wanted.

    Args:
        student: where to look.
        near: what it is to be compared with: of the same evaluation where that has such a row.
        wanted: values of :class:`Row`, by their names.
    """
    wanted = {"defense": None, "through": None, **wanted}
    found = [row for row in student if all(_is(row, n, v) for n, v in wanted.items())]
    return largest(found if near is None else beside(found, near))


def _is(row: Row, name: str, value: Any) -> bool:
    if name == "through" and value is None:
        return is_unaware(row)
    return bool(getattr(row, name) == value)


def each_condition(rows: Iterable[Row]) -> list[Row]:
    """The largest row of each condition of a student: measured twice, it says nothing twice."""
    return list(largest_of_each(rows, condition_of).values())


def condition_of(row: Row) -> Condition:
    """What was done to a row's images; to know of no defense has one name."""
    return replace(row.under, through=None if is_unaware(row) else row.through)


def attacked(student: Student, condition: str, epsilons: Sequence[float]) -> Iterator[Row]:
    """Undefended rows of an attack, by preset and epsilon."""
    presets = {row.preset for row in student if row.condition == condition}
    for preset in sorted(presets, key=str):
        for epsilon in epsilons:
            row = find(student, condition=condition, preset=preset, epsilon_255=epsilon)
            if row is not None:
                yield row


def against_clean(student: Student, row: Row) -> Pair | None:
    """A row behind the clean images that it was made of."""
    clean = clean_beside(student, row)
    return None if clean is None else (clean, row)


def against_noise(student: Student, row: Row) -> Pair | None:
    """A row behind random noise of its epsilon, which the paper compares attacks with."""
    noise = find(student, row, condition="noise", epsilon_255=row.epsilon_255)
    return None if noise is None else (noise, row)


# --- figures --------------------------------------------------------------------------------------


def change(pair: Pair) -> Comparison:
    """What changes from one row to another; without intervals where there are no records."""
    return compared([pair])


def reading_of(
    row: Row, what: str, verdict: Verdict, found: Comparison, others: tuple[Row, ...] = ()
) -> Reading:
    """What was read from a comparison."""
    return Reading(row, what, verdict, found.images, found.size, found.accuracy, others=others)


def difference(first: Pair, second: Pair) -> Comparison:
    """How much more the second pair changes; without intervals where there are no records."""
    try:
        return contrast(first, second)
    except ResultsError:
        sizes = [relative_change(a.kib_mean, b.kib_mean) for b, a in (first, second)]
        shares = [100 * (a.accuracy - b.accuracy) for b, a in (first, second)]
        images = min(row.images for row in (*first, *second))
        more = Number(sizes[1] - sizes[0], SIZE), Number(shares[1] - shares[0], POINTS)
        return Comparison(images, 0, *more)
