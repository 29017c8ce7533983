"""An `entres` that notes its calls, and a small matrix for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from entres.configs import EXAMPLE_STUDENT
from entres.experiment.matrix import Matrix, read_matrix

# Seed 1 fails, and resnet26 sleeps until it is killed, once.
PROGRAM = """\
import os, sys, time
from pathlib import Path
calls = Path(os.environ["CALLS"])
words = " ".join(sys.argv[1:])
with calls.open("a") as file:
    print(words, file=file)
print("sweep", os.environ.get("WANDB_SWEEP_ID"))
hung = calls.with_name("calls.hung")
if "resnet26" in words and not hung.exists():
    hung.touch()
    time.sleep(60)
if "--seed_everything 1" in words:
    print("CUDA out of memory")
    sys.exit(2)
print("that went well")
"""

MATRIX = f"""\
experiment: {{data: photos}}
phases:
  training:
    - target: teacher
      with: {{epochs: 3}}
      over: {{backbone: [resnet18, test_resnet], seed: [0, 1]}}
  evaluation:
    - target: eval-attacks
      serves: [fig4a, fig4b]
      over: {{backbone: [test_resnet], seed: [0, 1], preset: strong}}
      with: {{epsilons: [4, 8], student: {EXAMPLE_STUDENT}}}
times:
  machine: a fast one
  seconds: {{teacher-resnet18-seed0: 100, teacher-test_resnet-seed0: 20}}
"""


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """Puts an entres in front of the real one; gives the words of its calls so far."""
    program = tmp_path / "entres" / "__main__.py"
    program.parent.mkdir()
    program.write_text(PROGRAM)
    log = tmp_path / "calls"
    monkeypatch.chdir(tmp_path)  # `python -m` looks there first
    monkeypatch.setenv("CALLS", str(log))
    return lambda: log.read_text().splitlines() if log.exists() else []


@pytest.fixture
def matrix_file(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(MATRIX)
    return path


@pytest.fixture
def matrix(matrix_file: Path) -> Matrix:
    return read_matrix(matrix_file)
