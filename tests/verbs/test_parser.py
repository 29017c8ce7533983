"""Typed functions as verbs."""

from __future__ import annotations

import re
import sys
import warnings
from typing import Any

import pytest

from entres.cli import main
from entres.experiment import Experiment, ExperimentError
from entres.verbs import GROUPS, VERBS
from entres.verbs.parser import UsageError, read, summary


def verb(folder: str, *, share: float = 0.5, loud: bool = False, to: str | None = None) -> None:
    """Do something.

    Args:
        folder: where.
        share: of all,
            in [0, 1).
        loud: whether to shout.
        to: file.
    """


def of_files(*files: str, out: str = "runs") -> None:
    """Do something with files."""


def of_experiment(experiment: Experiment, dry_run: bool = False) -> None:
    """Do an experiment."""


def of_given(given: dict[str, Any], matrix: str = "paper") -> None:
    """Do many."""


def test_words_and_flags_are_typed() -> None:
    call = read("verb", verb, ["here", "--share", "0.25", "--loud"])
    assert call.arguments == {"folder": "here", "share": 0.25, "loud": True, "to": None}
    assert read("verb", verb, ["here", "--loud=false"]).arguments["loud"] is False
    assert read("verb", of_files, ["a b.png", "c.png"]).words == ("a b.png", "c.png")


def test_an_experiment_takes_its_options_and_flags_of_the_lines() -> None:
    words = ["--BETA=0.5", "--data", "photos", "--dry_run", "--trainer.precision", "bf16-mixed"]
    call = read("verb", of_experiment, words)
    assert call.arguments["dry_run"] is True
    assert call.arguments["experiment"] == Experiment(
        beta=0.5, extra=("--trainer.precision", "bf16-mixed")
    )
    given = read("verb", of_given, ["--EXTRA=--a.b 'c d'", "--beta", "1"]).arguments["given"]
    assert given == {"extra": "--a.b 'c d'", "beta": "1"}


@pytest.mark.parametrize(
    ("function", "words", "sentence"),
    [
        (verb, ["here", "--shaer", "1"], "no flag --shaer; did you mean --share?"),
        (verb, ["here", "--SHAER=1"], "no variable SHAER; did you mean SHARE?"),
        (verb, ["here", "there"], "verb: 'there' is one word too many"),
        (verb, [], "verb: the following arguments are required: folder"),
        (verb, ["here", "--share", "x"], "verb: argument --share: invalid float value: 'x'"),
        (verb, ["here", "--loud", "perhaps"], "verb: argument --loud: true or false was expected"),
        (of_experiment, ["--betta", "1"], "no flag --betta; did you mean --beta?"),
        (of_experiment, ["--BETTA=1"], "no variable BETTA; did you mean BETA?"),
    ],
)
def test_a_mistake_is_one_sentence(function: Any, words: list[str], sentence: str) -> None:
    with pytest.raises((UsageError, ExperimentError)) as error:
        read("verb", function, words)
    assert str(error.value).startswith(sentence)
    assert "\n" not in str(error.value)


def test_variables_of_other_targets_are_no_mistake() -> None:
    assert read("verb", of_files, ["--BETA=1"], ("beta",)).arguments == {"out": "runs"}
    with pytest.raises(UsageError, match="no flag --beta"):  # typed as a flag it is one
        read("verb", of_files, ["--beta", "1"], ("beta",))


def test_help_lists_every_verb_in_groups_and_every_flag(
    capsys: pytest.CaptureFixture[str],
) -> None:
    main(["--help"])
    text = capsys.readouterr().out
    assert "``" not in text
    for group, verbs in GROUPS.items():
        assert f"{group}:" in text
        assert all(f"  {name}" in text and summary(v) in text for name, v in verbs.items())
    with pytest.raises(SystemExit) as stop:
        main(["train", "--help"])
    assert not stop.value.code
    text = capsys.readouterr().out
    assert "--beta VALUE" in text
    assert "(default: 0.08)" in text


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_has_help_for_each_of_its_flags(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([name, "--help"])
    text = capsys.readouterr().out
    assert f"usage: entres {name}" in text
    # Nothing of the source: neither its marks of code nor what it calls nothing.
    assert "``" not in text
    assert "None" not in text
    assert not re.search(r":(class|func|meth|data|attr):", text)


def test_a_verb_that_there_is_none_of() -> None:
    with pytest.raises(SystemExit, match=r"entres: no verb 'trian': did you mean train\?"):
        main(["trian"])


def test_a_warning_is_one_line_without_its_place_in_the_source(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def warning() -> None:
        """Warn."""
        from lightning.pytorch.utilities import rank_zero_warn  # it has a format of its own

        rank_zero_warn("some files are\n  not read")

    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    monkeypatch.setitem(VERBS, "warn", warning)
    monkeypatch.setattr(sys, "argv", ["entres", "warn"])
    main()  # as a program of its own: in another one, warnings are that one's
    assert capsys.readouterr().err == "warning: some files are not read\n"
