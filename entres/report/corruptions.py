"""What corruptions do to size and accuracy: means over severities, corruptions and categories."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from entres.report.bootstrap import LARGE
from entres.report.paired import Mean, mean_over_conditions, mean_size_interval
from entres.results import (
    CATEGORIES,
    ResultsError,
    Row,
    clean_reference,
    largest_of_each,
    relative_change,
)

CATEGORY = {name: category for category, names in CATEGORIES.items() for name in names}
ALL = "all"
EXTRA = "extra"


@dataclass(frozen=True)
class CorruptionMean:
    """Size and accuracy under some corruptions, and their change against clean images.

    Attributes:
        label: name of a corruption or of a category, :data:`EXTRA` or :data:`ALL`.
        corruptions: how many corruptions the mean is over.
        kib: mean size of an image's stream.
        accuracy: top-1, a fraction.
        accuracy_present: top-1 among the classes that occur, a fraction.
        images: how many each condition had, the fewest of them.
        kib_change: relative change of the size, 0.5 for +50%; None without a clean row.
        accuracy_change: difference of the top-1 fractions; None likewise.
        accuracy_present_change: likewise.
        corruption_error: share of wrong images by that of the teacher's, both summed over
            severities, then the mean over corruptions (Hendrycks and Dietterich 2019, sec. 4.1);
            None where the teacher was not evaluated, or is never wrong.
        weights: the rows that the mean is over, and what each of them weighs.
    """

    label: str
    corruptions: int
    kib: float
    accuracy: float
    accuracy_present: float | None = None
    images: int = 1
    kib_change: float | None = None
    accuracy_change: float | None = None
    accuracy_present_change: float | None = None
    corruption_error: float | None = None
    weights: tuple[tuple[Row, float], ...] = field(default=(), repr=False, compare=False)

    def intervals(self, clean: Row | None, quick: bool = False) -> Mean:
        """The intervals of the means, and of their changes against a clean row.

        Without the records of the images there are none of the changes.

        Args:
            clean: what the changes are against.
            quick: whether to leave the records of many images alone.
        """
        rows, weights = [row for row, _ in self.weights], [weight for _, weight in self.weights]
        if clean is not None and not (quick and self.images > LARGE):
            with suppress(ResultsError):
                return mean_over_conditions(rows, weights, clean)
        return Mean(mean_size_interval(rows, weights, quick))


def evaluations(rows: Iterable[Row]) -> list[list[Row]]:
    """The rows of every student, data set and defense (of a strength) that met a corruption.

    Of two evaluations of one condition the larger one counts.
    """

    def kind(row: Row) -> tuple[Any, Any]:
        who = (row.whose, row.dataset, row.defense, row.defense_strength)
        # Of clean rows all sizes are kept: a change is measured against one of as many images.
        return who, (row.corruption, row.severity, row.corruption is None and row.images)

    of_corruptions = (row for row in rows if row.condition in ("clean", "corruption"))
    groups: dict[Any, list[Row]] = defaultdict(list)
    for (who, _), row in largest_of_each(of_corruptions, kind).items():
        groups[who].append(row)
    return [group for group in groups.values() if any(row.corruption for row in group)]


def clean_row(rows: Sequence[Row]) -> Row | None:
    """The clean row of :func:`evaluations`' rows, behind the same defense."""
    images = next((row.images for row in rows if row.corruption), None)
    return clean_reference(rows, images, rows[0].defense_label)


def corruption_means(rows: Sequence[Row]) -> list[CorruptionMean]:
    """The mean over severities of every corruption that was measured, in the order of the rows.

    Args:
        rows: of one student on one data set.
    """
    by_name: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.corruption is not None:
            by_name[row.corruption].append(row)
    clean = clean_row(rows)
    return [_mean(name, [_single(row) for row in found], clean) for name, found in by_name.items()]


def category_means(rows: Sequence[Row]) -> list[CorruptionMean]:
    """Mean figures of the categories, of the extra corruptions, and of all fifteen (the last).

    Each corruption counts once: first the mean over its severities is taken, then the mean over
    corruptions. The last are the mean corruption size and the mean corruption accuracy; the extra
    corruptions do not enter them, nor does what was not measured.

    Args:
        rows: of one student on one data set.
    """
    groups: dict[str, list[CorruptionMean]] = defaultdict(list)
    for mean in corruption_means(rows):
        groups[CATEGORY.get(mean.label, EXTRA)].append(mean)
    order = [*dict.fromkeys(CATEGORY.values()), EXTRA]
    clean = clean_row(rows)
    categories = [_mean(label, groups[label], clean) for label in order if label in groups]
    fifteen = [mean for label, means in groups.items() if label != EXTRA for mean in means]
    return [*categories, _mean(ALL, fifteen, clean)] if fifteen else categories


def _single(row: Row) -> CorruptionMean:
    figures = (row.kib_mean, row.accuracy, row.accuracy_present, row.images)
    return CorruptionMean("", 1, *figures, weights=((row, 1.0),))


def _mean(label: str, parts: Sequence[CorruptionMean], clean: Row | None) -> CorruptionMean:
    present = [part.accuracy_present for part in parts if part.accuracy_present is not None]
    kib, accuracy = fmean(part.kib for part in parts), fmean(part.accuracy for part in parts)
    accuracy_present = fmean(present) if len(present) == len(parts) else None
    changes: dict[str, float] = {}
    if clean is not None:
        changes["kib_change"] = relative_change(kib, clean.kib_mean)
        changes["accuracy_change"] = accuracy - clean.accuracy
        if accuracy_present is not None and clean.accuracy_present is not None:
            changes["accuracy_present_change"] = accuracy_present - clean.accuracy_present
    # Of a corruption the parts are its severities, of a category its corruptions.
    count = 1 if parts and not parts[0].label else len(parts)
    images = min(part.images for part in parts)
    return CorruptionMean(
        label,
        count,
        kib,
        accuracy,
        accuracy_present,
        images,
        **changes,
        corruption_error=_corruption_error(parts),
        weights=tuple((row, w / len(parts)) for part in parts for row, w in part.weights),
    )


def _corruption_error(parts: Sequence[CorruptionMean]) -> float | None:
    if parts and parts[0].label:
        known = [p.corruption_error for p in parts if p.corruption_error is not None]
        return fmean(known) if len(known) == len(parts) else None
    rows = [row for part in parts for row, _ in part.weights]
    teachers = [1 - row.teacher_accuracy for row in rows if row.teacher_accuracy is not None]
    if len(teachers) < len(rows) or sum(teachers) == 0:
        return None
    return sum(1 - row.accuracy for row in rows) / sum(teachers)
