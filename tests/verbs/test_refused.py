"""What a newcomer types that cannot be: one sentence each, at once."""

from __future__ import annotations

import pytest

from entres.cli import main

pytestmark = pytest.mark.usefixtures("at_the_root")


def said(*words: str) -> str:
    """The sentence with which a line ends."""
    with pytest.raises(SystemExit) as error:
        main(list(words))
    sentence = str(error.value)
    assert sentence.startswith("entres: ")
    assert "\n" not in sentence
    return sentence.removeprefix("entres: ")


@pytest.mark.parametrize("radius", ["-3", "0", "300", "nan"])
def test_a_radius_out_of_range(radius: str) -> None:
    assert said("show", "--epsilon_255", radius).startswith("epsilon_255 is a radius in units of")


@pytest.mark.parametrize("verb", ["show", "encode", "results", "learn-universal"])
def test_a_flag_that_a_verb_lacks_is_not_proposed(verb: str) -> None:
    sentence = said(verb, "--dry_run")
    assert sentence.startswith("no flag --dry_run")
    assert "--dry_run" not in sentence.removeprefix("no flag --dry_run")
