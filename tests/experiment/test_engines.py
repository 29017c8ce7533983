from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from entres.cli import main
from entres.experiment.matrix import read_matrix


@pytest.fixture
def script(matrix_file: Path, tmp_path: Path) -> Path:
    path = tmp_path / "cells.sbatch"
    words = ["reproduce", "--matrix", str(matrix_file), "--extra", "--trainer.x 'a b'"]
    main([*words, "--slurm", str(path)])
    return path


def test_an_array_per_phase_that_waits_for_the_one_before(script: Path) -> None:
    head = [line for line in script.read_text().splitlines() if "sbatch --parsable" in line]
    assert head == [
        f"#   job0=$(sbatch --parsable --array=0-3 {script} training)",
        "#   job1=$(sbatch --parsable --dependency=afterany:$job0 --array=0-1 "
        f"{script} evaluation)",
    ]


def test_a_task_runs_its_cell(script: Path, matrix_file: Path) -> None:
    text = script.read_text()
    # Python is not started: the words that it would have got are printed.
    script.write_text(text.replace("esac\n", "esac\nprintf '%s\\n' "))

    def task(phase: str, number: int) -> subprocess.CompletedProcess[str]:
        environment = {"SLURM_ARRAY_TASK_ID": str(number), "PATH": "/usr/bin:/bin"}
        words = ["bash", str(script), phase]
        return subprocess.run(words, env=environment, capture_output=True, text=True, check=False)

    words = task("evaluation", 1).stdout.splitlines()
    assert words[1:] == [
        *("-m", "entres", "reproduce", "--extra=--trainer.x 'a b'", f"--matrix={matrix_file}"),
        *("--cell", "eval-attacks-test_resnet-seed1-strong"),
    ]
    assert "no phase typo; there is: training evaluation" in task("typo", 0).stderr


def test_a_sweep_is_a_grid_over_the_cells(matrix_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    words = ["reproduce", "--matrix", str(matrix_file), "--sweep", str(path)]
    main([*words, "--phase", "training"])
    sweep = yaml.safe_load(path.read_text())
    names = [cell.name for cell in read_matrix(matrix_file).phases["training"]]
    assert sweep["method"] == "grid"
    assert sweep["parameters"] == {"cell": {"values": names}}
    assert sweep["command"][-1] == "${args}"
    main(words)
    assert "run one after the other: training, evaluation" in path.read_text()


def test_axes_of_a_sweep_go_on_to_its_cells(tmp_path: Path) -> None:
    path = tmp_path / "cells.sbatch"
    main(["sweep", "--betas", "0.1 0.2", "--codecs", "fp", "--slurm", str(path)])
    text = path.read_text()
    assert "entres sweep --betas=0.1,0.2 --codecs=fp --backbones=test_resnet" in text
    assert "train-test_resnet-fp-beta0.1" in text
