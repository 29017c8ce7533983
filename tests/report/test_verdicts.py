"""What an interval says of a threshold, at both sides of it."""

from __future__ import annotations

import numpy as np
import pytest

from entres.link.model import Estimate
from entres.report.bootstrap import change_interval
from entres.report.claims.corruptions import same_trend
from entres.report.claims.defense import spared
from entres.report.claims.files import (
    FOLLOWS,
    apart,
    follows,
    less_than_its_area,
    more_than_its_area,
    saturates,
)
from entres.report.claims.verdicts import (
    FEWEST,
    Verdict,
    above,
    below,
    combined,
    interval_above,
    within,
)
from entres.report.formats import Change, Number

HOLDS, NOT_SO, NOT_SHOWN = Verdict.HOLDS, Verdict.NOT_SO, Verdict.NOT_SHOWN
IN_PART = Verdict.IN_PART


def change(low: float, high: float, p_value: float | None = None) -> Change:
    return Change((low + high) / 2, (low, high), "+.1%", p_value)


def test_where_nothing_changes_few_images_say_that_something_does() -> None:
    """The share of verdicts on changes that are none; 5% would be right."""
    generator = np.random.default_rng(1)
    found = {}
    for images in (2, 5, FEWEST, 50):
        spoken = 0
        for _ in range(500):
            before = generator.lognormal(2, 0.3, images)
            after = before * np.exp(generator.normal(0, 0.1, images))
            interval = change_interval(before[None], after[None])
            assert interval is not None
            spoken += interval_above(interval, 0.0) is not NOT_SHOWN
        found[images] = spoken / 500
    assert found[2] > 0.4
    assert found[5] > 0.13
    assert found[FEWEST] < 0.15
    assert found[50] < 0.1


@pytest.mark.parametrize("threshold", [-2.44, 0.0, 0.95])
def test_an_interval_lies_on_one_side_of_a_threshold_on_the_other_or_across(
    threshold: float,
) -> None:
    sides = {
        (threshold + 0.01, threshold + 0.5): (HOLDS, NOT_SO),
        (threshold - 0.5, threshold - 0.01): (NOT_SO, HOLDS),
        (threshold - 0.01, threshold + 0.01): (NOT_SHOWN, NOT_SHOWN),
        (threshold, threshold): (NOT_SHOWN, NOT_SHOWN),
        (threshold, threshold + 0.5): (NOT_SHOWN, NOT_SHOWN),
        (threshold - 0.5, threshold): (NOT_SHOWN, NOT_SHOWN),
    }
    for (low, high), wanted in sides.items():
        found = tuple(rule(change(low, high), threshold) for rule in (above, below))
        assert found == wanted, (low, high)


def test_without_an_interval_nothing_is_shown() -> None:
    for rule in (above, below):
        assert rule(Number(5.0, "+.1%"), 0.5) is NOT_SHOWN
    assert within(Number(0.0, "+.1%"), 0.1) is NOT_SHOWN


def test_a_test_that_finds_nothing_outweighs_the_interval_against_none() -> None:
    assert above(change(0.1, 9.0, p_value=0.06)) is NOT_SHOWN
    assert above(change(0.1, 9.0, p_value=0.04)) is HOLDS
    assert below(change(-9.0, -0.1, p_value=0.06)) is NOT_SHOWN
    # McNemar's test says nothing of another threshold.
    assert above(change(0.1, 9.0, p_value=0.06), -2.0) is HOLDS


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (-0.09, 0.09, HOLDS),
        (-0.11, 0.0, NOT_SHOWN),
        (0.0, 0.11, NOT_SHOWN),
        (-0.3, 0.3, NOT_SHOWN),
        (0.11, 0.2, NOT_SO),
        (-0.2, -0.11, NOT_SO),
    ],
)
def test_close_to_none_is_a_band(low: float, high: float, verdict: Verdict) -> None:
    assert within(change(low, high), 0.1) is verdict


@pytest.mark.parametrize(
    ("verdicts", "whole"),
    [
        ([], Verdict.NOT_MEASURED),
        ([HOLDS, HOLDS], HOLDS),
        ([HOLDS, NOT_SO], IN_PART),
        ([HOLDS, NOT_SHOWN], IN_PART),
        ([NOT_SO, NOT_SHOWN], NOT_SO),
        ([NOT_SHOWN, NOT_SHOWN], NOT_SHOWN),
        ([NOT_SO, NOT_SO], NOT_SO),
        ([IN_PART, NOT_SO], IN_PART),
        ([IN_PART], IN_PART),
    ],
)
def test_several_verdicts_make_one(verdicts: list[Verdict], whole: Verdict) -> None:
    assert combined(verdicts) is whole
    assert combined(reversed(verdicts)) is whole


def test_betas_have_one_trend_if_they_agree_whatever_they_agree_on() -> None:
    assert same_trend([HOLDS, HOLDS]) is same_trend([NOT_SO, NOT_SO]) is HOLDS
    assert same_trend([HOLDS, NOT_SO]) is NOT_SO
    assert same_trend([HOLDS, NOT_SO, NOT_SHOWN]) is NOT_SHOWN


def test_a_mask_that_only_denoises_less_spares_nothing() -> None:
    better, none = change(2.0, 8.0), change(-3.0, 3.0)
    larger, smaller = change(0.1, 0.3), change(-0.3, -0.1)
    assert spared(smaller, better) is spared(none, better) is HOLDS
    assert spared(larger, better) is NOT_SHOWN
    worse = change(-8.0, -2.0)
    assert spared(larger, worse) is spared(none, worse) is NOT_SO
    # Nor does one that only denoises more take anything.
    assert spared(smaller, worse) is NOT_SHOWN
    assert {spared(size, none) for size in (smaller, none, larger)} == {NOT_SHOWN}


def test_maps() -> None:
    assert follows((FOLLOWS + 0.01, 0.9)) is HOLDS
    assert follows((FOLLOWS - 0.01, 0.9)) is IN_PART
    assert follows((0.01, FOLLOWS - 0.1)) is IN_PART
    assert follows((-0.01, 0.9)) is NOT_SHOWN
    assert follows((-0.9, -0.01)) is NOT_SO
    assert more_than_its_area((0.01, 0.1)) is less_than_its_area((-0.1, -0.01)) is HOLDS
    assert more_than_its_area((-0.1, -0.01)) is less_than_its_area((0.01, 0.1)) is NOT_SO
    assert more_than_its_area((-0.1, 0.1)) is less_than_its_area((-0.1, 0.1)) is NOT_SHOWN


def test_a_link() -> None:
    never = float("inf")
    assert saturates(Estimate(0.6, 0.5, 0.99)) is HOLDS
    assert saturates(Estimate(0.9, 0.8, never)) is NOT_SHOWN
    assert saturates(Estimate(never, never, never)) is NOT_SO
    assert saturates(Estimate(0.0, 0.0, 0.2)) is NOT_SHOWN  # clean images fill it
    slow, fast = Estimate(20, 15, 30), Estimate(8, 7, 12)
    assert apart(fast, slow) is HOLDS
    assert apart(slow, fast) is NOT_SO
    assert apart(fast, Estimate(12, 11, 14)) is NOT_SHOWN
