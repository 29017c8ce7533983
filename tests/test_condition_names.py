"""What the names of attacks say, and that it is read as it was written."""

from __future__ import annotations

import pytest

from entres.condition_names import (
    budget_of,
    is_black_box,
    leaves_its_ball,
    over_name,
    preset_and_steps,
    preset_with_steps,
    stored_name,
)


@pytest.mark.parametrize("preset", ["strong", "my own, 3 tries", "quick"])
def test_a_name_says_preset_and_steps(preset: str) -> None:
    assert preset_and_steps(preset_with_steps(preset, 400)) == (preset, 400)
    assert preset_and_steps(preset) == (preset, None)


@pytest.mark.parametrize("budget", [6.0, 5.1, 0.25, 1e-5, 1e7])
def test_a_name_says_the_budget_that_is_to_be_passed(budget: float) -> None:
    name = over_name("pgd_e", budget)
    assert budget_of(name) == budget
    assert budget_of(over_name(name, 3.0)) == 3.0
    assert not leaves_its_ball(name)
    for other in ("pgd_e", "pgd_e_8bit", "my_over_manykib", "over_kib"):
        assert budget_of(other) is None


def test_what_went_through_jpeg_has_left_its_ball_whatever_is_made_of_it() -> None:
    assert leaves_its_ball(stored_name("pgd_e", 75))
    assert leaves_its_ball(over_name(stored_name("pgd_e", 75), 6.0))
    assert not leaves_its_ball(stored_name("pgd_e", None))


def test_a_black_box_is_known_by_its_name() -> None:
    names = ("square", "square_100_queries", "square_8bit", "pgd_e", "squares")
    assert [is_black_box(name) for name in names] == [True, True, False, False, False]
