from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from entres import configs
from entres.experiment.matrix import Cell, Matrix, MatrixError, read_matrix
from entres.experiment.same import differences
from entres.models import EntropicStudent, load_student

PAPER = {"clean", "table2", "table3", "table4"} | {
    f"fig{figure}" for figure in ("3a", "3b", "4a", "4b", "5", "6")
}


def test_cells_are_the_product_with_stable_names_and_what_they_need(matrix: Matrix) -> None:
    assert {name: [c.name for c in cells] for name, cells in matrix.phases.items()} == {
        "training": [
            "teacher-resnet18-seed0",
            "teacher-resnet18-seed1",
            "teacher-test_resnet-seed0",
            "teacher-test_resnet-seed1",
        ],
        "evaluation": [
            "eval-attacks-test_resnet-seed0-strong",
            "eval-attacks-test_resnet-seed1-strong",
        ],
    }
    cell = matrix.cell("eval-attacks-test_resnet-seed1-strong")
    assert cell.needs == ("teacher-test_resnet-seed1",)
    assert cell.serves == ("fig4a", "fig4b")
    assert cell.line("there") == (
        f"entres eval-attacks --student {configs.EXAMPLE_STUDENT} --seed 1 --out there "
        "--epsilons 4,8"
    )
    (line,) = (step.line for step in cell.steps("there"))
    assert line.startswith("entres test --config configs/stage/evaluation.yaml --model.student ")
    assert "--data.epsilons_255 '[4, 8]'" in line


def test_a_cell_may_name_what_it_starts_from(matrix_file: Path) -> None:
    text = matrix_file.read_text()
    matrix_file.write_text(
        text.replace("serves:", "needs: [teacher-resnet18-seed0]\n      serves:")
    )
    cell = read_matrix(matrix_file).cell("eval-attacks-test_resnet-seed1-strong")
    assert cell.needs == ("teacher-resnet18-seed0", "teacher-test_resnet-seed1")
    matrix_file.write_text(text.replace("serves:", "needs: [train-fp]\n      serves:"))
    with pytest.raises(MatrixError, match="eval-attacks needs train-fp, which no earlier phase"):
        read_matrix(matrix_file)
    (start,) = (c for c in read_matrix("photos").cells if c.name == "train-mshp-beta0.32")
    assert "train-mshp-beta0.08" in start.needs


def test_what_is_given_and_what_is_the_default_are_one_student(tmp_path: Path) -> None:
    def needs(training: str, evaluation: str) -> tuple[str, ...]:
        (tmp_path / "m.yaml").write_text(
            f"{{experiment: {{data: photos}}, phases: {{t: [{training}], e: [{evaluation}]}}}}"
        )
        return read_matrix(tmp_path / "m.yaml").cells[-1].needs

    trained = "{target: train, over: {codec: [fp], beta: [0.08]}}"
    assert needs(trained, "{target: eval-clean, over: {codec: [fp]}}") == ("train-fp-beta0.08",)
    assert needs(trained, "{target: eval-clean, over: {codec: [mshp]}}") == ()
    assert needs(trained, "{target: eval-clean, with: {codec: fp, beta: 0.32}}") == ()
    given = f"{{codec: fp, student: {configs.EXAMPLE_STUDENT}}}"
    assert needs(trained, f"{{target: eval-clean, with: {given}}}") == ()
    evaluated = "{target: eval-attacks, with: {preset: strong}}"
    assert needs(evaluated, "{target: eval-clean}") == ()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("phases: {t: }", "phases.t must be a list, got None"),
        ("phases: {t: [null]}", r"phases.t\[0\].target must be the name of one"),
        ("phases: {t: [train]}", r"phases.t\[0\] must be a mapping, got 'train'"),
        ("phases: {t: [{target: [x]}]}", r"phases.t\[0\].target must be the name of one"),
        ("phases: {t: [{target: train, over: [1]}]}", r"phases.t\[0\].over must be a mapping"),
        ("phases: {t: [{target: train, with: 1}]}", r"phases.t\[0\].with must be a mapping"),
        ("phases: {t: [{target: train, needs: 5}]}", r"phases.t\[0\].needs must be a list, got 5"),
        ("{experiment: [1], phases: {}}", r"experiment must be a mapping, got \[1\]"),
        ("{times: [1], phases: {}}", "times must be a mapping"),
        ("{times: {seconds: {a: x}}, phases: {}}", "times.seconds.a must be a number, got 'x'"),
    ],
)
def test_what_is_no_matrix_is_a_sentence(tmp_path: Path, content: str, sentence: str) -> None:
    (tmp_path / "odd.yaml").write_text(content)
    with pytest.raises(MatrixError, match=sentence):
        read_matrix(tmp_path / "odd.yaml")


def test_what_is_given_reaches_every_cell_and_axes_can_be_replaced(matrix_file: Path) -> None:
    given = {"data": "cifar10", "data_dir": "/data", "devices": "8"}
    matrix = read_matrix(matrix_file, given, {"seed": ["7"]})
    names = [
        "teacher-resnet18-seed7",
        "teacher-test_resnet-seed7",
        "eval-attacks-test_resnet-seed7-strong",
    ]
    assert [cell.name for cell in matrix.cells] == names
    assert all(given.items() <= cell.values.items() for cell in matrix.cells)
    assert matrix.cells[2].needs == ("teacher-test_resnet-seed7",)


def test_only_what_changes_a_result_makes_another_cell(matrix_file: Path) -> None:
    def identity(given: Mapping[str, Any]) -> dict[str, Any]:
        return read_matrix(matrix_file, given).cells[0].identity

    assert identity({}) == identity({"devices": "8"})
    assert identity({}) != identity({"recipe": "frozen-encoder"})


