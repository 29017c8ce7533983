"""An attack that sees the gradient and loses to one that does not is named."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from rows import CLEAN

from entres.report.attack_warnings import attack_warnings
from entres.report.terminal import show_results

SEEING = replace(
    CLEAN, condition="pgd_e", preset="strong", epsilon_255=8.0, norm="linf", kib_mean=12.0
)
BLIND = replace(SEEING, condition="square", preset=None, kib_mean=12.5)


def test_a_black_box_that_does_more_is_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    ((row, sentence),) = attack_warnings([CLEAN, SEEING, BLIND])
    assert row is SEEING
    assert "makes longer ones (12.50 against 12.00 KiB)" in sentence
    show_results([CLEAN, SEEING, BLIND], [])
    assert "! pgd_e 8/255 (strong): square 8/255, which sees" in capsys.readouterr().out
    published = replace(SEEING, preset="published", kib_mean=12.6)
    assert [r.preset for r, _ in attack_warnings([published, SEEING, BLIND])] == ["strong"]


@pytest.mark.parametrize(
    "other",
    [
        {"kib_mean": 11.0},
        {"epsilon_255": 16.0},
        {"norm": "l2"},
        {"images": 50},
        {"dataset": "photos"},
        {"weights": "abcdef"},
        {"defense": "tv", "defense_strength": 0.1},
        {"through": "bpda"},
        {"condition": "regional", "preset": "strong"},
    ],
)
def test_what_is_not_alike_is_not_compared(other: dict[str, Any]) -> None:
    assert attack_warnings([CLEAN, SEEING, replace(BLIND, **other)]) == []


def test_what_an_attack_says_of_itself_comes_first() -> None:
    own = replace(SEEING, extra={"attack_warnings": ["it is masked"]})
    said = [sentence for _, sentence in attack_warnings([own, BLIND])]
    assert said[0] == "it is masked"
    assert len(said) == 2
