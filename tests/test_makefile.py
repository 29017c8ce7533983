"""The Makefile hands every variable on, and knows nothing itself."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from entres.experiment import TARGETS
from entres.verbs import VERBS

ROOT = Path(__file__).parent.parent
MAKEFILE = (ROOT / "Makefile").read_text()


def make(*words: str) -> list[str]:
    """The lines that a call of make prints, as from a shell of its own."""
    # Set-up is out of sight: the environment of a test may be another one. And a make that
    # runs the tests hands its level and its flags to every make below it.
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MFLAGS")
    }
    command = ["make", "--no-print-directory", "-o", ".venv/installed", *words]
    made = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    return made.stdout.splitlines()


def planned(*words: str) -> list[list[str]]:
    """The words of every line that a call of make would run."""
    return [shlex.split(line) for line in make("-n", *words)]


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
    assert make("test", "DRY_RUN=1", "EXTRA=-k some") == [".venv/bin/python -m pytest -k some"]
