"""From which epsilon on streams are over a budget, against a count by hand."""

from __future__ import annotations

import csv
from dataclasses import replace
from math import inf
from pathlib import Path

import numpy as np
import pytest
from rows import CLEAN, Measured, evaluation
from scipy.stats import binomtest

from entres.cli import main
from entres.report.over_budget import OverBudget, clean_budget_kib, over_budget
from entres.report.page import write_report
from entres.report.tables.over_budget import curve, over_clean_budget, smallest
from entres.results import ResultsError, Row, find_results, write_summary

NOISE = replace(CLEAN, condition="noise", norm="linf")
PGD_E = replace(NOISE, condition="pgd_e", preset="strong")
BEHIND = {"defense": "tv", "defense_strength": 0.02}
EPSILONS = (2.0, 4.0, 8.0)
IMAGES = 24
GENERATOR = np.random.default_rng(7)
SIZES = GENERATOR.integers(3000, 6500, IMAGES)
RIGHT = [True] * IMAGES
GROWTH = {
    epsilon: 1 + GENERATOR.uniform(0, 0.25 * epsilon**0.7, IMAGES) for epsilon in (0.0, *EPSILONS)
}
BUDGET = 6 * 1024


def attacked(epsilon: float, share: float = 1.0) -> np.ndarray:
    """Sizes in bytes; not rising with epsilon for every image, as of real attacks."""
    growth = 1.0 if epsilon == 0 else 1 + share * (GROWTH[epsilon] - 1)
    return (SIZES * growth).astype(int)


def measured() -> list[Measured]:
    found: list[Measured] = [(CLEAN, SIZES, RIGHT)]
    found += [(replace(CLEAN, **BEHIND), attacked(2.0, 0.1), RIGHT)]
    for epsilon in (8.0, 2.0, 4.0):
        at = {"epsilon_255": epsilon}
        found += [
            (replace(NOISE, **at), attacked(epsilon, 0.05), RIGHT),
            (replace(PGD_E, **at), attacked(epsilon), RIGHT),
            (replace(PGD_E, **at, **BEHIND), attacked(epsilon, 0.5), RIGHT),
            (replace(PGD_E, **at, **BEHIND, through="bpda"), attacked(epsilon, 0.7), RIGHT),
        ]
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "runs" / "imagenet" / CLEAN.student / "eval" / "attacks"
    evaluation(made, measured())
    return made


@pytest.fixture
def rows(folder: Path) -> list[Row]:
    return find_results(folder.parents[2]).rows


def named(found: list[OverBudget], name: str) -> OverBudget:
    (one,) = [attack for attack in found if attack.name == name]
    return one


def test_shares_and_smallest_epsilons_are_those_of_a_count(rows: list[Row]) -> None:
    found = over_budget(rows, BUDGET / 1024)
    assert sorted(attack.name for attack in found) == [
        "noise",
        "pgd_e (strong)",
        "pgd_e (strong) + tv 0.02",
        "pgd_e (strong) through the defense (bpda) + tv 0.02",
    ]
    for name, share, clean in (
        ("noise", 0.05, SIZES),
        ("pgd_e (strong)", 1.0, SIZES),
        ("pgd_e (strong) + tv 0.02", 0.5, attacked(2.0, 0.1)),
        ("pgd_e (strong) through the defense (bpda) + tv 0.02", 0.7, attacked(2.0, 0.1)),
    ):
        attack = named(found, name)
        assert attack.epsilons_255 == (0.0, *EPSILONS)
        sizes = {0.0: clean, **{epsilon: attacked(epsilon, share) for epsilon in EPSILONS}}
        for epsilon, of in zip(attack.epsilons_255, attack.shares, strict=True):
            over = sum(size > BUDGET for size in sizes[epsilon])
            assert of.fraction == pytest.approx(over / IMAGES)
            interval = binomtest(over, IMAGES).proportion_ci(method="wilson")
            assert of.interval == pytest.approx((interval.low, interval.high))
        for number, smallest_epsilon in enumerate(attack.smallest_255):
            passing = [e for e in attack.epsilons_255 if sizes[e][number] > BUDGET]
            assert smallest_epsilon == min(passing, default=inf)
        assert attack.passed.fraction == np.isfinite(attack.smallest_255).mean()


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.75, 0.9, 1.0])
def test_a_quantile_is_the_epsilon_by_which_so_many_have_passed(
    rows: list[Row], share: float
) -> None:
    for attack in over_budget(rows, BUDGET / 1024):
        value, low, high, *_ = attack.quantile(share)
        in_order = np.sort(attack.smallest_255)
        assert value == in_order[int(np.ceil(share * IMAGES)) - 1]
        assert low <= value <= high
        # Every epsilon of which these images can say that it is too small lies outside.
        for epsilon in attack.epsilons_255:
            by_then = int((attack.smallest_255 <= epsilon).sum())
            ends = binomtest(by_then, IMAGES).proportion_ci(method="wilson")
            assert (epsilon < low) == (ends.high < share - 1e-12)
            assert (epsilon < high) == (ends.low < share - 1e-12)


