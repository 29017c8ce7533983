"""What devices may send is what evaluations have recorded."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_evaluation import CLEAN, PGD_E, SIZES, SNOW, WEAK, behind, made_evaluation

from entres.link.model import Scenario
from entres.link.sizes import scenarios
from entres.link.uplink import LinkError
from entres.results import Condition, read_evaluations

NOISE = Condition("noise", epsilon_255=1.0, norm="linf")

DEFENDED = {
    **SIZES,
    behind(CLEAN): [3900, 4800, 5900],
    behind(PGD_E): [8000, 9000, 9500],
}


def found(*folders: Path, names: tuple[str, ...] = ()) -> list[Scenario]:
    return scenarios(read_evaluations(folders), names)


def test_of_each_condition_the_worst_counts(tmp_path: Path) -> None:
    (only,) = found(made_evaluation(tmp_path))
    assert only.label == PGD_E.label
    assert only.defense is None
    assert only.clean.tolist() == SIZES[CLEAN]
    assert only.attacked.tolist() == SIZES[PGD_E]


def test_a_radius_can_be_asked_for(tmp_path: Path) -> None:
    rows = read_evaluations([made_evaluation(tmp_path, {**SIZES, SNOW: [7000, 7100, 7200]})])
    labels = [(s.label, s.attacked.tolist()) for s in scenarios(rows, epsilon_255=2.0)]
    assert labels == [(WEAK.label, SIZES[WEAK]), ("snow severity 5", [7000, 7100, 7200])]
    with pytest.raises(LinkError, match="no attack of 4/255 in these evaluations; there is: 2, 8"):
        scenarios(rows, epsilon_255=4.0)
    few = read_evaluations([made_evaluation(tmp_path / "few", {**SIZES, NOISE: [1, 2, 3]})])
    with pytest.raises(LinkError, match=r"no condition 'pgd_e'\. There is: noise"):
        scenarios(few, ["pgd_e"], epsilon_255=1.0)


def test_behind_a_defense_clean_images_are_behind_it_too(tmp_path: Path) -> None:
    plain, defended = found(made_evaluation(tmp_path, DEFENDED))
    assert plain.defense is None
    assert plain.attacked_defense_ms == 0
    assert (defended.label, defended.defense) == (plain.label, "masked_tv 0.02")
    assert defended.clean.tolist() == [3900, 4800, 5900]
    assert defended.attacked.tolist() == [8000, 9000, 9500]
    assert defended.clean_defense_ms == defended.attacked_defense_ms == 30
    rows = read_evaluations([tmp_path])
    assert [s.clean_defense_ms for s in scenarios(rows, defense_ms=4)] == [0, 4]


def test_conditions_of_several_folders_meet(tmp_path: Path) -> None:
    attacks = made_evaluation(tmp_path / "attacks", DEFENDED)
    snow = made_evaluation(tmp_path / "snow", {SNOW: [7000, 7100]})
    labels = [(s.label, s.defense) for s in found(snow, attacks)]
    assert labels == [
        ("snow severity 5", None),
        (PGD_E.label, None),
        (PGD_E.label, "masked_tv 0.02"),
    ]
    (only,) = found(snow, attacks, names=("snow",))
    assert only.attacked.tolist() == [7000, 7100]
    assert only.clean.tolist() == SIZES[CLEAN]


def test_of_two_evaluations_of_a_condition_the_larger_counts(tmp_path: Path) -> None:
    few = made_evaluation(tmp_path / "few", {CLEAN: [1, 2], PGD_E: [3, 4]})
    many = made_evaluation(tmp_path / "many")
    (only,) = found(few, many)
    assert only.attacked.tolist() == SIZES[PGD_E]
    assert only.clean.tolist() == SIZES[CLEAN]


def test_what_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    whole = made_evaluation(tmp_path / "whole")
    with pytest.raises(LinkError, match=r"no condition 'fog'\. There is: pgd_e"):
        found(whole, names=("fog",))
    unclean = made_evaluation(tmp_path / "unclean", {SNOW: [1, 2, 3]})
    with pytest.raises(LinkError, match="no clean images to compare snow severity 5 with"):
        found(unclean)
    undefended = made_evaluation(tmp_path / "undefended", {**SIZES, behind(WEAK): [1, 2, 3]})
    with pytest.raises(LinkError, match=r"no clean images behind masked_tv 0\.02 to compare"):
        found(undefended)
    only_clean = made_evaluation(tmp_path / "clean", {CLEAN: [1, 2, 3]})
    with pytest.raises(LinkError, match="nothing but clean images"):
        found(only_clean)


def test_records_that_do_not_fit_are_a_sentence(tmp_path: Path) -> None:
    records = made_evaluation(tmp_path) / "records.csv"
    lines = records.read_text().splitlines(keepends=True)
    records.write_text("".join(lines[:-1]))
    with pytest.raises(LinkError, match=r"has 2 lines of pgd_e 8/255 .*, summary.json counts 3"):
        found(tmp_path)
    records.write_text("condition,index\nclean,0\n")
    with pytest.raises(LinkError, match=r"no sizes of streams \(it has no 'bytes'\): evaluate"):
        found(tmp_path)