def test_a_cell_is_another_when_a_file_that_it_names_says_something_else(
    tmp_path: Path, student_file: Path, make_student: Callable[..., EntropicStudent]
) -> None:
    preset = tmp_path / "mine.yaml"
    preset.write_text("name: mine\nsteps: 20\n")
    values = {"student": str(student_file), "preset": str(preset), "attack": "pgd_e"}

    def changed() -> list[str]:
        now = Cell("eval-attacks", "all", "eval-attacks", values).identity
        return differences(before, json.loads(json.dumps(now)))  # as a stamp has it

    before = json.loads(json.dumps(Cell("eval-attacks", "all", "eval-attacks", values).identity))
    # What other lines leave is no part of what was asked for: a training may still be to come.
    assert not [name for name in before["files"] if name.startswith("runs")]
    preset.write_text("# in words\nname: mine\nsteps:   20\n")
    assert changed() == []
    preset.write_text("name: mine\nsteps: 100\n")
    (first,) = changed()
    assert preset.name in first
    make_student(seed=1).save(student_file, load_student(student_file)[1])
    assert len(changed()) == 2


@pytest.mark.parametrize(
    ("given", "over", "sentence"),
    [
        ({"seed": "1"}, {}, "seed: the matrix small sets it for teacher"),
        ({}, {"robust": ["noise"]}, "no group of .* is expanded over robust"),
        ({}, {"seed": ["1", "1"]}, "several cells named eval-attacks-test_resnet-seed1-strong"),
        ({"colour": "1"}, {}, "no option 'colour'"),
        ({"beta": "-1"}, {}, "teacher-resnet18-seed0: beta must be > 0, got -1"),
    ],
)
def test_what_does_not_fit_is_refused(
    given: Mapping[str, str], over: Mapping[str, list[str]], sentence: str, matrix_file: Path
) -> None:
    with pytest.raises(MatrixError, match=sentence):
        read_matrix(matrix_file, given, over)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("epsilons", "epsilon", "no option 'epsilon': did you mean epsilons"),
        ("serves", "server", "no key 'server': did you mean serves"),
        ("eval-attacks", "eval-atacks", "no target 'eval-atacks': did you mean eval-attacks"),
        ("phases", "phrases", "is no matrix"),
    ],
)
def test_what_cannot_be_read_is_refused(
    old: str, new: str, sentence: str, matrix_file: Path
) -> None:
    matrix_file.write_text(matrix_file.read_text().replace(old, new))
    with pytest.raises(MatrixError, match=sentence):
        read_matrix(matrix_file)
    with pytest.raises(MatrixError, match=r"no matrix 'papre': did you mean paper\?"):
        read_matrix("papre")


@pytest.mark.parametrize("name", ["photos", "paper"])
def test_the_matrices_serve_all_of_the_paper(name: str) -> None:
    assert {served for cell in read_matrix(name).cells for served in cell.serves} >= PAPER


def test_the_zoo_is_evaluated_as_it_is_under_all_that_the_findings_speak_of() -> None:
    cells = read_matrix("zoo", {"data_dir": "/data"}).cells
    lines = [step.line for cell in cells for step in cell.steps("runs")]
    assert not [line for line in lines if " fit " in line]
    for codec in ("mshp", "fp"):
        student = f"zoo/tf_efficientnet_lite0-{codec}-beta0.08-joint.safetensors"
        own = [cell for cell in cells if cell.values["student"] == student]
        assert {cell.target for cell in own} == {
            "eval-clean",
            "eval-corruptions",
            "eval-attacks",
            "eval-defense",
            "maps",
            "eval-link",
            "sweep-lambda",
        }
        assert all(codec in cell.name and "zoo" not in cell.name for cell in own)
        asked = [c.experiment("runs") for c in own]
        attacked = {
            (attack, each.preset, each.steps, epsilon)
            for each in asked
            for attack in each.attack
            for epsilon in each.epsilons
        }
        strong = {("pgd_e", "strong", None, e) for e in (2.0, 4.0, 8.0, 16.0)}
        quick = {("pgd_e", "quick", None, e) for e in (2.0, 4.0, 8.0, 16.0)}
        long = {("pgd_e", "strong", 400, e) for e in (2.0, 4.0, 8.0, 16.0)}
        small = {("acc_ensemble", "strong", 20, e) for e in (0.25, 0.5, 1.0)}
        published = {("pgd_acc", "published", None, epsilon) for epsilon in (2.0, 8.0)}
        black_box = {("square", "strong", None, 8.0)}
        assert attacked >= strong | quick | long | small | published | black_box
        assert any(each.budget_kib for each in asked)
        # The attack on the size of a target that has one by itself: behind defenses.
        assert any(each.defense and each.preset == "published" for each in asked)
        assert any(each.through == ("oblivious", "unrolled", "bpda") for each in asked)
    # No cell asks for a corruption, severity or image less than there is, but for the dear ones.
    (corrupted, _) = (c.experiment("runs") for c in cells if c.target == "eval-corruptions")
    assert (corrupted.corruptions, corrupted.severities) == ((), ())
    assert all(c.experiment("runs").images_per_class is None for c in cells if c.phase == "clean")


@pytest.mark.parametrize("name", configs.names("matrix"))
def test_every_cell_has_lines_and_no_two_write_the_same_results(name: str) -> None:
    given = {"data_dir": "/data"} if name in ("paper", "zoo") else {}
    written = []
    for cell in read_matrix(name, given).cells:
        steps = cell.steps("runs")
        assert steps, cell.name
        written += [step.makes for step in steps if step.words[0] == "test"]
    assert len(written) == len(set(written))
