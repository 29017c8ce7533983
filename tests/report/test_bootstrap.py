"""Intervals over images, against scipy and by repetition."""

from __future__ import annotations

import numpy as np
import pytest

from entres.report.bootstrap import LARGE, change_interval, mean_interval
from entres.report.intervals import normal_interval


def near(found: tuple[float, float] | None, wanted: tuple[float, float]) -> None:
    """Both are drawn at random: a twentieth of the width is their own uncertainty."""
    assert found is not None
    assert found == pytest.approx(wanted, abs=0.05 * (wanted[1] - wanted[0]))


def scipys(samples: list[np.ndarray], statistic: object) -> tuple[float, float]:
    from scipy.stats import bootstrap

    found = bootstrap(
        samples,
        statistic,
        paired=True,
        vectorized=True,
        n_resamples=20_000,
        method="BCa",
        random_state=np.random.default_rng(1),
    ).confidence_interval
    return float(found.low), float(found.high)


def ratios(*samples: np.ndarray, axis: int = -1) -> np.ndarray:
    """The mean relative change of several pairs: before, after, before, after, ..."""
    means = [sample.mean(axis) for sample in samples]
    return np.mean([b / a - 1 for a, b in zip(means[::2], means[1::2], strict=True)], axis=0)


def test_the_interval_of_a_mean_is_scipys() -> None:
    sizes = np.random.default_rng(0).lognormal(2, 0.8, 60)
    near(mean_interval(sizes), scipys([sizes], lambda x, axis=-1: x.mean(axis)))


@pytest.mark.parametrize("pairs", [1, 2])
def test_the_interval_of_a_change_is_scipys(pairs: int) -> None:
    generator = np.random.default_rng(0)
    before = generator.lognormal(2, 0.5, (pairs, 80))
    after = before * generator.lognormal(0.1, 0.3, (pairs, 80))
    samples = [sample for pair in zip(before, after, strict=True) for sample in pair]
    near(change_interval(before, after), scipys(samples, ratios))
    # Image by image it is far narrower than that of two samples of other images.
    shuffled = generator.permuted(after, axis=1)
    low, high = change_interval(before, after) or (0, 0)
    wide_low, wide_high = change_interval(before, shuffled) or (0, 0)
    assert high - low < 0.7 * (wide_high - wide_low)


@pytest.mark.parametrize("images", [80, LARGE + 500])
def test_the_interval_of_a_difference_of_changes_is_scipys(images: int) -> None:
    generator = np.random.default_rng(0)
    before = generator.lognormal(2, 0.5, (2, images))
    after = before * generator.lognormal(0.1, 0.3, (2, images))

    def more(*means: np.ndarray, axis: int = -1) -> np.ndarray:
        b0, a0, b1, a1 = (mean.mean(axis) for mean in means)
        return a1 / b1 - a0 / b0

    found = change_interval(before, after, (-1, 1))
    if images > LARGE:  # scipy would take a minute
        draws = generator.integers(images, size=(4000, images))
        samples = (before[0], after[0], before[1], after[1])
        wanted = np.quantile(more(*(x[draws] for x in samples)), [0.025, 0.975])
        near(found, (wanted[0], wanted[1]))
    else:
        near(found, scipys([before[0], after[0], before[1], after[1]], more))


def test_of_many_images_nothing_is_drawn_and_the_interval_is_the_same() -> None:
    generator = np.random.default_rng(0)
    images = LARGE + 500
    before = generator.lognormal(2, 0.5, (2, images))
    after = before * generator.lognormal(1, 0.3, (2, images))
    draws = generator.integers(images, size=(4000, images))
    drawn = np.stack([x[draws].mean(1) for x in (before[0], after[0], before[1], after[1])])
    changes = (drawn[1] / drawn[0] + drawn[3] / drawn[2]) / 2 - 1
    near(change_interval(before, after), tuple(np.quantile(changes, [0.025, 0.975])))
    near(mean_interval(before[0]), tuple(np.quantile(drawn[0], [0.025, 0.975])))
    mean, deviation = before[0].mean(), before[0].std(ddof=1)
    assert mean_interval(before[0]) == normal_interval(mean, deviation, images)


def test_the_true_value_is_held_about_as_often_as_said() -> None:
    generator = np.random.default_rng(0)
    repetitions, held_mean, held_change = 400, 0, 0
    for _ in range(repetitions):
        before = generator.gamma(4, 2.5, 50)
        after = before * generator.gamma(25, 1.2 / 25, 50)
        low, high = mean_interval(before) or (0, 0)
        held_mean += low <= 10 <= high
        low, high = change_interval(before[None], after[None]) or (0, 0)
        held_change += low <= 0.2 <= high
    # 95% less what fifty skewed images cost, and four deviations of 400 repetitions.
    assert 0.90 <= held_mean / repetitions <= 0.99
    assert 0.90 <= held_change / repetitions <= 0.99


def test_the_same_images_give_the_same_interval_and_few_give_none() -> None:
    sizes = np.random.default_rng(0).lognormal(2, 0.8, 9)
    assert mean_interval(sizes) == mean_interval(sizes.copy())
    assert mean_interval(sizes[:1]) is change_interval(sizes[None, :1], sizes[None, :1]) is None
    alike = np.full(9, 7.3)
    assert mean_interval(alike) == pytest.approx((7.3, 7.3))
    assert change_interval(sizes[None], 2 * sizes[None]) == pytest.approx((1, 1))
