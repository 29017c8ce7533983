"""What counts as another setting, and what does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from entres.experiment.same import asked_for, differences, read_asked, write_asked

SAVED: dict[str, Any] = {
    "seed_everything": 0,
    "out": "runs",
    "classes": {"name": "photos", "classes": ["a", "b"]},
    "trainer": {"max_epochs": 2, "precision": None, "devices": "auto", "limit_train_batches": 1.0},
    "model": {
        "class_path": "entres.stages.JointFinetuning",
        "init_args": {
            "beta": 0.08,
            "teacher_weights": "runs/teacher/teacher.safetensors",
            "optimizer": {"class_path": "torch.optim.Adam", "init_args": {"lr": 0.001}},
        },
    },
    "data": {
        "class_path": "entres.conditions.AdversarialDataModule",
        "init_args": {
            "attack": [{"class_path": "entres.attacks.PGDE", "init_args": {"norm": None}}],
            "clean": True,
            "data": {
                "class_path": "entres.data.PhotosDataModule",
                "init_args": {"seed": 0, "num_workers": 0, "eval_limit_per_class": None},
            },
        },
    },
}


def changed(*path: str | int, to: Any) -> dict[str, Any]:
    asked: Any = yaml.safe_load(yaml.safe_dump(SAVED))
    at = asked
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = to
    return asked  # type: ignore[no-any-return]


def compared(asked: dict[str, Any], kind: str = "training") -> list[str]:
    return differences(asked_for(SAVED, kind), asked_for(asked, kind))


MODEL, ATTACK = ("model", "init_args"), ("data", "init_args", "attack")
INSIDE = ("data", "init_args", "data", "init_args")
L2 = {"class_path": "entres.attacks.L2"}
SGD = {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.001, "momentum": 0.9}}


@pytest.mark.parametrize(
    ("path", "to", "found"),
    [
        (("seed_everything",), 1, "seed_everything: 0 there, 1 now"),
        ((*MODEL, "beta"), 0.16, "model.beta: 0.08 there, 0.16 now"),
        ((*MODEL, "optimizer", "init_args", "lr"), 0.01, "model.optimizer.lr: 0.001 there, 0.01"),
        ((*MODEL, "optimizer"), SGD, "model.optimizer.class_path: torch.optim.Adam there, torch"),
        ((*MODEL, "teacher_weights"), "hub", "model.teacher_weights: OUT/teacher/teacher.saf"),
        ((*ATTACK, 0, "init_args", "norm"), L2, "data.attack[0].norm: null there, entres.attacks"),
        ((*ATTACK, 0, "class_path"), "entres.attacks.PGDAcc", "data.attack[0].class_path: entres"),
        (ATTACK, [], "data.attack: [{"),
        (("trainer", "max_epochs"), 3, "trainer.max_epochs: 2 there, 3 now"),
        (("trainer", "limit_train_batches"), 1, "trainer.limit_train_batches: 1.0 there, 1 now"),
        (("trainer", "precision"), "bf16-mixed", "trainer.precision: null there, bf16-mixed now"),
        (("classes", "classes"), ["a", "c"], "classes.classes[1]: b there, c now"),
    ],
)
def test_a_change_of_the_training_is_found(
    path: tuple[str | int, ...], to: Any, found: str
) -> None:
    (difference,) = compared(changed(*path, to=to))
    assert difference.startswith(found)


@pytest.mark.parametrize(
    ("path", "to"),
    [
        (("seed_everything",), 0),
        (("trainer", "precision"), "32-true"),
        (("trainer", "devices"), 4),
        (("trainer", "logger"), False),
        ((*INSIDE, "num_workers"), 3),
        ((*INSIDE, "eval_limit_per_class"), 3),
        (("data", "init_args", "clean"), False),
        ((*MODEL, "of_a_later_version"), 1),
    ],
)
def test_what_changes_no_training_is_not(path: tuple[str | int, ...], to: Any) -> None:
    assert not compared(changed(*path, to=to))


def test_what_changes_an_evaluation_is_another_thing() -> None:
    assert compared(changed(*INSIDE, "eval_limit_per_class", to=3), "evaluation")
    assert compared(changed("data", "init_args", "clean", to=False), "evaluation")
    assert not compared(changed(*INSIDE, "num_workers", to=3), "evaluation")


JPEG = {"class_path": "entres.defenses.JPEG", "init_args": {"strength": 75}}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("defense", JPEG),
        ("defense_strengths", [0.1]),
        ("defense_threshold_kib", 4.0),
        ("budget_kib", 4.0),
        ("maps", {"class_path": "entres.callbacks.Maps"}),
        ("control", True),
    ],
)
def test_what_is_given_where_nothing_was_is_another_thing(name: str, value: Any) -> None:
    with_it, without = ({**SAVED, name: each} for each in (value, None))
    asked = [asked_for(each, "evaluation") for each in (with_it, without, SAVED)]
    assert [d.partition(":")[0] for d in differences(asked[0], asked[1])] == [name]
    assert [d.partition(":")[0] for d in differences(asked[2], asked[0])] == [name]
    assert not differences(asked[1], asked[2])
    # As earlier versions wrote it down.
    earlier = {key: each for key, each in asked[1].items() if each is not None}
    assert not differences(earlier, asked[1])
    assert differences(earlier, asked[0])


def test_a_control_that_is_not_asked_for_is_none() -> None:
    assert not differences({"control": False}, {})


def test_a_folder_of_runs_may_move() -> None:
    asked = changed(*MODEL, "teacher_weights", to="/data/runs/teacher/teacher.safetensors")
    assert not compared({**asked, "out": "/data/runs/"})
    assert compared({**asked, "out": "/data"})


def test_what_was_asked_for_is_written_and_read(tmp_path: Path) -> None:
    assert read_asked(tmp_path) is None
    asked = asked_for(SAVED, "training")
    write_asked(tmp_path, asked)
    found = read_asked(tmp_path)
    assert found is not None
    assert not differences(found, asked)
    (tmp_path / "asked.json").write_text("{")
    assert read_asked(tmp_path) is None
