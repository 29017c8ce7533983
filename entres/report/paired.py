"""Rows of the same images, compared image by image.

Intervals of two rows overlap long before the rows are alike: what makes one image larger than
another makes it so in both. The difference of each image from itself is what counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from entres.report.bootstrap import LARGE, change_interval, mean_interval
from entres.report.formats import Change, Number
from entres.report.intervals import Interval, mcnemar, newcombe
from entres.report.records import Images, images_of, size_interval
from entres.results import ResultsError, Row

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SIZE, POINTS = "+.1%", "+.1f"
"""How a change of size, and one of accuracy in percentage points, are written."""

Pair = tuple[Row, Row]
"""Before and after."""


@dataclass(frozen=True)
class Comparison:
    """What changes from one row to another, over the images of both.

    Attributes:
        images: how many are in all rows that are compared.
        alone: how many are in some of them only: they are left out.
        size: relative change of the mean size.
        accuracy: change of top-1 in points; with its p-value for a single pair.
    """

    images: int
    alone: int
    size: Change | Number
    accuracy: Change | Number


def compare(pairs: Sequence[Pair]) -> Comparison:
    """Compare rows image by image; of several pairs, take the mean of their changes.

    The interval of the size is the bootstrap's over images. That of a single pair's accuracy is
    Newcombe's, with McNemar's exact test; that of a mean is the bootstrap's as well.

    Args:
        pairs: at least one, all of the same data.

    Raises:
        ResultsError: if there are no records, or rows that are not of the same images.
    """
    rows = [row for pair in pairs for row in pair]
    data = {row.images_of for row in rows}
    if len(data) > 1:
        raise ResultsError(f"images of {' and '.join(sorted(data))} cannot be compared one by one")
    common = common_images(rows)
    shape = (len(pairs), 2, common.images)
    sizes, right = common.sizes.reshape(shape), common.right.reshape(shape)
    before, after = sizes[:, 0], sizes[:, 1]
    mean_change = float((after.mean(1) / before.mean(1) - 1).mean())
    interval = change_interval(before, after)
    size: Change | Number = Number(mean_change, SIZE)
    if interval is not None:
        size = Change(mean_change, interval, SIZE, alone=common.alone)
    accuracy = _accuracy(right[:, 0], right[:, 1], common.alone)
    return Comparison(common.images, common.alone, size, accuracy)


def contrast(first: Pair, second: Pair) -> Comparison:
    """How much more the second pair changes than the first, over the images of both.

    The difference of two relative changes of the mean size, and of two changes of top-1 in points;
    both intervals are the bootstrap's.

    Raises:
        ResultsError: as for :func:`compare`.
    """
    common = common_images([*first, *second])
    (b0, a0, b1, a1), (was0, is0, was1, is1) = common.sizes, common.right
    change = float(a1.mean() / b1.mean() - a0.mean() / b0.mean())
    interval = change_interval(common.sizes[::2], common.sizes[1::2], (-1.0, 1.0))
    more = 100 * ((is1 - was1) - (is0 - was0))
    size: Change | Number = Number(change, SIZE)
    accuracy: Change | Number = Number(float(more.mean()), POINTS)
    points = mean_interval(more)
    if interval is not None and points is not None:
        size = Change(change, interval, SIZE, alone=common.alone)
        accuracy = Change(accuracy.value, points, POINTS, alone=common.alone)
    return Comparison(common.images, common.alone, size, accuracy)


class Mean(NamedTuple):
    """A mean over conditions of the same images, such as over severities.

    Attributes:
        size: interval of the mean size in KiB.
        size_change: that of its relative change against the reference.
        points: that of the change of top-1, in points.
        points_present: likewise among the classes that occur.
    """

    size: Interval | None
    size_change: Interval | None = None
    points: Interval | None = None
    points_present: Interval | None = None


def mean_over_conditions(
    rows: Sequence[Row], weights: Sequence[float], reference: Row, changes: bool = True
) -> Mean:
    """The intervals of a weighted mean of rows, and of its change; the bootstrap's over images.

    Args:
        rows: of the same images.
        weights: of each of them, with a sum of 1.
        reference: that it is compared with.
        changes: whether it is compared at all.

    Raises:
        ResultsError: as for :func:`compare`.
    """
    import numpy as np

    everyone = [reference, *rows]
    common = common_images(everyone)
    weight = np.array(weights)
    sizes = weight @ common.sizes[1:]
    if not changes:
        return Mean(mean_interval(sizes))
    present = weight @ common.right_present[1:] - common.right_present[0]
    return Mean(
        mean_interval(sizes),
        change_interval(common.sizes[:1], sizes[None]),
        mean_interval(100 * (weight @ common.right[1:] - common.right[0])),
        mean_interval(100 * present) if np.isfinite(present).all() else None,
    )


def mean_size_interval(
    rows: Sequence[Row], weights: Sequence[float] | None = None, quick: bool = False
) -> Interval | None:
    """The interval of a weighted mean of mean sizes in KiB.

    Without the records of the images it is the mean of the rows' own: a mean over the same images
    varies no more than they do.

    Args:
        rows: of the same images.
        weights: of each of them, with a sum of 1; all alike if None.
        quick: whether to leave the records of many images alone.

    Returns:
        None of one image.
    """
    weights = weights or [1 / len(rows)] * len(rows)
    if not (quick and rows[0].images > LARGE):
        with suppress(ResultsError):
            return mean_over_conditions(rows, weights, rows[0], changes=False).size
    ends = [size_interval(row) for row in rows]
    known = [(w, end) for w, end in zip(weights, ends, strict=True) if end is not None]
    if len(known) < len(ends):
        return None
    return sum(w * low for w, (low, _) in known), sum(w * high for w, (_, high) in known)


class Common(NamedTuple):
    """What several rows say of those images that all of them have.

    Attributes:
        images: how many.
        alone: how many only some rows have.
        keys: of each image, its index in the data of the first row; rising, shape (images,).
        sizes: in KiB, shape (rows, images).
        right: likewise.
        right_present: likewise.
    """

    images: int
    alone: int
    keys: NDArray[np.int64]
    sizes: NDArray[np.float64]
    right: NDArray[np.float64]
    right_present: NDArray[np.float64]


def common_images(rows: Sequence[Row]) -> Common:
    """What rows of the same data say of the images that all of them have.

    Raises:
        ResultsError: if there are no records, or no image is in all of them.
    """
    import numpy as np

    found = [images_of(row) for row in rows]
    keys = _keys(rows, found)
    shared, everywhere = keys[0], keys[0]
    for other in keys[1:]:
        if not np.array_equal(other, shared):
            shared, everywhere = np.intersect1d(shared, other), np.union1d(everywhere, other)
    if len(shared) == 0:
        raise ResultsError(f"{_named(rows)} have no image in common")
    order = [np.argsort(key, kind="stable") for key in keys]
    places = [
        at[np.searchsorted(key, shared, sorter=at)] for key, at in zip(keys, order, strict=True)
    ]
    if (np.diff(places[0]) < 0).any():
        # Numbers of names have an order of their own in every process.
        in_order = np.argsort(places[0])
        places = [at[in_order] for at in places]
    labels = [images.labels[at] for images, at in zip(found, places, strict=True)]
    if any(not np.array_equal(other, labels[0]) for other in labels[1:]):
        raise ResultsError(f"the images of {_named(rows)} are of other classes: not the same data")
    at_places = list(zip(found, places, strict=True))
    return Common(
        len(shared),
        len(everywhere) - len(shared),
        found[0].index[places[0]],
        np.stack([images.sizes[at] for images, at in at_places]),
        np.stack([images.right[at] for images, at in at_places]),
        np.stack([images.right_present[at] for images, at in at_places]),
    )


def _keys(rows: Sequence[Row], found: Sequence[Images]) -> list[NDArray[np.int64]]:
    """What tells the images of each row apart: their names, else their indices.

    An index says less: where an image has been added or removed, those behind it have moved, and
    ImageNet-C counts its images by itself.

    Raises:
        ResultsError: if rows of several data have no names for their images.
    """
    names = [images.names for images in found if images.names is not None]
    nameless = [row for row, images in zip(rows, found, strict=True) if images.names is None]
    if nameless and len({row.dataset for row in rows}) > 1:
        data = nameless[0].dataset
        raise ResultsError(f"the images of {data} have no names: compare its own rows only")
    return [images.index for images in found] if nameless else names


def _named(rows: Sequence[Row]) -> str:
    labels = list(dict.fromkeys(row.label for row in rows))
    first, *others = labels
    return f"{first} and {others[-1]}" if others else f"rows of {first}"


def _accuracy(
    before: NDArray[np.float64], after: NDArray[np.float64], alone: int
) -> Change | Number:
    """Change of top-1 in points, from what was right: shape (pairs, images)."""
    points = 100 * (after - before).mean(0)
    value = float(points.mean())
    if len(before) > 1:
        interval = mean_interval(points)
        if interval is None:
            return Number(value, POINTS)
        return Change(value, interval, POINTS, alone=alone)
    lost, gained = int((before > after).sum()), int((after > before).sum())
    both = int((before * after).sum())
    low, high = newcombe(both, lost, gained, before.size - both - lost - gained)
    return Change(value, (100 * low, 100 * high), POINTS, mcnemar(lost, gained), alone)