def test_an_image_that_passes_nowhere_is_no_number(rows: list[Row]) -> None:
    attack = named(over_budget(rows, 50.0), "noise")
    assert attack.passed.fraction == 0
    assert str(attack.quantile(0.5)) == "> 8 [> 8, > 8]"
    # And where every clean image is over it, no attack is needed.
    assert str(named(over_budget(rows, 0.1), "noise").quantile(0.5)) == "0 [0, 0]"


def test_a_stream_of_just_the_budget_is_not_over_it(rows: list[Row]) -> None:
    middle = np.sort(SIZES)[11]
    budget = float(middle) / 1024
    clean = named(over_budget(rows, budget), "pgd_e (strong)").shares[0]
    assert clean.fraction == 12 / IMAGES
    assert len(np.unique(SIZES)) == IMAGES


def test_only_images_of_every_epsilon_count(tmp_path: Path) -> None:
    near, far = (replace(PGD_E, epsilon_255=epsilon) for epsilon in (2.0, 8.0))
    rows = evaluation(tmp_path / "some", [(CLEAN, SIZES, RIGHT), (near, SIZES, RIGHT)])
    rows += evaluation(tmp_path / "few", [(far, SIZES[:9] + 3000, RIGHT[:9])], first=20)
    (attack,) = over_budget(rows, BUDGET / 1024)
    assert attack.keys.tolist() == [20, 21, 22, 23]
    assert attack.alone == 25
    assert attack.over[0].tolist() == (SIZES[20:] > BUDGET).tolist()
    assert attack.over[2].tolist() == (SIZES[:4] + 3000 > BUDGET).tolist()
    assert "up to 25 images are left out" in curve([attack]).note


def test_the_verb_prints_and_writes_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["budget", str(folder), "--budget_kib", "6"])
    printed = capsys.readouterr().out
    assert "Streams over 6 KiB" in printed
    assert "upper bounds of the smallest" in " ".join(printed.split())
    for name in ("budget.csv", "smallest-epsilons.csv", "budget.png"):
        assert str(folder / name) in printed
    with (folder / "budget.csv").open(newline="") as file:
        lines = [line for line in csv.DictReader(file) if line["attack"] == "pgd_e (strong)"]
    plain = {float(line["epsilon, 1/255"]): line for line in lines if not line["defense"]}
    assert float(plain[4.0]["over the budget"]) == (attacked(4.0) > BUDGET).mean()
    assert float(plain[4.0]["over the budget low"]) < float(plain[4.0]["over the budget"])
    with (folder / "smallest-epsilons.csv").open(newline="") as file:
        each = [line for line in csv.DictReader(file) if line["attack"] == "noise"]
    assert [line["image"] for line in each] == [str(number) for number in range(IMAGES)]
    for number, line in enumerate(each):
        found = [e for e in EPSILONS if attacked(e, 0.05)[number] > BUDGET]
        found = [0.0] * bool(SIZES[number] > BUDGET) + found
        assert line["smallest_epsilon_255"] == (f"{min(found):g}" if found else "")
    assert (folder / "budget.png").read_bytes().startswith(b"\x89PNG")


