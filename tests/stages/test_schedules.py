from __future__ import annotations

import pytest

from entres.stages.schedules import Cosine, MultiStep, linear_warmup


def test_multistep_is_the_published_one() -> None:
    schedule = MultiStep([0.5, 0.8])
    factors = [schedule(epoch / 10) for epoch in range(10)]
    assert factors == pytest.approx([1] * 5 + [0.1] * 3 + [0.01] * 2)


def test_cosine_warms_up_and_ends_at_its_final_factor() -> None:
    schedule = Cosine(warmup=0.1, final=0.01)
    values = [schedule(i / 100) for i in range(101)]
    assert values[0] > 0
    assert values[10] == pytest.approx(1.0)
    assert values[100] == pytest.approx(0.01)
    assert values[10:] == sorted(values[10:], reverse=True)
    assert schedule(0.55) == pytest.approx(0.505)


def test_linear_warmup() -> None:
    assert [linear_warmup(p, 0.5) for p in (0, 0.25, 0.5, 1)] == [0, 0.5, 1, 1]
    assert linear_warmup(0, 0) == 1


def test_bad_values_are_named() -> None:
    with pytest.raises(ValueError, match=r"in \(0, 1\), got \[5, 8\]"):
        MultiStep([5, 8])
    with pytest.raises(ValueError, match="got 1"):
        Cosine(warmup=1)
