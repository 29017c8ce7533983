"""A make that notes its calls, and a small matrix for it."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from entres.matrix import Matrix, read_matrix

MAKE = """\
#!/bin/bash
# BETA=0.32 fails, and `hang` sleeps until it is killed, once.
echo "$*" >> "$CALLS"
echo "environment EPOCHS=$EPOCHS MAKEFLAGS=$MAKEFLAGS"
case "$*" in
*hang*) if [ ! -e "$CALLS.hung" ]; then touch "$CALLS.hung"; sleep 60 & wait; fi ;;
*BETA=0.32*) echo "CUDA out of memory"; echo "make: *** [Makefile:1: x] Error 1"; exit 2 ;;
esac
echo "that went well"
"""

MATRIX = """\
variables: {DATA: photos}
phases:
  training:
    - target: train
      variables: {EPOCHS: 3}
      over: {CODEC: [fp, mshp], BETA: [0.08, 0.32]}
  evaluation:
    - target: eval-attacks
      serves: [fig4a, fig4b]
      over: {CODEC: [mshp], BETA: [0.08, 0.32], PRESET: strong}
      variables: {EPSILONS: 4 8, START: "$OUT/${CODEC}/student"}
times:
  machine: a fast one
  seconds: {train-fp-beta0.08: 100, train-mshp-beta0.08: 20}
"""


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """Puts a make in front of the real one; gives the words of its calls so far."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "make"
    program.write_text(MAKE)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    log = tmp_path / "calls"
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
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
