from __future__ import annotations

import shlex
import subprocess
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import pytest

from entres.matrix import Matrix, MatrixError, read_matrix
from entres.matrix.cells import FOLDER

ROOT = Path(__file__).parents[2]
PAPER = {"clean", "table2", "table3", "table4"} | {
    f"fig{figure}" for figure in ("3a", "3b", "4a", "4b", "5", "6")
}


def test_cells_are_the_product_with_stable_names_and_what_they_need(matrix: Matrix) -> None:
    assert {name: [c.name for c in cells] for name, cells in matrix.phases.items()} == {
        "training": [
            "train-fp-beta0.08",
            "train-fp-beta0.32",
            "train-mshp-beta0.08",
            "train-mshp-beta0.32",
        ],
        "evaluation": ["eval-attacks-mshp-beta0.08-strong", "eval-attacks-mshp-beta0.32-strong"],
    }
    cell = matrix.cell("eval-attacks-mshp-beta0.08-strong")
    assert cell.needs == ("train-mshp-beta0.08",)
    assert cell.serves == ("fig4a", "fig4b")
    assert cell.command("there") == [
        "make",
        "eval-attacks",
        "BETA=0.08",
        "CODEC=mshp",
        "DATA=photos",
        "EPSILONS=4 8",
        "OUT=there",
        "PRESET=strong",
        "START=there/mshp/student",
    ]


def test_a_cell_may_name_what_it_starts_from(matrix_file: Path) -> None:
    text = matrix_file.read_text()
    matrix_file.write_text(text.replace("serves:", "needs: [train-fp-beta0.08]\n      serves:"))
    cell = read_matrix(matrix_file).cell("eval-attacks-mshp-beta0.32-strong")
    assert cell.needs == ("train-fp-beta0.08", "train-mshp-beta0.32")
    matrix_file.write_text(text.replace("serves:", "needs: [train-fp]\n      serves:"))
    with pytest.raises(MatrixError, match="eval-attacks needs train-fp, which no earlier phase"):
        read_matrix(matrix_file)
    (start,) = (c for c in read_matrix("photos").cells if c.name == "train-mshp-beta0.32")
    assert "train-mshp-beta0.08" in start.needs


def test_what_is_given_reaches_every_cell_and_axes_can_be_replaced(matrix_file: Path) -> None:
    given = {"DATA": "imagenet", "DEVICES": "8"}
    matrix = read_matrix(matrix_file, given, {"BETA": ["1.28"]})
    names = ["train-fp-beta1.28", "train-mshp-beta1.28", "eval-attacks-mshp-beta1.28-strong"]
    assert [cell.name for cell in matrix.cells] == names
    assert all(given.items() <= cell.variables.items() for cell in matrix.cells)
    assert matrix.cells[2].needs == ("train-mshp-beta1.28",)


def test_only_what_changes_a_result_makes_another_cell(matrix_file: Path) -> None:
    def identity(given: Mapping[str, str]) -> list[str]:
        return read_matrix(matrix_file, given).cells[0].identity

    assert identity({}) == identity({"DEVICES": "8"})
    assert identity({}) != identity({"SEED": "1"})


@pytest.mark.parametrize(
    ("given", "over", "sentence"),
    [
        ({"BETA": "1"}, {}, "BETA: the matrix small sets it for train"),
        ({}, {"ROBUST": ["noise"]}, "no group of .* is expanded over ROBUST"),
        ({}, {"BETA": ["1", "1"]}, "several cells named eval-attacks-mshp-beta1-strong"),
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
        ("${CODEC}", "${COLOUR}", "eval-attacks needs the variable COLOUR"),
        ("serves", "server", "unknown server; there is: name, needs, over"),
        ("phases", "phrases", "is no matrix"),
    ],
)
def test_what_cannot_be_read_is_refused(
    old: str, new: str, sentence: str, matrix_file: Path
) -> None:
    matrix_file.write_text(matrix_file.read_text().replace(old, new))
    with pytest.raises(MatrixError, match=sentence):
        read_matrix(matrix_file)
    with pytest.raises(MatrixError, match=r"no matrix at .*typo\.yaml; there is: .*paper"):
        read_matrix("typo")


@pytest.mark.parametrize("name", ["photos", "paper"])
def test_the_matrices_serve_all_of_the_paper(name: str) -> None:
    assert {served for cell in read_matrix(name).cells for served in cell.serves} >= PAPER


@pytest.mark.parametrize("name", [path.stem for path in FOLDER.glob("*.yaml")])
def test_make_takes_every_cell_and_no_two_write_the_same_results(name: str, tmp_path: Path) -> None:
    # A started student, so that START is there for those that begin with it.
    given = {"DATA_DIR": "/data"} if name == "paper" else {}
    written = []
    for cell in read_matrix(name, given).cells:
        if "START" in cell.variables:
            start = Path(cell.variables["START"].replace("$OUT", str(tmp_path)))
            start.parent.mkdir(parents=True, exist_ok=True)
            start.touch()
        command = ["make", "-n", *cell.command(tmp_path)[1:]]
        made = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
        assert made.returncode == 0, (cell.name, made.stderr)
        for line in made.stdout.replace("\\\n", " ").splitlines():
            words = shlex.split(line)
            if words[1:2] == ["test"]:
                flags = dict(pairwise(words))
                # Without a name of its own an evaluation is called after its kind of data.
                name_of_it = flags.get("--model.evaluation", flags["--data"])
                written.append((flags["--model.student"], name_of_it))
    assert len(written) == len(set(written))