def test_without_a_budget_it_is_that_of_the_clean_images(
    folder: Path, rows: list[Row], capsys: pytest.CaptureFixture[str]
) -> None:
    budget = clean_budget_kib(rows)
    assert budget == pytest.approx(np.quantile(SIZES, 0.95) / 1024)
    main(["budget", str(folder)])
    assert f"Streams over {budget:.4g} KiB" in capsys.readouterr().out


def test_the_report_has_a_table_of_it(folder: Path, rows: list[Row], tmp_path: Path) -> None:
    table = over_clean_budget(rows)
    expected = smallest(over_budget(rows, clean_budget_kib(rows))).rows
    assert [list(row[2:]) for row in table.rows] == [list(row) for row in expected]
    page, *others = write_report(folder.parents[2], tmp_path / "report")
    assert tmp_path / "report" / "imagenet" / "over-budget.csv" in others
    assert "what 5% of the clean images are over" in page.read_text()
    # Of rows alone nothing can be said, nor of clean images alone.
    assert not over_clean_budget([replace(row, folder=None) for row in rows]).rows
    assert not over_clean_budget([row for row in rows if row.condition == "clean"]).rows


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--budget_kib", "0"], "budget_kib must be > 0, got 0"),
        (["--budget_kib", "nan"], "budget_kib must be > 0, got nan"),
        (["--budget_kib", "six"], "six"),
        (["--budget", "6"], "budget_kib"),
    ],
)
def test_wrong_words_are_a_sentence(folder: Path, words: list[str], sentence: str) -> None:
    with pytest.raises(SystemExit, match=sentence):
        main(["budget", str(folder), *words])
    assert not (folder / "budget.csv").exists()


def test_what_is_no_evaluation_under_attack_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no evaluation was given"):
        main(["budget"])
    with pytest.raises(SystemExit, match=r"no evaluation at .*nowhere"):
        main(["budget", str(tmp_path / "nowhere")])
    evaluation(tmp_path / "clean", [(CLEAN, SIZES, RIGHT)])
    with pytest.raises(SystemExit, match="no attacks in these evaluations, or only"):
        main(["budget", str(tmp_path / "clean")])
    evaluation(tmp_path / "bare", [(replace(PGD_E, epsilon_255=2.0), SIZES, RIGHT)])
    with pytest.raises(SystemExit, match="no clean images in these evaluations: give a budget"):
        main(["budget", str(tmp_path / "bare")])
    main(["budget", str(tmp_path / "bare"), "--budget_kib", "5"])


def sought(folder: Path) -> tuple[list[Row], list[float]]:
    """An evaluation of an attack that has sought the smallest epsilon over 6 KiB."""
    smallest_epsilons = [0.0, inf, *(0.25 * number for number in range(1, IMAGES - 1))]
    row = replace(PGD_E, condition="pgd_e_over_6kib", epsilon_255=16.0)
    over = [BUDGET + 9 if epsilon < inf else BUDGET - 9 for epsilon in smallest_epsilons]
    rows = evaluation(folder, [(CLEAN, SIZES, RIGHT), (row, over, RIGHT)])
    path = folder / "records.csv"
    with path.open(newline="") as file:
        lines = list(csv.DictReader(file))
    for line in lines:
        if line["condition"] == "pgd_e_over_6kib":
            line["smallest_epsilon_255"] = str(smallest_epsilons[int(line["index"])])
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*lines[0], "smallest_epsilon_255"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
    return rows, smallest_epsilons


