"""Two curves by one number."""

from __future__ import annotations

from math import exp, log

import numpy as np
import pytest

from entres.report.bjontegaard import Point, accuracy_delta, size_delta

CURVE = [Point(3.5, 0.60), Point(6.0, 0.68), Point(9.6, 0.72), Point(16.0, 0.75)]


def test_a_curve_that_is_shifted_differs_by_the_shift() -> None:
    larger = [Point(1.2 * kib, accuracy) for kib, accuracy in CURVE]
    assert size_delta(CURVE, larger) == pytest.approx(0.2)
    assert size_delta(larger, CURVE) == pytest.approx(1 / 1.2 - 1)
    better = [Point(kib, accuracy + 0.03) for kib, accuracy in CURVE]
    assert accuracy_delta(CURVE, better) == pytest.approx(0.03)
    assert size_delta(CURVE, CURVE) == accuracy_delta(CURVE, CURVE[::-1]) == 0


def test_it_is_the_area_between_scipys_curves() -> None:
    from scipy.integrate import quad
    from scipy.interpolate import PchipInterpolator

    generator = np.random.default_rng(0)
    for _ in range(20):
        curves = []
        for points in (4, 6):
            kib = np.sort(generator.uniform(2, 20, points))
            # Not always rising: there is an accuracy of each size all the same.
            pairs = zip(kib, generator.random(points), strict=True)
            curves.append([Point(*pair) for pair in pairs])
        low, high = (log(f(c[i].kib for c in curves)) for f, i in ((max, 0), (min, -1)))
        if low >= high:
            continue
        first, second = (
            PchipInterpolator([log(p.kib) for p in c], [p.accuracy for p in c]) for c in curves
        )
        knots = [log(p.kib) for c in curves for p in c if low < log(p.kib) < high]
        area, _ = quad(lambda x: float(second(x) - first(x)), low, high, points=knots)  # noqa: B023
        assert accuracy_delta(*curves) == pytest.approx(area / (high - low), abs=1e-9)
    other = [Point(5.0, 0.58), Point(8.0, 0.66), Point(12.0, 0.73), Point(20.0, 0.77)]
    by_accuracy = [
        PchipInterpolator([p.accuracy for p in c], [log(p.kib) for p in c]) for c in (CURVE, other)
    ]
    areas = [curve.integrate(0.60, 0.75) / 0.15 for curve in by_accuracy]
    assert size_delta(CURVE, other) == pytest.approx(exp(areas[1] - areas[0]) - 1)


def test_what_cannot_be_compared_is_said() -> None:
    with pytest.raises(ValueError, match=r"a curve needs 4 students .*, here are 3"):
        accuracy_delta(CURVE, CURVE[:3])
    with pytest.raises(ValueError, match="here are 3"):
        accuracy_delta(CURVE, [*CURVE[:3], CURVE[0]])
    far = [Point(10 * kib, accuracy) for kib, accuracy in CURVE]
    with pytest.raises(ValueError, match="share no range of size"):
        accuracy_delta(CURVE, far)
    assert size_delta(CURVE, far) == pytest.approx(9)
    falling = [*CURVE[:3], Point(16.0, 0.70)]
    with pytest.raises(ValueError, match="does not rise with the size"):
        size_delta(CURVE, falling)
    assert accuracy_delta(CURVE, falling) < 0
