"""A preset of another number of steps has a name of its own."""

from __future__ import annotations

import pytest

from entres.preset_names import parted, with_steps


@pytest.mark.parametrize("preset", ["strong", "my own, 3 tries", "quick"])
def test_a_name_says_preset_and_steps(preset: str) -> None:
    assert parted(with_steps(preset, 400)) == (preset, 400)
    assert parted(preset) == (preset, None)
