"""The Makefile hands every variable on, and knows nothing itself."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

from entres.experiment import TARGETS
from entres.verbs import VERBS

ROOT = Path(__file__).parent.parent
MAKEFILE = (ROOT / "Makefile").read_text()


def planned(*words: str) -> list[list[str]]:
    """The words of every line that a call of make would run."""
    # Set-up is out of sight: the environment of a test may be another one.
    command = ["make", "--no-print-directory", "-n", "-o", ".venv/installed", *words]
    made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [shlex.split(line) for line in made.stdout.splitlines()]


def test_it_is_short_and_names_no_model() -> None:
    assert len(MAKEFILE.splitlines()) <= 80
    for word in ("resnet", "mshp", "photos", "imagenet", "--data", "--model", "--trainer"):
        assert word not in MAKEFILE


def test_every_target_that_trains_or_evaluates_is_there() -> None:
    (line,) = (x for x in MAKEFILE.replace("\\\n", "").splitlines() if x.startswith("VERBS :="))
    targets = line.split()[2:]
    assert set(TARGETS) <= set(targets) <= set(VERBS)


def test_variables_become_flags() -> None:
    ((program, *words),) = planned("train", "BETA=0.08", "RECIPE=joint")
    assert program == ".venv/bin/entres"
    assert words[0] == "train"
    assert sorted(words[1:]) == ["--BETA=0.08", "--RECIPE=joint"]
    assert planned("train") == [[".venv/bin/entres", "train"]]
    # Which Python makes the environment is no flag.
    assert planned("train", "PYTHON=python3") == [[".venv/bin/entres", "train"]]


@pytest.mark.parametrize(
    "value",
    ["/data/my photos", "it's", 'a "b" c', "$HOME/x", "a;b|c&d", "--a.b 'c d' --e=[1, 2]", ""],
)
def test_any_value_arrives_as_it_was_typed(value: str) -> None:
    ((*_, word),) = planned("eval-clean", f"DATA_DIR={value}")
    assert word == f"--DATA_DIR={value}"


def test_a_dry_run_of_what_is_no_verb_prints_its_line() -> None:
    made = subprocess.run(
        ["make", "-o", ".venv/installed", "test", "DRY_RUN=1", "EXTRA=-k some"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert made.stdout.strip() == ".venv/bin/python -m pytest -k some"