def test_what_an_attack_has_sought_itself_is_taken_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, smallest_epsilons = sought(tmp_path / "eval")
    (attack,) = over_budget(rows, 6.0)
    assert attack.name == "pgd_e_over_6kib (strong)"
    assert attack.smallest_255.tolist() == smallest_epsilons
    assert attack.epsilons_255[-1] == 16.0  # to which nothing more was found
    assert attack.shares[-1].fraction == attack.passed.fraction == 1 - 1 / IMAGES
    assert attack.quantile(0.5).value == np.sort(smallest_epsilons)[IMAGES // 2 - 1]
    shown = curve([attack])
    assert len(shown.rows) == 16  # of 24 epsilons, the ends among them
    assert "all epsilons: budget.csv" in shown.note
    assert len(curve([attack], whole=True).rows) == 24
    # It says nothing of another budget, and is what the verb takes if none is named.
    with pytest.raises(ResultsError, match="seek to pass another budget"):
        over_budget(rows, 5.0)
    main(["budget", str(tmp_path / "eval")])
    assert "Streams over 6 KiB" in capsys.readouterr().out
    with (tmp_path / "eval" / "smallest-epsilons.csv").open(newline="") as file:
        found = [line["smallest_epsilon_255"] for line in csv.DictReader(file)]
    assert found == [f"{epsilon:g}" if epsilon < inf else "" for epsilon in smallest_epsilons]


def test_of_several_radii_that_were_sought_within_the_largest_counts(tmp_path: Path) -> None:
    rows, smallest_epsilons = sought(tmp_path / "eval")
    nearer = replace(rows[1], epsilon_255=2.0)
    for found in ([*rows, nearer], [nearer, *rows]):
        (attack,) = over_budget(found, 6.0)
        assert attack.epsilons_255[-1] == 16.0
        assert attack.smallest_255.tolist() == smallest_epsilons


def test_a_report_shows_what_was_sought_beside_the_budget_of_the_clean_images(
    tmp_path: Path,
) -> None:
    rows, _ = sought(tmp_path / "eval")
    (alone,) = over_clean_budget(rows).rows
    assert str(alone[2]) == "pgd_e_over_6kib (strong)"
    rows += evaluation(tmp_path / "more", [(replace(PGD_E, epsilon_255=4.0), SIZES, RIGHT)])
    shown = [(str(row[1]), str(row[2])) for row in over_clean_budget(rows).rows]
    assert shown == [
        (f"{clean_budget_kib(rows):.2f}", "pgd_e (strong)"),
        ("6.00", "pgd_e_over_6kib (strong)"),
    ]


def test_who_went_through_a_defense_is_called_after_it_and_counts_once(tmp_path: Path) -> None:
    rows = []
    for name, strength in (("a", 0.1), ("b", 0.2), ("again", 0.2)):
        of_folder, _ = sought(tmp_path / name)
        knowing = [replace(r, through="bpda") for r in of_folder if r.condition != "clean"]
        behind = {"defense": "tv", "defense_strength": strength}
        rows += [of_folder[0], *knowing, *(replace(r, **behind) for r in knowing)]
        path = tmp_path / name / "records.csv"
        lines = path.read_text().splitlines()
        place = lines[0].split(",").index("through")
        changed = [line.split(",") for line in lines]
        for line in changed:
            if line[0] == "pgd_e_over_6kib":
                line[place] = "bpda"
        path.write_text("".join(",".join(line) + "\n" for line in changed))
    names = [attack.name for attack in over_budget(rows, 6.0)]
    assert names == [
        f"pgd_e_over_6kib (strong) through the defense (bpda) + tv {s}" for s in (0.1, 0.2)
    ]


def test_attacks_for_two_budgets_want_one_of_them_named(tmp_path: Path) -> None:
    rows, _ = sought(tmp_path / "eval")
    write_summary(
        tmp_path / "eval", [*rows, replace(rows[1], condition="pgd_e_over_5.1kib", folder=None)]
    )
    text = (tmp_path / "eval" / "records.csv").read_text()
    more = [line for line in text.splitlines() if line.startswith("pgd_e_over_6kib")]
    more = [line.replace("over_6kib", "over_5.1kib") for line in more]
    (tmp_path / "eval" / "records.csv").write_text(text + "\n".join(more) + "\n")
    with pytest.raises(SystemExit, match=r"attacks here seek to pass 5\.1 and 6 KiB: name one"):
        main(["budget", str(tmp_path / "eval")])
    main(["budget", str(tmp_path / "eval"), "--budget_kib", "5.1"])
