"""Intervals of means over images, and of changes of means, from the images themselves.

The images are drawn anew, with replacement, as many as there are, and the statistic is computed
again; how it varies is how sure it is. The interval is corrected for bias and skewness (BCa, Efron
1987): an image has a size of its own, and sizes are skewed. Of more than :data:`LARGE` images the
statistic is normal for every practical purpose, and its deviation follows from what each image
adds to it; drawing would only cost time.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING

from entres.report.intervals import Interval, normal_interval
from entres.results import LEVEL

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

LARGE = 1000
"""Of more images an interval is that of a normal distribution."""
RESAMPLES = 2000
SEED = 0
"""The draws are always the same: a table does not change from one call to the next."""


def mean_interval(values: Array) -> Interval | None:
    """The interval of a mean over images.

    Args:
        values: one of each image, shape (N,).

    Returns:
        None of fewer than two images.
    """
    images = len(values)
    if images < 2:
        return None
    if images > LARGE:
        return normal_interval(float(values.mean()), float(values.std(ddof=1)), images)
    total = values.sum()
    drawn = _draws(images) @ values / images
    without_one = (total - values) / (images - 1)
    return _bca(drawn, float(total / images), without_one)


def change_interval(
    before: Array, after: Array, weights: Sequence[float] | None = None
) -> Interval | None:
    """The interval of a relative change of a mean size; of several pairs, of their mean change.

    An image keeps its places: it is drawn, or not, in all pairs before and after.

    Args:
        before: sizes, shape (pairs, N), > 0.
        after: sizes of the same images, likewise.
        weights: of the pairs' changes, which are summed: (-1, 1) is the second less the first. The
            mean if None.

    Returns:
        Ends of the change, 0.5 for +50%; None of fewer than two images.
    """
    import numpy as np

    images = before.shape[1]
    if images < 2:
        return None
    weight = np.array(weights or [1 / len(before)] * len(before))
    totals_before, totals_after = before.sum(1, keepdims=True), after.sum(1, keepdims=True)
    ratios = totals_after / totals_before
    estimate = float(weight @ (ratios[:, 0] - 1))
    if images > LARGE:
        # What each image adds to the change, to first order (the delta method).
        added = weight @ ((after - ratios * before) / (totals_before / images))
        return normal_interval(estimate, float(added.std(ddof=1)), images)
    draws = _draws(images)
    drawn = ((draws @ after.T) / (draws @ before.T) - 1) @ weight
    without_one = weight @ ((totals_after - after) / (totals_before - before) - 1)
    return _bca(drawn, estimate, without_one)


@lru_cache(maxsize=2)
def _draws(images: int) -> Array:
    """How often each image is drawn, shape (resamples, images)."""
    import numpy as np

    generator = np.random.default_rng(SEED)
    chosen = generator.integers(images, size=(RESAMPLES, images))
    chosen += images * np.arange(RESAMPLES)[:, None]
    counts = np.bincount(chosen.ravel(), minlength=RESAMPLES * images)
    return counts.reshape(RESAMPLES, images).astype(np.float64)


def _bca(drawn: Array, estimate: float, without_one: Array) -> Interval:
    """The interval that is corrected for bias and skewness (Efron 1987, eq. 2.3 and 6.6).

    Args:
        drawn: the statistic of each resample.
        estimate: that of the images as they are.
        without_one: that of all images but one, for each of them (the jackknife).
    """
    import numpy as np

    away = without_one.mean() - without_one
    # Rounding leaves some 1e-17 of images that are all alike.
    if np.abs(away).max() <= 1e-12 * max(abs(estimate), 1e-300):
        return estimate, estimate
    normal = NormalDist()
    share = (np.mean(drawn < estimate) + np.mean(drawn <= estimate)) / 2
    bias = normal.inv_cdf(float(np.clip(share, 0.5 / len(drawn), 1 - 0.5 / len(drawn))))
    skewness = float((away**3).sum() / (6 * sqrt((away**2).sum()) ** 3))

    def place(quantile: float) -> float:
        shifted = bias + normal.inv_cdf(quantile)
        return normal.cdf(bias + shifted / (1 - skewness * shifted))

    low, high = np.quantile(drawn, [place((1 - LEVEL) / 2), place((1 + LEVEL) / 2)])
    return float(low), float(high)
