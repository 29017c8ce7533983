"""A preset of another number of steps has a name of its own."""

from __future__ import annotations

import pytest

from entres.condition_names import preset_and_steps, preset_with_steps


@pytest.mark.parametrize("preset", ["strong", "my own, 3 tries", "quick"])
def test_a_name_says_preset_and_steps(preset: str) -> None:
    assert preset_and_steps(preset_with_steps(preset, 400)) == (preset, 400)
    assert preset_and_steps(preset) == (preset, None)
