"""Two curves of accuracy over size by one number (Bjontegaard 2001, VCEG-M33).

Between the points of a curve runs a monotone cubic, PCHIP (Fritsch and Butland 1984), over the
logarithm of the size, as in the later practice of video coding: a single polynomial, as in the
first paper, may swing between the points. The curves are compared by the area between them over
the range that they share.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import exp, log
from typing import NamedTuple

LEAST = 4
"""Points that a curve needs."""


class Point(NamedTuple):
    """A student on its curve: mean size in KiB, > 0, and accuracy, a fraction."""

    kib: float
    accuracy: float


def size_delta(reference: Sequence[Point], other: Sequence[Point]) -> float:
    """How much larger the other's streams are at equal accuracy (the BD rate), relative: 0.1 is
    10% more.

    Args:
        reference: a curve of at least :data:`LEAST` points, in any order.
        other: another one.

    Raises:
        ValueError: if a curve has too few points or accuracies that do not rise with the size, or
            the curves share no range of accuracy.
    """
    first, second = (
        ([point.accuracy for point in curve], [log(point.kib) for point in curve])
        for curve in (_rising(reference), _rising(other))
    )
    if any(b <= a for accuracies, _ in (first, second) for a, b in pairwise(accuracies)):
        raise ValueError("accuracy does not rise with the size: there is no size of an accuracy")
    return exp(_between(first, second, "accuracy")) - 1


def accuracy_delta(reference: Sequence[Point], other: Sequence[Point]) -> float:
    """How much more accurate the other is at equal size, a difference of fractions.

    Args:
        reference: as for :func:`size_delta`.
        other: likewise.

    Raises:
        ValueError: if a curve has too few points, or the curves share no range of sizes.
    """
    first, second = (
        ([log(point.kib) for point in curve], [point.accuracy for point in curve])
        for curve in (_rising(reference), _rising(other))
    )
    return _between(first, second, "size")


def _rising(curve: Sequence[Point]) -> list[Point]:
    points = sorted(curve)
    if len(points) < LEAST or len({point.kib for point in points}) < len(points):
        raise ValueError(
            f"a curve needs {LEAST} students of other sizes (betas), here are "
            f"{len({point.kib for point in points})}"
        )
    return points


Curve = tuple[list[float], list[float]]
"""Where its points are, rising, and how high."""


def _between(reference: Curve, other: Curve, over: str) -> float:
    """The mean difference of two curves over the range that they share."""
    low = max(reference[0][0], other[0][0])
    high = min(reference[0][-1], other[0][-1])
    if low >= high:
        raise ValueError(f"the curves share no range of {over}")
    return (_area(*other, low, high) - _area(*reference, low, high)) / (high - low)


def _area(x: list[float], y: list[float], low: float, high: float) -> float:
    """The area below the curve through the points, from ``low`` to ``high``."""
    slopes = _slopes(x, y)
    area = 0.0
    for i, (start, end) in enumerate(pairwise(x)):
        left, right = max(start, low), min(end, high)
        if left >= right:
            continue
        width = end - start

        def height(at: float, i: int = i, start: float = start, width: float = width) -> float:
            t = (at - start) / width
            return (
                y[i] * (1 + 2 * t) * (1 - t) ** 2
                + width * slopes[i] * t * (1 - t) ** 2
                + y[i + 1] * t**2 * (3 - 2 * t)
                + width * slopes[i + 1] * t**2 * (t - 1)
            )

        # Simpson's rule is exact for cubics.
        middle = height((left + right) / 2)
        area += (right - left) / 6 * (height(left) + 4 * middle + height(right))
    return area


def _slopes(x: list[float], y: list[float]) -> list[float]:
    """The slopes at the points with which the cubics rise and fall only where the points do.

    Inside, a harmonic mean of the slopes to both sides, 0 at an extremum; at the ends that of the
    parabola through three points, kept from turning round.
    """
    widths = [b - a for a, b in pairwise(x)]
    steps = [(b - a) / w for (a, b), w in zip(pairwise(y), widths, strict=True)]
    slopes = [_end(widths[0], widths[1], steps[0], steps[1])]
    for (w1, w2), (s1, s2) in zip(pairwise(widths), pairwise(steps), strict=True):
        if s1 * s2 <= 0:
            slopes.append(0.0)
        else:
            slopes.append(3 * (w1 + w2) / ((2 * w2 + w1) / s1 + (w2 + 2 * w1) / s2))
    return [*slopes, _end(widths[-1], widths[-2], steps[-1], steps[-2])]


def _end(width: float, next_width: float, step: float, next_step: float) -> float:
    slope = ((2 * width + next_width) * step - width * next_step) / (width + next_width)
    if slope * step <= 0:
        return 0.0
    if step * next_step <= 0 and abs(slope) > 3 * abs(step):
        return 3 * step
    return slope
