"""What made rows say of the paper's claims, and the page that says so."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rows import CLEAN, Measured, evaluation

from entres.cli import main
from entres.experiment import Experiment, steps
from entres.link.model import Estimate, Experience, Point
from entres.link.study import Outcome, Study
from entres.link.uplink import Uplink
from entres.records import read_records, write_records
from entres.report import tables
from entres.report.claims import CLAIMS, Finding, Verdict, findings
from entres.report.claims.attacks import LITTLE_POINTS, LITTLE_SIZE
from entres.report.claims.defense import LOSS
from entres.report.claims.written import as_make, commands, findings_table, for_whom
from entres.report.formats import Change, Number
from entres.results import FIFTEEN, Row

N = 400
SIZES = np.random.default_rng(5).integers(8000, 12_000, N)
RIGHT = np.arange(N) < 320
FIG4A = "PGD-E (strong), 4/255, against random noise"
FP = {"codec": "fp", "student": "resnet50-fp-beta0.08-joint"}
NOISE: dict[str, Any] = {"condition": "noise", "epsilon_255": 8.0, "norm": "linf"}


def made(
    row: Row = CLEAN, size: float = 1.0, right: int = 320, **changed: Any
) -> tuple[Row, Sequence[int], Sequence[bool]]:
    """A condition whose images are ``size`` times the clean ones, about; the first are right."""
    jitter = np.random.default_rng(7 + (changed.get("codec") == "fp")).uniform(0.98, 1.02, N)
    sizes = (SIZES * (size * jitter if size != 1 else 1)).astype(int)
    return replace(row, **changed), sizes.tolist(), (np.arange(N) < right).tolist()


def attack(condition: str, epsilon: float, size: float, right: int = 320, **more: Any) -> Measured:
    ball = {"epsilon_255": epsilon, "norm": "linf"}
    preset = {} if condition == "noise" else {"preset": "strong"}
    return made(CLEAN, size, right, **{"condition": condition, **ball, **preset, **more})


def corrupted(name: str, severity: int, size: float, **more: Any) -> Measured:
    found = {"condition": "corruption", "corruption": name, "severity": severity}
    return made(CLEAN, size, 200, **{**found, **more})


def of_first(images: int, measured: Measured) -> Measured:
    """The same condition of fewer images."""
    row, sizes, right = measured
    return row, sizes[:images], right[:images]


def of(rows: Sequence[Row], said: str) -> Finding:
    """What rows say of the one claim that these words are in."""
    (found,) = (finding for finding in findings(rows) if said in finding.claim.said)
    return found


def verdict(tmp_path: Path, said: str, *measured: Measured) -> Verdict:
    return of(evaluation(tmp_path / "imagenet" / "s" / "eval" / "e", measured), said).verdict


HOLDS, NOT_SO, NOT_SHOWN = Verdict.HOLDS, Verdict.NOT_SO, Verdict.NOT_SHOWN
NOT_MEASURED = Verdict.NOT_MEASURED
CASES: list[tuple[str, list[Measured], Verdict]] = [
    ("95% larger", [made(), attack("pgd_e", 16, 2.0)], HOLDS),
    ("95% larger", [made(), attack("pgd_e", 16, 1.9)], NOT_SO),
    # More steps at a smaller radius say nothing of the largest.
    ("95% larger", [made(), attack("pgd_e", 16, 2.0), attack("pgd_e", 8, 1.5, preset="x")], HOLDS),
    # Beyond the paper's radii nothing is claimed; below them it may be reached, but not missed.
    ("95% larger", [made(), attack("pgd_e", 32, 4.0), attack("pgd_e", 8, 2.5)], HOLDS),
    ("95% larger", [made(), attack("pgd_e", 32, 4.0), attack("pgd_e", 8, 1.5)], NOT_MEASURED),
    (
        "entropy costs little accuracy",
        [attack("noise", 4, 1.1, 300), attack("pgd_e", 4, 1.4, 290)],
        HOLDS,
    ),
    (
        "entropy costs little accuracy",
        [attack("noise", 4, 1.1, 300), attack("pgd_e", 4, 1.4, 200)],
        NOT_SO,
    ),
    (
        "entropy costs little accuracy",
        [attack("noise", 4, 1.1, 300), attack("pgd_e", 4, 1.4, 260)],
        NOT_SHOWN,
    ),
    ("changes the size little", [attack("noise", 8, 1.1), attack("pgd_acc", 8, 1.15, 9)], HOLDS),
    ("changes the size little", [attack("noise", 8, 1.1), attack("pgd_acc", 8, 1.3, 9)], NOT_SO),
    ("Noise makes", [made(), corrupted("shot_noise", 5, 1.6)], HOLDS),
    ("Noise makes", [made(), corrupted("gaussian_noise", 1, 0.9)], NOT_SO),
    (
        "Noise makes",
        [made(), corrupted("gaussian_noise", 1, 0.9), corrupted("shot_noise", 5, 1.6)],
        Verdict.IN_PART,
    ),
    ("Blur", [made(), corrupted("contrast", 5, 0.4), corrupted("glass_blur", 1, 0.8)], HOLDS),
    ("Blur", [made(), corrupted("contrast", 5, 1.1)], NOT_SO),
    ("Snow", [made(), corrupted("snow", 5, 0.96)], HOLDS),
    ("Snow", [made(), corrupted("snow", 5, 1.2)], NOT_SO),
    (
        "sees nothing but sizes",
        [attack("noise", 8, 1.1), attack("square", 8, 1.2, preset=None)],
        HOLDS,
    ),
    (
        "sees nothing but sizes",
        [attack("noise", 8, 1.1), attack("square", 8, 1.05, preset=None)],
        NOT_SO,
    ),
    (
        "made for another student",
        [attack("noise", 8, 1.1), attack("pgd_e", 8, 1.2, victim="other (abcdef)")],
        HOLDS,
    ),
    (
        "made for another student",
        [attack("noise", 8, 1.1), attack("pgd_e", 8, 1.05, victim="other (abcdef)")],
        NOT_SO,
    ),
    # Noise that the evaluation of a victim made is noise, and no attack on it.
    (
        "made for another student",
        [
            attack("noise", 8, 1.1, victim="other (abcdef)"),
            attack("pgd_e", 8, 1.2, victim="other (abcdef)"),
        ],
        HOLDS,
    ),
    (
        "made for another student",
        [attack("noise", 8, 1.1), attack("noise", 8, 1.1, victim="other (abcdef)")],
        NOT_MEASURED,
    ),
    # One that stops at a budget does not do what it can.
    (
        "made for another student",
        [attack("noise", 8, 1.1), attack("pgd_e_over_6kib", 8, 1.0, victim="other (abcdef)")],
        NOT_MEASURED,
    ),
    # One that went through a defense, and is seen without it, is no plain attack.
    (
        "made for another student",
        [
            attack("noise", 8, 1.1),
            attack("pgd_e", 8, 1.2, victim="other (abcdef)"),
            attack("pgd_e", 8, 1.05, victim="other (abcdef)", through="unrolled"),
        ],
        HOLDS,
    ),
    # An attack that was made for another student says nothing of this one.
    (
        "95% larger",
        [made(), attack("pgd_e", 16, 2.0), attack("pgd_e", 16, 1.2, victim="another (1a2b3c)")],
        HOLDS,
    ),
]


@pytest.mark.parametrize(("said", "measured", "wanted"), CASES)
def test_a_verdict_follows_from_the_images(
    said: str, measured: list[Measured], wanted: Verdict, tmp_path: Path
) -> None:
    assert verdict(tmp_path, said, *measured) is wanted


def test_the_thresholds_are_the_papers_numbers() -> None:
    assert (9.91, pytest.approx(0.1019)) == (LITTLE_POINTS, LITTLE_SIZE)
    assert pytest.approx(73.26 - 70.82) == LOSS


@pytest.mark.parametrize(
    ("fp_size", "fp_right", "in_size", "in_accuracy"),
    [(1.2, 40, HOLDS, HOLDS), (1.8, 250, NOT_SO, NOT_SO), (1.5, 161, NOT_SHOWN, NOT_SHOWN)],
)
def test_priors_are_compared_over_the_same_images(
    fp_size: float, fp_right: int, in_size: Verdict, in_accuracy: Verdict, tmp_path: Path
) -> None:
    measured = [
        attack("noise", 8, 1.0),
        attack("pgd_e", 8, 1.5),
        attack("pgd_acc", 8, 1.1, 160),
        attack("acc_ensemble", 8, 1.1, 160),
        attack("noise", 8, 1.0, **FP),
        attack("pgd_e", 8, fp_size, **FP),
        attack("pgd_acc", 8, 1.1, fp_right, **FP),
        attack("acc_ensemble", 8, 1.1, fp_right, **FP),
    ]
    rows = [
        *evaluation(tmp_path / "a" / "eval" / "e", measured[:4]),
        *evaluation(tmp_path / "b" / "eval" / "e", measured[4:]),
    ]
    assert of(rows, "more robust in size").verdict is in_size
    found = of(rows, "less robust in accuracy")
    assert found.verdict is in_accuracy
    assert len(found.students) == len(found.readings) == 2
    # A student of another beta is no counterpart.
    other = [replace(row, beta=0.32) for row in rows[:4]]
    assert not of([*other, *rows[4:]], "more robust in size").readings


@pytest.mark.parametrize(
    ("stream", "webp", "wanted"), [(1.6, 1.1, HOLDS), (1.2, 1.4, NOT_SO), (1.4, 1.4, NOT_SHOWN)]
)
def test_streams_are_held_against_files_of_the_same_images(
    stream: float, webp: float, wanted: Verdict, tmp_path: Path
) -> None:
    folder = tmp_path / "imagenet" / CLEAN.student / "eval" / "e"
    clean, attacked = made(), attack("pgd_e", 8, stream)
    files = {"clean": (1.0, 1.0), "pgd_e": (webp, webp)}
    rows = evaluation(folder, [clean, attacked])
    records = read_records(folder / "records.csv")
    for record in records:
        jitter = 1 + 0.1 * (int(record["index"]) % 3 - 1)
        for name, factor in zip(("jpeg", "webp"), files[record["condition"]], strict=True):
            size = SIZES[int(record["index"])] * factor
            record[f"{name}_bytes"] = str(int(size * (jitter if factor != 1 else 1)))
    write_records(folder, records)
    rows = [
        replace(
            row,
            extra={
                f"{n}_kib_mean": 9.0 * factor
                for n, factor in zip(("jpeg", "webp"), of_row, strict=True)
            },
        )
        for row, of_row in zip(rows, files.values(), strict=True)
    ]
    found = of(rows, "entropy model's own")
    assert found.verdict is wanted
    (reading,) = found.readings
    assert reading.other is not None
    assert reading.other.startswith("as JPEG +")
    # Without the control there is nothing to say.
    assert not of([replace(row, extra={}) for row in rows], "entropy model's own").readings


def test_files_are_read_from_the_evaluation_that_has_them(tmp_path: Path) -> None:
    def with_files(kib: float, measured: Measured) -> Measured:
        row, sizes, right = measured
        extra = {"jpeg_kib_mean": kib, "webp_kib_mean": kib}
        return replace(row, extra=extra), sizes[:100], right[:100]

    few = [with_files(9.0, made()), with_files(10.0, attack("pgd_e", 8, 1.6))]
    alone = [with_files(9.0, attack("pgd_e", 8, 1.6, preset="quick"))]
    whole = [made(), attack("pgd_e", 8, 1.6)]
    rows = evaluations(tmp_path, control=few, attacks=whole, alone=alone)
    (reading,) = of(rows, "entropy model's own").readings
    assert reading.images == 100
    assert reading.other == "as JPEG +11.1%, WebP +11.1%"


def test_what_reacts_more_does_so_in_either_direction(tmp_path: Path) -> None:
    names = ("gaussian_noise", "impulse_noise", "motion_blur", "glass_blur")
    factors = (1.3, 1.3, 0.7, 0.9)
    mshp = [made(), *(corrupted(n, 1, f) for n, f in zip(names, factors, strict=True))]
    fp = [made(CLEAN, **FP)]
    fp += [corrupted(n, 1, f, **FP) for n, f in zip(names, (1.1, 1.1, 0.9, 0.7), strict=True)]
    rows = evaluation(tmp_path / "a" / "eval" / "e", mshp)
    rows += evaluation(tmp_path / "b" / "eval" / "e", fp)
    found = of(rows, "reacts to corruptions more")
    assert {r.what.split(",")[0]: r.verdict for r in found.readings} == {
        "gaussian noise": HOLDS,
        "impulse noise": HOLDS,
        "motion blur": HOLDS,
        "glass blur": NOT_SO,
    }
    assert found.verdict is Verdict.IN_PART


def test_betas_are_compared_where_there_are_several(tmp_path: Path) -> None:
    def student(beta: float, size: float) -> list[Row]:
        card = {"beta": beta, "student": f"resnet50-mshp-beta{beta}-joint"}
        folder = tmp_path / str(beta) / "eval" / "e"
        return evaluation(folder, [made(**card), corrupted("shot_noise", 5, size, **card)])

    first, second, third = student(0.08, 1.5), student(0.16, 1.1), student(0.32, 0.9)
    said = "every weight beta"
    assert of(first, said).verdict is Verdict.NOT_MEASURED
    assert of([*first, *second], said).verdict is HOLDS
    found = of([*first, *second, *third], said)
    assert found.verdict is NOT_SO
    assert len(found.students) == 3
    assert "beta 0.32: -1" in str(found.readings[0].other)


def defended(defense: str, strength: float, *rest: Any, **more: Any) -> Measured:
    return attack(*rest, **{"defense": defense, "defense_strength": strength, **more})


@pytest.mark.parametrize(
    ("size", "right", "wanted"),
    [
        (0.95, 300, HOLDS),
        (1.1, 300, Verdict.IN_PART),  # larger than clean images
        (0.95, 240, Verdict.IN_PART),  # accuracy
        (1.1, 240, NOT_SO),
    ],
)
def test_a_defense_has_two_parts(size: float, right: int, wanted: Verdict, tmp_path: Path) -> None:
    for condition, said in (("pgd_e", "Denoising brings"), ("regional", "The defense resists")):
        rows = [
            made(),
            attack(condition, 4, 1.5, 300),
            defended("masked_tv", 0.02, condition, 4, size, right),
            # An attacker who knows the defense is another claim, a filter none of the paper.
            defended("masked_tv", 0.02, condition, 4, 3.0, 0, through="unrolled"),
            defended("jpeg", 75, condition, 4, 3.0, 0),
        ]
        assert verdict(tmp_path / condition, said, *rows) is wanted


def test_an_attacker_who_goes_through_is_judged_by_the_clean_size(tmp_path: Path) -> None:
    said = "takes the gradient through it"
    rows = [made(), defended("masked_tv", 0.02, "pgd_e", 8, 0.9, through="bpda")]
    assert verdict(tmp_path / "a", said, *rows) is HOLDS
    rows[1] = defended("masked_tv", 0.02, "pgd_e", 8, 1.2, through="bpda")
    assert verdict(tmp_path / "b", said, *rows) is NOT_SO
    rows[1] = defended("masked_tv", 0.02, "pgd_e", 8, 1.2)
    assert verdict(tmp_path / "c", said, *rows) is Verdict.NOT_MEASURED


def test_a_mask_is_compared_with_the_same_without_one(tmp_path: Path) -> None:
    said = "mask of the defense"
    plain = defended("plain_chambolle", 0.03, "pgd_e", 4, 1.0, 280)
    other = defended("plain_chambolle", 0.03, "pgd_e", 2, 1.0, 380)
    masked = defended("masked_chambolle", 0.1, "pgd_e", 4, 1.0, 310)
    assert verdict(tmp_path / "a", said, plain, other, masked) is HOLDS
    worse = defended("masked_chambolle", 0.1, "pgd_e", 4, 1.0, 250)
    assert verdict(tmp_path / "b", said, plain, other, worse) is NOT_SO
    # Of several strengths the one that denoises as much: else strengths would be compared.
    stronger = defended("plain_chambolle", 0.1, "pgd_e", 4, 0.7, 100)
    found = of(evaluation(tmp_path / "c" / "s" / "eval" / "e", [plain, stronger, worse]), said)
    assert (len(found.readings), found.verdict) == (1, NOT_SO)


def test_a_mask_is_compared_over_the_images_of_both(tmp_path: Path) -> None:
    said = "mask of the defense"
    masked = defended("masked_chambolle", 0.1, "pgd_e", 4, 1.0, 290)
    plain = [defended("plain_chambolle", s, "pgd_e", 4, f, 250) for s, f in ((0.03, 1), (0.1, 0.9))]
    rows = evaluations(tmp_path, masked=[masked], plain=[of_first(300, row) for row in plain])
    (reading,) = of(rows, said).readings
    assert "plain_chambolle 0.03" in reading.what
    assert (reading.images, reading.verdict) == (300, HOLDS)
    assert value(reading.points) == pytest.approx(100 * 40 / 300)
    # More and less denoising than by the mask: what it leaves says nothing of the mask.
    more = defended("masked_chambolle", 0.1, "pgd_e", 4, 0.7, 200)
    rows = evaluations(tmp_path / "more", masked=[more], plain=plain[:1])
    assert of(rows, said).verdict is NOT_SHOWN


@pytest.mark.parametrize(("right", "wanted"), [(320, HOLDS), (280, NOT_SO)])
def test_a_cap_is_compared_with_none(right: int, wanted: Verdict, tmp_path: Path) -> None:
    cap = {"defense": "budget", "defense_strength": 8.0}
    measured = [attack("pgd_e", 8, 2.0), attack("pgd_e", 8, 1.2, right, **cap)]
    rows = evaluation(tmp_path / "imagenet" / "s" / "eval" / "e", measured)
    found = of(rows, "A cap on every stream")
    assert found.verdict is wanted
    assert any("BUDGET_KIB=8" in line for line in commands(found, rows))


@pytest.mark.parametrize(("size", "wanted"), [(1.1, HOLDS), (1.5, Verdict.IN_PART)])
def test_training_on_attacks_is_compared_behind_the_same_defense(
    size: float, wanted: Verdict, tmp_path: Path
) -> None:
    card = {"recipe": "joint-pgd_e8", "student": "resnet50-mshp-beta0.08-joint-pgd_e8"}
    tv = ("masked_tv", 0.02, "pgd_e", 4)
    alone = [attack("pgd_e", 16, 2.5), attack("pgd_e", 4, 1.8)]
    rows = evaluation(tmp_path / "a" / "eval" / "e", [made(), *alone, defended(*tv, 1.3)])
    rows += evaluation(
        tmp_path / "b" / "eval" / "e",
        [made(**card), attack("pgd_e", 4, 1.6, **card), defended(*tv, size, **card)],
    )
    found = of(rows, "adversarial training")
    assert found.verdict is wanted
    assert len(found.students) == 2
    # It is no student of any other claim.
    assert len(of(rows, "95% larger").students) == 1


# --- which rows are compared ----------------------------------------------------------------------


def evaluations(tmp_path: Path, **folders: Sequence[Measured]) -> list[Row]:
    """Several of one student."""
    student = tmp_path / "imagenet" / CLEAN.student / "eval"
    return [row for name, rows in folders.items() for row in evaluation(student / name, rows)]


def value(measured: object) -> float:
    assert isinstance(measured, Change | Number)
    return float(measured.value)


@pytest.mark.parametrize(
    ("condition", "epsilon", "said"),
    [
        ("pgd_e", 4, "Denoising brings"),
        ("regional", 4, "The defense resists"),
    ],
)
def test_a_defense_is_compared_with_its_own_evaluation(
    condition: str, epsilon: float, said: str, tmp_path: Path
) -> None:
    few = [
        made(CLEAN, 1.1),
        attack(condition, epsilon, 1.5, 90),
        defended("masked_tv", 0.02, condition, epsilon, 1.21, 80),
    ]
    rows = evaluations(
        tmp_path,
        attacks=[made(), attack(condition, epsilon, 1.5, 25)],  # larger, and less accurate
        defense=[of_first(100, measured) for measured in few],
    )
    (reading,) = of(rows, said).readings
    assert value(reading.points) == pytest.approx(-10)
    assert value(reading.size) == pytest.approx(0.1, abs=0.001)
    # Without such rows of its own, those of the other one.
    (reading,) = of([*rows[:2], rows[-1]], said).readings
    assert value(reading.points) == pytest.approx(80 - 25)


def test_a_cap_is_compared_with_its_own_evaluation(tmp_path: Path) -> None:
    cap = {"defense": "budget", "defense_strength": 8.0}
    few = [made(right=70), attack("pgd_e", 8, 2.0, 60), made(right=69, **cap)]
    few.append(attack("pgd_e", 8, 1.2, 58, **cap))
    rows = evaluations(
        tmp_path,
        attacks=[made(), attack("pgd_e", 8, 2.0, 20)],
        defense=[of_first(100, measured) for measured in few],
    )
    found = of(rows, "A cap on every stream").readings
    assert [value(reading.points) for reading in found] == pytest.approx([-1, -2])


def test_a_student_trained_on_attacks_is_compared_with_its_own_evaluations(tmp_path: Path) -> None:
    card = {"recipe": "joint-pgd_e8", "student": "resnet50-mshp-beta0.08-joint-pgd_e8"}
    tv = ("masked_tv", 0.02, "pgd_e", 4)
    few = [made(**card), attack("pgd_e", 4, 1.6, **card), defended(*tv, 1.2, **card)]
    rows = evaluation(tmp_path / "a" / "eval" / "e", [made(), defended(*tv, 1.3)])
    rows += evaluation(tmp_path / "b" / "eval" / "e", [of_first(100, row) for row in few])
    other = [made(CLEAN, 0.5, **card), attack("pgd_e", 4, 1.1, **card)]
    rows += evaluation(tmp_path / "b" / "eval" / "other", other)
    (reading,) = of(rows, "adversarial training").readings
    assert "by -25.0%" in str(reading.other)
    assert value(reading.size) == pytest.approx(-0.1, abs=0.005)


def test_noise_is_that_of_the_same_evaluation(tmp_path: Path) -> None:
    few = [attack("noise", 8, 1.0, 90), attack("square", 8, 1.2, 90, preset=None)]
    rows = evaluations(
        tmp_path,
        noise=[attack("noise", 8, 1.5)],
        square=[of_first(100, measured) for measured in few],
    )
    (reading,) = of(rows, "sees nothing but sizes").readings
    assert value(reading.size) == pytest.approx(0.2, abs=0.005)
    assert reading.verdict is HOLDS


def test_a_reading_is_of_the_images_that_were_compared(tmp_path: Path) -> None:
    few = [made(), attack("noise", 8, 1.1), made(**FP), attack("noise", 8, 1.0, **FP)]
    few = [of_first(20, measured) for measured in few]
    rows = evaluations(
        tmp_path,
        clean=few[:1],
        noise=few[1:2],
        attacks=[attack("pgd_e", 8, 2.0), attack("pgd_e", 16, 2.5)],
        fp=[few[3], attack("pgd_e", 8, 1.5, **FP)],
    )
    assert of(rows, "95% larger").images == (20, 20)
    assert of(rows, "entropy costs little accuracy").images == (20, 20)
    assert of(rows, "more robust in size").images == (20, 20)
    # Of two evaluations that share some of their images, these; without records, no more.
    late = evaluation(tmp_path / "late" / "eval" / "e", [attack("pgd_e", 16, 2.0)], first=385)
    first = evaluations(tmp_path, clean=[made()])
    assert of([*first, *late], "95% larger").readings[0].images == 15
    told = [replace(row, folder=None) for row in rows]
    assert of(told, "entropy costs little accuracy").images == (20, 20)
    assert of(told, "more robust in size").images == (20, 20)


PLAIN = {"defense": "plain_chambolle", "defense_strength": 0.03}
REPEATED: list[tuple[str, list[Measured]]] = [
    ("gradient through it", [made(), defended("masked_tv", 0.02, "pgd_e", 8, 1.2, through="bpda")]),
    ("A cap", [attack("pgd_e", 8, 2.0), defended("budget", 8.0, "pgd_e", 8, 1.2)]),
    (
        "mask of the defense",
        [attack("pgd_e", 4, 1.0, **PLAIN), defended("masked_chambolle", 0.1, "pgd_e", 4, 1.0)],
    ),
    (
        "made for another student",
        [attack("noise", 8, 1.1), attack("pgd_e", 8, 1.2, victim="other (abcdef)")],
    ),
]


@pytest.mark.parametrize(("said", "measured"), REPEATED)
def test_a_condition_that_was_measured_again_counts_once(
    said: str, measured: list[Measured], tmp_path: Path
) -> None:
    few = [of_first(100, row) for row in measured]
    # What was asked for through nothing and what was asked for so by name is one condition.
    unaware = [row for row, *_ in few if row.through is None]
    few = [(replace(r, through="oblivious") if r in unaware else r, s, t) for r, s, t in few]
    rows = evaluations(tmp_path, few=few, all=measured)
    (reading,) = of(rows, said).readings
    assert reading.images == N
    assert reading.row.folder == rows[-1].folder
    (reading,) = of(rows[: len(few)], said).readings
    assert reading.images == 100


@pytest.mark.parametrize(("images", "wanted"), [(2, NOT_SHOWN), (9, NOT_SHOWN), (10, HOLDS)])
def test_of_a_few_images_nothing_is_said(images: int, wanted: Verdict, tmp_path: Path) -> None:
    few = [made(), attack("noise", 8, 1.1), attack("pgd_e", 8, 1.5), attack("pgd_e", 16, 2.5)]
    few.append(corrupted("shot_noise", 5, 1.6))
    rows = evaluations(tmp_path, few=[of_first(images, row) for row in few])
    assert of(rows, "95% larger").verdict is wanted
    assert of(rows, "Noise makes").verdict is wanted
    # However many the row that it is compared with has.
    rows = [*rows[1:], *evaluations(tmp_path, clean=few[:1])]
    assert of(rows, "95% larger").verdict is wanted
    # Of a smaller radius what is not shown counts as not measured.
    few = [made(), attack("pgd_e", 8, 2.5)]
    rows = evaluations(tmp_path / "b", few=[of_first(images, row) for row in few])
    assert of(rows, "95% larger").verdict is (HOLDS if wanted is HOLDS else NOT_MEASURED)


@pytest.mark.parametrize(("images", "wanted"), [(9, NOT_SHOWN), (10, HOLDS)])
def test_of_maps_of_a_few_images_nothing_is_said(
    images: int, wanted: Verdict, tmp_path: Path
) -> None:
    rows = evaluations(tmp_path, maps=[made()])
    assert rows[0].folder is not None
    number = {"mean": 0.7, "interval": [0.6, 0.8]}
    figures = {"images": images, "rank_correlation": number}
    (rows[0].folder / "maps.json").write_text(json.dumps(figures))
    assert of(rows, "total variation").verdict is wanted


def test_tables_compare_within_an_evaluation_as_well(tmp_path: Path) -> None:
    rows = evaluations(
        tmp_path,
        attacks=[made(CLEAN, 0.5), attack("noise", 4, 0.9), attack("pgd_e", 4, 0.8)],
        again=[made(), attack("noise", 4, 1.0), attack("pgd_e", 4, 1.5, teacher_accuracy=0.8)],
    )
    changes = {line[1]: line[4] for line in tables.attacks(rows).rows}
    assert value(changes["PGD-E, strong"]) == pytest.approx(0.5, abs=0.005)
    (line,) = (r for r in tables.figure_means(rows).rows if r[1] == FIG4A and r[3] is not None)
    assert value(line[3]) == pytest.approx(0.5, abs=0.005)


@pytest.mark.parametrize("digits", [("aaa", "bbb"), ("zzz", "bbb")])
def test_every_student_of_one_card_stands_beside_the_one_that_was_trained_on_attacks(
    digits: tuple[str, str], tmp_path: Path
) -> None:
    tv = ("masked_tv", 0.02, "pgd_e", 4)
    card = {"recipe": "joint-pgd_e8", "student": "resnet50-mshp-beta0.08-joint-pgd_e8"}
    trained = [made(**card), attack("pgd_e", 4, 1.6, **card), defended(*tv, 1.1, **card)]
    rows = evaluation(tmp_path / "trained" / "eval" / "e", trained)
    for size, name in zip((1.3, 0.9), digits, strict=True):
        plain = [made(weights=name), defended(*tv, size, weights=name)]
        rows += evaluation(tmp_path / name / "eval" / "e", plain)
    found = of(rows, "adversarial training")
    assert sorted(value(r.size) for r in found.readings) == pytest.approx([-0.2, 0.2], abs=0.005)
    assert found.verdict is Verdict.IN_PART
    assert len(found.students) == 3


# --- files beside the results ---------------------------------------------------------------------


def test_maps_are_read_beside_the_results_and_damaged_ones_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "imagenet" / "s" / "eval" / "maps"
    rows = evaluation(folder, [made()])
    figures = {
        "images": 40,
        "rank_correlation": {"mean": 0.53, "interval": [0.48, 0.57]},
        "background_pgd_e_over_area": {"mean": 0.05, "interval": [0.03, 0.08]},
        "background_pgd_acc_over_area": {"mean": 0.04, "interval": [0.02, 0.05]},
    }
    (folder / "maps.json").write_text(json.dumps(figures))
    assert of(rows, "total variation").verdict is Verdict.IN_PART
    assert of(rows, "in the background").verdict is HOLDS
    assert of(rows, "changes the object").verdict is NOT_SO
    assert of(rows, "changes the object").images == (40, 40)
    (folder / "maps.json").write_text('{"images": 40')
    assert of(rows, "total variation").verdict is Verdict.NOT_MEASURED


def study(label: str, saturated: Estimate, p50: Estimate, defense: str | None = None) -> Outcome:
    def seen(latency: Estimate) -> Experience:
        return Experience(latency, latency, latency, Estimate(0, 0, 0), Estimate(10, 10, 10))

    quick = seen(Estimate(6, 5, 8))
    points = (
        Point("fifo", 0, 0.0, 0.5, quick, None),
        Point("fifo", 10, 1.0, 1.3, None, seen(p50)),
        Point("fair", 10, 1.0, 1.3, None, quick),
    )
    numbers = (0.0, 0.0, 20, 20, 4000.0, 9000.0, 0.5, 1.3)
    return Outcome(label, defense, *numbers, saturated, points)


def test_a_link_speaks_for_what_is_undefended(tmp_path: Path) -> None:
    folder = tmp_path / "imagenet" / "s" / "eval" / "link"
    rows = evaluation(folder, [made()])
    full, never = Estimate(0.6, 0.5, 0.7), Estimate(*(float("inf"),) * 3)
    slow, same = Estimate(90, 80, 99), Estimate(6, 5, 8)
    outcomes = [
        study("pgd_e 8/255 (strong)", full, slow),
        study("pgd_e 8/255 (strong)", never, same, "masked_tv 0.02"),
        study("noise 8/255", never, same),
        study("pgd_e_over_6kib 8/255 (strong)", never, same),
    ]
    uplink = Uplink(devices=10, rate_mbps=6.0)
    Study("s", "imagenet", uplink, 1000, 0, tuple(outcomes)).write(folder)
    assert of(rows, "raises the latency").verdict is HOLDS
    assert of(rows, "saturates the link").verdict is HOLDS
    # At another epsilon than the claim asks for.
    outcomes[0] = study("pgd_e 16/255 (strong)", full, slow)
    Study("s", "imagenet", uplink, 1000, 0, tuple(outcomes)).write(folder)
    rows = evaluation(folder, [made(), attack("pgd_e", 16, 2.0)])
    (line,) = commands(of(rows, "saturates the link"), rows)
    assert asked_by(line).epsilons == (16.0,)
    outcomes[0] = study("pgd_e 8/255 (strong)", never, same)
    Study("s", "imagenet", uplink, 1000, 0, tuple(outcomes)).write(folder)
    assert of(rows, "raises the latency").verdict is NOT_SHOWN
    assert of(rows, "saturates the link").verdict is NOT_SO


# --- what is written ------------------------------------------------------------------------------


def asked_by(line: str) -> Experiment:
    """What a line of make asks for, and that it is no sooner refused than by a missing file."""
    make, target, *variables = shlex.split(line)
    assert make == "make"
    asked = Experiment.of(**dict(variable.split("=", 1) for variable in variables))
    assert steps(replace(asked, student=None), target)
    return asked


THROUGH: dict[str, Any] = {"through": "unrolled"}
ASKED: list[tuple[str, list[Measured], list[dict[str, Any]]]] = [
    (
        "gradient through it",
        [
            made(),
            defended("masked_tv", 0.02, "pgd_e", 4, 0.8, preset="strong, 400 steps", **THROUGH),
            defended("masked_tv", 0.1, "pgd_e", 8, 0.8, through="unrolled_mask", preset="quick"),
            defended("masked_chambolle", 0.1, "pgd_e", 8, 0.8, **THROUGH),
        ],
        [
            {
                "defense": ("masked_tv",),
                "lambda_": None,
                "steps": 400,
                "epsilons": (4.0,),
                "through": ("unrolled", "bpda"),
            },
            {
                "defense": ("masked_tv",),
                "lambda_": 0.1,
                "preset": "quick",
                "epsilons": (8.0,),
                "through": ("unrolled_mask",),
            },
            {
                "defense": ("masked_chambolle",),
                "lambda_": None,
                "preset": "strong",
                "steps": None,
                "epsilons": (8.0,),
                "through": ("unrolled", "bpda"),
            },
        ],
    ),
    (
        "Denoising brings",
        [
            made(),
            attack("pgd_e", 4, 1.5),
            defended("masked_tv", 0.02, "pgd_e", 4, 0.9),
            defended("masked_tv", 0.05, "pgd_e", 4, 0.9),
        ],
        [
            {"defense": ("published", "masked_tv", "masked_chambolle"), "lambda_": None},
            {"defense": ("masked_tv",), "lambda_": 0.05},
        ],
    ),
    (
        "mask of the defense",
        [
            defended("plain_chambolle", 0.05, "pgd_acc", 8, 1.0),
            defended("masked_chambolle", 0.1, "pgd_acc", 8, 1.0),
        ],
        [
            {"lambda_": None, "attack": ("pgd_acc",), "epsilons": (8.0,)},
            {"defense": ("plain_chambolle",), "lambda_": 0.05, "attack": ("pgd_acc",)},
        ],
    ),
    (
        "A cap on",
        [
            made(),
            attack("noise", 8, 1.2),
            attack("pgd_e", 8, 2.0),
            made(defense="budget", defense_strength=6.0),
            defended("budget", 6.0, "noise", 8, 1.0),
            defended("budget", 6.0, "pgd_e", 8, 1.2),
        ],
        [{"budget_kib": 6.0, "attack": ("noise", "pgd_e"), "epsilons": (2.0, 4.0, 8.0, 16.0)}],
    ),
    (
        "changes the size little",
        [attack("noise", 8, 1.1), attack("pgd_acc", 8, 1.2, preset="published")],
        [{"attack": ("noise", "pgd_acc", "pgd_e"), "epsilons": (4.0, 8.0), "preset": "published"}],
    ),
    ("95% larger", [made(), attack("pgd_e", 8, 2.5)], [{"epsilons": (8.0,)}]),
    (
        "robust in accuracy",
        [
            measured
            for student in ({}, FP)
            for measured in (attack("noise", 8, 1, **student), attack("pgd_acc", 8, 1, **student))
        ],
        [{"attack": ("noise", "pgd_acc"), "codec": "fp"}, {"attack": ("noise", "pgd_acc")}],
    ),
]


@pytest.mark.parametrize(("said", "measured", "wanted"), ASKED)
def test_a_line_asks_for_what_was_read(
    said: str, measured: list[Measured], wanted: list[dict[str, Any]], tmp_path: Path
) -> None:
    rows = evaluation(tmp_path / "imagenet" / "s" / "eval" / "e", measured)
    asked = [asked_by(line) for line in commands(of(rows, said), rows)]
    found = [
        {name: getattr(each, name) for name in names}
        for each, names in zip(asked, wanted, strict=True)
    ]
    assert found == wanted


def test_a_line_asks_for_as_many_images_as_were_read(tmp_path: Path) -> None:
    rows = evaluations(
        tmp_path,
        few=[of_first(100, row) for row in (made(), attack("pgd_e", 16, 2.0, preset="quick"))],
        all=[made(), attack("pgd_e", 16, 2.0)],
    )
    for name, images in (("few", 2), ("all", 8)):
        arguments = {"data_dir": "/d", "eval_limit_per_class": images}
        data = {"class_path": "entres.data.ImageNetDataModule", "init_args": arguments}
        file = tmp_path / "imagenet" / CLEAN.student / "eval" / name / "logs" / "version_0"
        file.mkdir(parents=True)
        (file / "config.yaml").write_text(json.dumps({"data": data}))
    asked = map(asked_by, commands(of(rows, "95% larger"), rows))
    assert {each.preset: each.images_per_class for each in asked} == {"quick": 2, "strong": 8}


def test_the_strength_of_a_file_that_names_none_is_the_evaluations(tmp_path: Path) -> None:
    measured = [made(), attack("pgd_e", 4, 1.5), defended("published", 0.1, "pgd_e", 4, 1.2)]
    folder = tmp_path / "imagenet" / CLEAN.student / "eval" / "e"
    rows = evaluation(folder, measured)
    (folder / "logs" / "version_0").mkdir(parents=True)
    for strengths, wanted in ((None, None), ([0.1], 0.1)):
        config = {"defense_strengths": strengths, "data": {"class_path": "mine"}}
        (folder / "logs" / "version_0" / "config.yaml").write_text(json.dumps(config))
        (line,) = commands(of(rows, "Denoising brings"), rows)
        assert asked_by(line).lambda_ == wanted


def test_without_results_every_claim_names_the_line_that_measures_it() -> None:
    found = findings([CLEAN])
    assert len(found) == len(CLAIMS)
    table = findings_table(found, [CLEAN])
    for finding, line in zip(found, table.rows, strict=True):
        assert finding.verdict is Verdict.NOT_MEASURED
        assert line[2:] == ("not measured", None, None, None)
        lines = commands(finding, [CLEAN])
        if "square" in str(finding.claim.asked):
            continue  # not every version has that attack
        assert lines, finding.claim.said
        for line in lines:
            assert asked_by(line).data == "imagenet"
        assert set(lines) <= set(table.missing)
    both = commands(of([CLEAN], "more robust in size"), [CLEAN])
    assert ["CODEC=fp" in line for line in both] == [True, False]


def test_a_line_of_make_asks_for_the_same() -> None:
    line = "entres eval-attacks --data_dir '/my data' --epsilons 4,8 --lambda 0.1"
    assert as_make(line) == "make eval-attacks DATA_DIR='/my data' EPSILONS=4,8 LAMBDA=0.1"


def test_where_students_disagree_it_is_said_for_whom(tmp_path: Path) -> None:
    rows = evaluation(tmp_path / "a" / "eval" / "e", [made(), attack("pgd_e", 16, 2.5)])
    rows += evaluation(
        tmp_path / "b" / "eval" / "e", [made(**FP), attack("pgd_e", 16, 1.2, preset="x", **FP)]
    )
    found = of(rows, "95% larger")
    assert found.verdict is Verdict.IN_PART
    assert for_whom(found, rows) == f"Holds for {CLEAN.student}; not so for {FP['student']}."
    assert for_whom(of(rows[:2], "95% larger"), rows[:2]) == ""


def test_the_report_writes_them_down_and_shows_them(tmp_path: Path) -> None:
    measured = [made(), attack("noise", 8, 1.1), attack("pgd_e", 8, 2.5, preset="published")]
    measured += [attack("pgd_e", 8, 3.0)]
    masked = {"defense": "masked_tv", "defense_strength": 0.02}
    measured += [attack("pgd_e", 4, 1.5), attack("pgd_e", 4, 1.1, **masked)]
    rows = evaluation(tmp_path / "imagenet" / CLEAN.student / "eval" / "attacks", measured)
    elsewhere = tmp_path / "docs" / "findings.md"
    main(["report", "--out", str(tmp_path), "--findings", str(elsewhere)])
    text = (tmp_path / "report" / "findings.md").read_text()
    assert "Of fewer than 10 images nothing is shown" in text
    assert "## imagenet" in text
    assert "### 1. An attack on the entropy makes streams up to 95% larger: holds\n" in text
    change = findings(rows)[0].readings[0].size
    assert f"| PGD-E (published) 8/255 against clean | {change} |" in text
    assert f"| {N} | holds |" in text
    assert "PRESET=published" in text
    # Of no line the folder of the data, nor where a table says what has not been run.
    assert "DATA_DIR=$DATA_DIR" in text
    assert "/path/to/the/data" not in text
    copied = elsewhere.read_text()
    assert "Not run yet: entres eval-defense --data imagenet --data_dir $DATA_DIR" in copied
    assert "/path/to/the/data" not in copied
    assert "![attacks of imagenet](imagenet/attacks.png)" in text
    assert (tmp_path / "report" / "imagenet" / "attacks.png").is_file()
    assert text.count("### ") == len(CLAIMS)
    page = (tmp_path / "report" / "index.html").read_text()
    assert "What the paper claims, and what is so here" in page
    assert (tmp_path / "report" / "imagenet" / "findings.csv").is_file()


def test_claims_name_corruptions_that_there_are() -> None:
    named = [name for claim in CLAIMS for name in claim.asked.get("corruptions", ())]
    assert set(named) <= set(FIFTEEN)


def test_findings_go_elsewhere_with_their_pictures(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "imagenet" / CLEAN.student / "eval" / "maps"
    evaluation(folder, [made()])
    number = {"mean": 0.7, "interval": [0.6, 0.8]}
    (folder / "maps.json").write_text(json.dumps({"images": 40, "rank_correlation": number}))
    (folder / "bits.png").write_bytes(b"a picture")
    page = tmp_path / "docs" / "findings.md"
    main(["report", "--out", str(tmp_path / "runs"), "--findings", str(page)])
    text = page.read_text()
    shown = [line for line in text.splitlines() if line.startswith("![")]
    (line,) = [line for line in shown if "bits" in line]
    file = page.parent / line.split("](")[1].rstrip(")")
    assert file.parent == page.parent / "figures"
    assert file.read_bytes() == b"a picture"
    assert all((page.parent / line.split("](")[1].rstrip(")")).is_file() for line in shown)
