"""The worst of several attacks on each image: like with like."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from rows import CLEAN, evaluation

from entres.attacks import PGDE, Stored
from entres.cli import main
from entres.report.strongest import strongest

PGD_E = replace(CLEAN, condition="pgd_e", preset="strong", epsilon_255=8.0, norm="linf")
SQUARE = replace(PGD_E, condition="square", preset=None)
DEFENDED = {"defense": "tv", "defense_strength": 0.02}
YES, NO = True, False


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "imagenet" / CLEAN.student / "eval" / "attacks"
    measured = [
        (CLEAN, [1024, 1024, 1024], [YES, YES, YES]),
        (PGD_E, [2048, 3072, 4096], [YES, YES, NO]),
        (replace(PGD_E, preset="quick"), [2560, 2560, 2560], [YES, NO, YES]),
        (SQUARE, [1536, 4096, 1536], [YES, YES, YES]),
        # Its ball contains the other: that it does more says nothing.
        (replace(PGD_E, norm="l2"), [9216, 9216, 9216], [NO, NO, NO]),
        (replace(PGD_E, epsilon_255=4.0), [1536, 1536, 1536], [YES, YES, YES]),
        # And through JPEG an attack is in none.
        (replace(PGD_E, condition="pgd_e_jpeg75"), [8192, 8192, 8192], [NO, NO, NO]),
        (replace(PGD_E, **DEFENDED), [1536, 1536, 2048], [YES, YES, YES]),
        (replace(PGD_E, **DEFENDED, through="bpda"), [2048, 1024, 3072], [YES, YES, NO]),
    ]
    evaluation(made, measured)
    return made


def test_each_ball_by_itself_and_presets_are_named(folder: Path) -> None:
    found = {
        (worst.defense, worst.norm, float(worst.epsilon_255)): worst
        for worst in strongest(folder / "records.csv")
    }
    assert set(found) == {("", "linf", 8), ("", "l2", 8), ("", "linf", 4), ("tv", "linf", 8)}
    plain = found["", "linf", 8]
    assert sorted(plain.sizes) == [2.5, 4.0, 4.0]
    assert (plain.images, plain.attacks, plain.presets) == (3, 3, ["quick", "strong"])
    assert plain.accuracy == pytest.approx(1 / 3)  # the first image: no attack loses it
    assert plain.chosen == {"pgd_e (strong)": 1, "pgd_e (quick)": 1, "square": 1}
    assert found["", "l2", 8].sizes == [9.0] * 3
    assert found["", "linf", 4].accuracy == 1
    behind = found["tv", "linf", 8]
    assert sorted(behind.sizes) == [1.5, 2.0, 3.0]
    assert behind.chosen == {"pgd_e (strong, bpda)": 2, "pgd_e (strong, oblivious)": 1}


def test_the_verb_says_which_ball_and_presets(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["strongest", str(folder)])
    lines = capsys.readouterr().out.splitlines()
    (l2,) = [line for line in lines if "8/255 l2" in line]
    assert "9.00" in l2
    (plain,) = [line for line in lines if "quick, strong" in line]
    assert "3.50" in plain
    assert "square: 1" in plain


def test_an_attack_on_levels_stays_in_its_ball_and_one_through_jpeg_does_not(
    tmp_path: Path,
) -> None:
    made = tmp_path / "imagenet" / CLEAN.student / "eval" / "stored"
    names = [Stored(PGDE(8), quality).condition for quality in (None, 9, 75)]
    levels, *coded = [replace(PGD_E, condition=name) for name in names]
    evaluation(made, [(CLEAN, [1024], [YES]), *((row, [4096], [NO]) for row in coded)])
    with pytest.raises(SystemExit, match=r"no attack in .*records.csv stays in its ball"):
        main(["strongest", str(made)])
    evaluation(made, [(row, [2048 * n], [YES]) for n, row in enumerate([levels, *coded], 1)])
    (found,) = strongest(made / "records.csv")
    assert (found.attacks, found.sizes, found.chosen) == (1, [2.0], {"pgd_e_8bit (strong)": 1})
