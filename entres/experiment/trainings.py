"""The trainings of teachers and students, as lines of ``entres``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from entres import configs
from entres.card import read_card, short_backbone
from entres.experiment.experiment import Experiment
from entres.experiment.lines import (
    Step,
    batches,
    config_file,
    data_config,
    flag,
    if_missing,
    images,
    of_the_run,
    student_file,
    teacher_file,
)

ROBUST_STEPS = 5
"""Gradient steps, of one draw each, of an attack that is made anew for every training batch."""


def teacher(experiment: Experiment) -> list[Step]:
    """Train a teacher."""
    suits = experiment.suits
    if suits.teacher_start and (experiment.weights or experiment.backbone != suits.backbone):
        # Meant for another start.
        suits = replace(suits, teacher_start=None, teacher_epochs=None, teacher_rate=None)
    words = [
        "fit",
        *config_file("stage", "teacher"),
        *("--model.backbone", experiment.backbone),
        *flag("--model.teacher_weights", experiment.weights or suits.teacher_start),
        *flag("--model.optimizer.lr", suits.teacher_rate),
        *flag("--trainer.max_epochs", experiment.epochs or suits.teacher_epochs),
        *images(experiment),
        *batches("data", batch_size=suits.teacher_batch_size, train_size=suits.train_size),
        *of_the_run(experiment),
    ]
    return [Step(tuple(words), teacher_file(experiment))]


def prepare(experiment: Experiment) -> list[Step]:
    """What all students share: a teacher, where none is published."""
    return teacher(experiment) if experiment.trains_teacher else []


def train(experiment: Experiment) -> list[Step]:
    """Every stage of a student."""
    made = [if_missing(step) for step in prepare(experiment)]
    if experiment.recipe == "distilled" or (
        experiment.start is None and not _starts_from_package(experiment)
    ):
        made.append(_student_stage(experiment, "distilled"))
    elif (beta := experiment.start_beta) is not None:
        made.append(if_missing(_student_stage(replace(experiment, beta=beta), "distilled")))
    if experiment.recipe != "distilled":
        made.append(_student_stage(experiment, experiment.recipe))
    return made


def _student_stage(experiment: Experiment, recipe: str) -> Step:
    backbone, beta = short_backbone(experiment.backbone), experiment.beta
    words = ["fit", *config_file("stage", recipe)]
    own_file = backbone in configs.names("backbone")
    words += config_file("backbone", backbone) if own_file else []
    words += config_file("codec", experiment.codec)
    # A student of the paper may have been trained unlike the others.
    published = f"{backbone}-{experiment.codec}-beta{beta:g}"
    words += config_file("student", published) if published in configs.names("student") else []
    # Its file names the backbone with the tag of its weights, unless another is asked for.
    words += flag(
        "--model.backbone",
        None if own_file and experiment.backbone == backbone else experiment.backbone,
    )
    words += ["--model.beta", f"{beta:g}"]
    weights = experiment.weights
    if weights is None:
        trained = teacher_file(experiment) if experiment.trains_teacher else None
        # A backbone's file says where its weights are; one without a file has timm's.
        weights = str(trained) if trained else None if own_file else "hub"
    words += flag("--model.teacher_weights", weights)
    if recipe != "distilled":
        words += ["--model.student_weights", str(_start(experiment))]
    elif _starts_from_package(experiment):
        words += ["--model.student_weights", configs.shown(configs.EXAMPLE_STUDENT)]
    words += flag("--trainer.max_epochs", experiment.epochs or experiment.suits.student_epochs)
    attacked = experiment.robust is not None and recipe != "distilled"
    words += _attacked_training(experiment, recipe) if attacked else images(experiment)
    suits = experiment.suits
    words += batches(
        "data.data" if attacked else "data",
        batch_size=suits.student_batch_size,
        train_size=suits.train_size,
    )
    return Step((*words, *of_the_run(experiment)), student_file(experiment, recipe))


def _starts_from_package(experiment: Experiment) -> bool:
    """Whether the student that travels with the package is the start where none is named."""
    if experiment.start is not None or not experiment.suits.packaged_start:
        return False
    card = read_card(configs.EXAMPLE_STUDENT)
    return (experiment.backbone, experiment.codec) == (card.backbone, card.codec)


def _start(experiment: Experiment) -> Path:
    """The distilled student that the second stage starts from."""
    if _starts_from_package(experiment):
        return Path(configs.shown(configs.EXAMPLE_STUDENT))
    if experiment.start is None:
        return student_file(experiment, "distilled")
    if (beta := experiment.start_beta) is not None:
        return student_file(replace(experiment, beta=beta), "distilled")
    return Path(experiment.start)


def _attacked_training(experiment: Experiment, recipe: str) -> list[str]:
    assert experiment.robust is not None
    words = data_config("adversarial")
    # What a stage or backbone wants of the data is meant for the images inside. As in their files,
    # the data's own class comes after it, and takes what it knows.
    for kind, name in (("stage", recipe), ("backbone", short_backbone(experiment.backbone))):
        if name in configs.names(kind):
            wanted = configs.read(configs.find(kind, name)).get("data")
            words += _inside(wanted) if wanted else []
    words += images(experiment, "data.data")
    words += ["--data.attack", configs.shown(configs.find("attack", experiment.robust))]
    words += ["--data.epsilons_255", f"[{experiment.robust_epsilon:g}]"]
    if experiment.robust != "noise":
        words += ["--data.preset", configs.shown(configs.find("preset", "quick"))]
        words += ["--data.preset.steps", str(ROBUST_STEPS)]
        words += ["--data.preset.rate.samples", "1"]
    return words


def _inside(wanted: Mapping[str, Any]) -> list[str]:
    words = ["--data.data", str(wanted["class_path"])]
    for name, value in wanted["init_args"].items():
        words += [f"--data.data.{name}", str(value)]
    return words
