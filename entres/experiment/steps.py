"""What a target comes to: lines of ``entres``, in order, as data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from entres import configs
from entres.experiment.evaluations import (
    eval_adaptive,
    eval_attacks,
    eval_clean,
    eval_corruptions,
    eval_defense,
    eval_link,
    maps,
    sweep_lambda,
)
from entres.experiment.experiment import (
    STRENGTHS,
    UNITS,
    WITHOUT_GRADIENT,
    Experiment,
    ExperimentError,
)
from entres.experiment.lines import Step, student_file
from entres.experiment.trainings import prepare, teacher, train


def steps(experiment: Experiment, target: str) -> list[Step]:
    """The steps of a target, those of the trainings that it needs first.

    Args:
        experiment: what is asked for.
        target: a name of :data:`TARGETS`.

    Raises:
        ExperimentError: if there is no such target, or the experiment does not fit it.
    """
    if target not in TARGETS:
        raise ExperimentError(configs.unknown("target", target, list(TARGETS)))
    _check(experiment, target)
    return TARGETS[target](experiment)


def demo(experiment: Experiment) -> list[Step]:
    """What it is all about: a trained student shown, then a small one trained and evaluated."""
    return [Step(("show", "--out", experiment.out)), *eval_clean(experiment)]


def check_folder(experiment: Experiment) -> None:
    """Check that the folder of the data is given, where they need one, and only where they do.

    Raises:
        EntresError: if it is not, or they take none.
    """
    experiment.suits.check_folder(experiment.data, experiment.data_dir)
    if experiment.suits.needs_folder and experiment.data_dir is None:
        hub = ", or its name on the hub" if experiment.suits.folder_argument == "path" else ""
        raise ExperimentError(f"data={experiment.data} needs data_dir=/path/to/the/data{hub}")


def _check(experiment: Experiment, target: str) -> None:
    """What one value alone does not show."""
    suits, data = experiment.suits, experiment.data
    if suits.targets is not None and target not in suits.targets:
        raise ExperimentError(f"data={data} is for {', '.join(suits.targets)}, not for {target}")
    check_folder(experiment)
    _check_through(experiment, target)
    if target == "sweep-lambda" and experiment.lambdas == STRENGTHS:
        for defense in experiment.defense:
            if unit := UNITS.get(defense):
                raise ExperimentError(f"the strength of {defense} is {unit}: give lambdas=...")
    if experiment.recipe == "distilled":
        for name in ("start", "robust"):
            if getattr(experiment, name) is not None:
                raise ExperimentError(
                    f"{name} is for the second stage: recipe=joint or frozen-encoder"
                )
    for name in ("start", "student"):
        file = getattr(experiment, name)
        is_beta = name == "start" and experiment.start_beta is not None
        if file is not None and not is_beta and not Path(file).is_file():
            raise ExperimentError(f"{name}: no such file: {file}")
    if suits.students_of is not None and experiment.student is None:
        file = student_file(experiment)
        if not file.is_file():
            raise ExperimentError(
                f"no student at {file}: {data} has nothing to train on; train with "
                f"data={suits.students_of}, or give student=FILE"
            )


def _check_through(experiment: Experiment, target: str) -> None:
    """What an evaluation would refuse when its student is trained at last."""
    knows = [way for way in experiment.through if way != "oblivious"]
    if not knows or target not in ("eval-defense", "sweep-lambda", "eval-link"):
        return
    defenses = [*experiment.defense, *(["budget"] if experiment.budget_kib is not None else [])]
    if len(defenses) > 1 and (target != "sweep-lambda" or experiment.budget_kib is not None):
        raise ExperimentError(
            f"an attack goes through one defense ({knows[0]}), not through {', '.join(defenses)}: "
            "name one; of several, sweep-lambda evaluates each by itself"
        )
    for defense in sorted(set(defenses) & set(WITHOUT_GRADIENT)):
        if ways := [way for way in knows if way != "bpda"]:
            raise ExperimentError(f"no gradient passes {defense}: through=bpda, not {ways[0]}")


TARGETS: dict[str, Callable[[Experiment], list[Step]]] = {
    "demo": demo,
    "train": train,
    "teacher": teacher,
    "prepare": prepare,
    "eval-clean": eval_clean,
    "eval-attacks": eval_attacks,
    "eval-adaptive": eval_adaptive,
    "eval-corruptions": eval_corruptions,
    "eval-defense": eval_defense,
    "sweep-lambda": sweep_lambda,
    "eval-link": eval_link,
    "maps": maps,
}
"""What is done with an experiment, by name."""
