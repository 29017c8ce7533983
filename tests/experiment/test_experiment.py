"""What is asked for: defaults, text, and a sentence for every mistake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from entres import configs
from entres.experiment import Experiment, ExperimentError, options
from entres.experiment.suits import Suits


def test_what_suits_the_data_is_filled_in() -> None:
    assert Experiment().backbone == "test_resnet"
    assert Experiment(data="imagenet", data_dir="/data").backbone == "resnet50"
    assert Experiment(backbone="resnet18").backbone == "resnet18"
    assert Experiment(defense=("chambolle",)).defense == ("masked_chambolle",)


def test_text_numbers_and_lists_are_the_same() -> None:
    typed = Experiment.of(BETA="0.32", epsilons="2, 4 8", attack="noise pgd_e", LAMBDA="0.1")
    assert typed == Experiment(
        beta=0.32, epsilons=(2.0, 4.0, 8.0), attack=("noise", "pgd_e"), lambda_=0.1
    )
    assert Experiment.of(beta=0.32, epsilons=[2, 4, 8]) == Experiment.of(
        beta="0.32", epsilons="[2,4,8]"
    )
    # An empty variable of make is none.
    assert Experiment.of(EPOCHS="", WEIGHTS=None) == Experiment()
    assert Experiment.of(extra="--a.b 'c d' --e") == Experiment(extra=("--a.b", "c d", "--e"))


@pytest.mark.parametrize(
    "data", [d for d in configs.names("data") if d not in ("adversarial", "corrupted")]
)
def test_what_it_is_asked_for_again_with_is_the_same(data: str) -> None:
    """The words of ``flags`` come back as the experiment that they are of."""
    values: dict[str, Any] = {
        "data": data,
        "data_dir": "/my photos/it's",
        "beta": 0.5,
        "epsilons": (1.0, 0.5),
        "attack": ("pgd_e", "noise"),
        "extra": ("--trainer.precision", "bf16-mixed", "--a b"),
        "lambda_": 0.3,
        "seed": 3,
    }
    asked = Experiment(**values)
    words = asked.flags()
    names, texts = (words[i::2] for i in (0, 1))
    assert Experiment.of(**{n[2:]: t for n, t in zip(names, texts, strict=True)}) == asked
    assert "--codec" not in words


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"data": "imagent"}, "no data 'imagent': did you mean imagenet?"),
        ({"data": "adversarial"}, "no data 'adversarial'"),
        ({"codec": "mhsp"}, "no codec 'mhsp': did you mean mshp?"),
        ({"recipe": "joined"}, "no recipe 'joined': did you mean joint?"),
        ({"attack": "pgd-e"}, "no attack 'pgd-e': did you mean pgd_e?"),
        ({"defense": "masked_tvv"}, "no defense 'masked_tvv': did you mean masked_tv?"),
        ({"preset": "stronk"}, "no preset 'stronk': did you mean strong?"),
        ({"through": "unroled"}, "no through 'unroled': did you mean unrolled?"),
        ({"corruptions": "snoww"}, "no corruptions 'snoww': did you mean snow?"),
        ({"severities": "6"}, "no severities '6'"),
        ({"beta": "-1"}, "beta must be > 0, got -1"),
        ({"beta": "abc"}, "beta must be a number, got 'abc'"),
        ({"beta": "nan"}, "beta must be > 0, got nan"),
        ({"epochs": "2.5"}, "epochs must be a whole number, got '2.5'"),
        ({"epochs": "0"}, "epochs must be >= 1, got 0"),
        ({"epsilons": "abc"}, "epsilons must be a number, got 'abc'"),
        ({"epsilons": "4 4"}, "epsilons has 4 more than once"),
        ({"epsilons": "300"}, "epsilons must be > 0 and <= 255, got 300"),
        ({"attack": "./mine.yaml"}, "attack: no such file: ./mine.yaml"),
        ({"BETTA": "1"}, "no variable BETTA; did you mean BETA?"),
        ({"betta": "1"}, "no flag --betta; did you mean --beta?"),
        ({"seed": "-1"}, "seed must be >= 0, got -1"),
    ],
)
def test_a_mistake_is_one_sentence_with_the_nearest_right_name(
    values: dict[str, str], sentence: str
) -> None:
    with pytest.raises(ExperimentError) as error:
        Experiment.of(**values)
    assert str(error.value).startswith(sentence)
    assert "\n" not in str(error.value)


def test_every_option_says_what_it_is() -> None:
    assert all(option.about and option.group for option in options().values())


def test_a_file_of_ones_own_stands_for_a_name(tmp_path: Path) -> None:
    attack = tmp_path / "mine.yaml"
    attack.write_text("class_path: entres.attacks.PGDE\n")
    assert Experiment(attack=(str(attack),)).attack == (str(attack),)


def test_data_are_called_as_their_module_calls_them(tmp_path: Path) -> None:
    folder = tmp_path / "holidays"
    folder.mkdir()
    assert Experiment("imagefolder", str(folder)).data_name == "holidays"
    assert Experiment("imagenette", str(folder)).data_name == "imagenette"
    assert Experiment("imagenet-c", str(folder)).student_data_name == "imagenet"
    own = tmp_path / "own.yaml"
    own.write_text("class_path: entres.data.PhotosDataModule\n")
    assert Experiment(str(own)).data_name == "photos"


def test_what_suits_a_data_set_is_read_from_its_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert set(configs.names("experiment")) == set(configs.names("data")) - {
        "adversarial",
        "corrupted",
    }
    for data in configs.names("experiment"):
        assert Suits.of(data).backbone
        assert Suits.of(data).matrix in configs.names("matrix")
