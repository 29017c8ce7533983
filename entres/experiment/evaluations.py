"""The evaluations of a student as lines of ``entres``, after its training if there is none yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from entres import configs
from entres.card import read_card
from entres.experiment import layout
from entres.experiment.experiment import PAPER_EPSILONS, RESIZES, STRENGTHS, Experiment
from entres.experiment.lines import (
    Step,
    config_file,
    data_config,
    flag,
    if_missing,
    images,
    kept,
    listed,
    of_the_run,
    stem,
    student_file,
)
from entres.experiment.same import TRAINER
from entres.experiment.trainings import train
from entres.results import SUMMARY


def eval_clean(experiment: Experiment) -> list[Step]:
    """Bit size and accuracy on clean images, from real bitstreams."""
    own = experiment.student is None
    with_teacher = own or experiment.weights is not None
    words = [
        *flag("--model.with_teacher", "true" if with_teacher else None),
        *images(experiment),
        *flag("--data.eval_limit_per_class", experiment.images_per_class),
    ]
    return _evaluation(experiment, ["clean"], words)


def eval_attacks(experiment: Experiment) -> list[Step]:
    """Noise, PGD-Acc and PGD-E over epsilon, or the attacks asked for."""
    attacks = experiment.attack or ("noise", "pgd_acc", "pgd_e")
    name = ["+".join(map(stem, experiment.attack)) or "attacks"]
    return _evaluation(
        experiment, [*name, *_attack_labels(experiment)], _attack(experiment, attacks)
    )


def eval_adaptive(experiment: Experiment) -> list[Step]:
    """The attacks that know of a defense: low-frequency and regional."""
    words = _attack(experiment, ("low_frequency", "regional"))
    return _evaluation(experiment, ["adaptive", *_attack_labels(experiment)], words)


def eval_corruptions(experiment: Experiment) -> list[Step]:
    """The fifteen corruptions of ImageNet-C, on the fly or from disk."""
    data = experiment.corrupted_data
    if data == "imagenet-c":
        experiment = replace(experiment, resize=None)  # they are used as they are stored
        folder = experiment.imagenet_c_dir or experiment.data_dir
        words = [*data_config(data), *flag("--data.data_dir", folder)]
        words += flag("--data.eval_limit_per_class", experiment.images_per_class)
    else:
        words = [*data_config("corrupted"), *images(experiment, "data.data")]
        words += flag("--data.data.eval_limit_per_class", experiment.images_per_class)
    words += flag("--data.corruptions", listed(experiment.corruptions))
    words += flag("--data.severities", listed(experiment.severities))
    labels = ["corruptions"]
    labels += ["+".join(experiment.corruptions)] if experiment.corruptions else []
    severities = experiment.severities
    labels += ["severity" + "+".join(map(str, severities))] if severities else []
    return _evaluation(experiment, labels, words, data)


def eval_defense(experiment: Experiment) -> list[Step]:
    """Before and after a defense, clean and attacked."""
    strengths = () if experiment.lambda_ is None else (experiment.lambda_,)
    return _defended(experiment, "defense", strengths)


def sweep_lambda(experiment: Experiment) -> list[Step]:
    """A defense over its strength, and the knee of the curve.

    An attack goes through one defense of one strength, so that each of these then has an evaluation
    of its own: the one that eval-defense makes.
    """
    through = experiment.through
    if set(through) <= {"oblivious"}:
        planned = [_defended(experiment, "sweep", experiment.lambdas)]
    else:
        # A frontier begins at the attack that knows of no defense.
        through = through if "oblivious" in through else ("oblivious", *through)
        planned = [
            _defended(
                replace(experiment, defense=(defense,), through=through), "defense", (strength,)
            )
            for defense in experiment.defense
            for strength in experiment.lambdas
        ]
    evaluations = [steps[-1] for steps in planned]
    if len(evaluations) > 1:
        evaluations = [kept(step) for step in evaluations]
    folders = [str(step.makes.parent) for step in evaluations if step.makes]
    return [*planned[0][:-1], *evaluations, Step(("tradeoff", *folders))]


def eval_link(experiment: Experiment) -> list[Step]:
    """Devices on one uplink: attacked, in snow, behind a defense, and what the others notice.

    Sizes of this student that eval-defense or eval-corruptions have measured already are taken as
    they are.
    """
    (*before, attacked) = eval_defense(experiment)
    attacked = kept(attacked)
    in_snow = replace(
        experiment,
        corruptions=experiment.corruptions or ("snow",),
        severities=experiment.severities or (5,),
    )
    corrupted = kept(eval_corruptions(in_snow)[-1])
    folders = [str(step.makes.parent) for step in (attacked, corrupted) if step.makes]
    link = Step(("link", *folders, "--seed", str(experiment.seed)))
    return [*before, attacked, corrupted, link]


def maps(experiment: Experiment) -> list[Step]:
    """Bit-rate and total-variation maps, and where attacks add their bits."""
    words = [
        *images(experiment),
        *flag("--data.eval_limit_per_class", experiment.images_per_class),
        *("--maps", "entres.callbacks.Maps", "--maps.seed", str(experiment.seed)),
    ]
    return _evaluation(experiment, ["maps"], words)


def _defended(experiment: Experiment, name: str, strengths: Sequence[float]) -> list[Step]:
    attacks = experiment.attack or ("pgd_e",)
    files = [configs.shown(configs.find("defense", d)) for d in experiment.defense]
    threshold, budget = experiment.threshold_kib, experiment.budget_kib
    words = [
        *_attack(experiment, attacks),
        *("--defense", listed(files) or ""),
        *flag("--defense_threshold_kib", None if threshold is None else f"{threshold:g}"),
        *flag("--defense_strengths", listed(strengths)),
        *flag("--budget_kib", None if budget is None else f"{budget:g}"),
        *flag("--data.through", listed(experiment.through)),
    ]
    labels = [name, "+".join(map(stem, experiment.defense))]
    labels += ["+".join(map(stem, experiment.attack))] if experiment.attack else []
    labels += ["through-" + "+".join(experiment.through)] if experiment.through else []
    labels += [] if threshold is None else [f"from{threshold:g}KiB"]
    labels += [] if budget is None else [f"budget{budget:g}KiB"]
    if tuple(strengths) != (STRENGTHS if name == "sweep" else ()):
        labels.append("lambda" + "+".join(f"{s:g}" for s in strengths))
    return _evaluation(experiment, [*labels, *_attack_labels(experiment)], words)


def _attack(experiment: Experiment, attacks: Sequence[str]) -> list[str]:
    files = [configs.shown(configs.find("attack", attack)) for attack in attacks]
    return [
        *data_config("adversarial"),
        *images(experiment, "data.data"),
        *flag("--data.data.eval_limit_per_class", experiment.images_per_class),
        *("--data.attack", listed(files) or ""),
        *("--data.epsilons_255", listed(experiment.epsilons) or ""),
        *("--data.preset", configs.shown(configs.find("preset", experiment.preset))),
        *flag("--data.preset.steps", experiment.steps),
    ]


def _attack_labels(experiment: Experiment) -> list[str]:
    asked = experiment.epsilons
    labels = [] if asked == PAPER_EPSILONS else ["eps" + "+".join(f"{e:g}" for e in asked)]
    labels.append(stem(experiment.preset))
    return labels if experiment.steps is None else [*labels, f"{experiment.steps}-steps"]


def _evaluation(
    experiment: Experiment, labels: Sequence[str], words: Sequence[str], data: str | None = None
) -> list[Step]:
    """The training of the student, if it has none, and the line that evaluates it.

    ``labels`` name what was asked for and is not the default; what every evaluation may be asked
    for is added here, so that no two that differ share a folder.
    """
    few, seed = experiment.images_per_class, experiment.seed
    labels = [*labels, *([] if few is None else [f"{few}-per-class"])]
    resize = experiment.resize
    labels += [] if resize is None else [resize if resize in RESIZES else f"resize{resize}"]
    labels += [f"seed{seed}"] if seed and experiment.student else []
    # The weights of a teacher say that it sees the images, too; where it has trained the student,
    # clean images are evaluated beside it anyway.
    beside = experiment.weights and (experiment.student or labels[0] != "clean")
    labels += ["teacher"] if beside else []
    labels += _labels_of(experiment.extra)
    name = layout.folder_name("-".join(labels))
    file = Path(experiment.student) if experiment.student else student_file(experiment)
    line = [
        "test",
        *config_file("stage", "evaluation"),
        *("--model.student", str(file)),
        *flag("--model.teacher_weights", experiment.weights),
        *("--model.evaluation", name),
        *words,
        *of_the_run(experiment),
    ]
    evaluated_on = experiment.data_name if data in (None, experiment.data) else str(data)
    folder = _evaluation_folder(experiment, file, evaluated_on, name)
    before = [] if experiment.student else [if_missing(step) for step in train(experiment)]
    # A student that is there needs nothing that it was made of.
    before = before if before and before[-1].is_needed else []
    return [*before, Step(tuple(line), folder / SUMMARY)]


def _labels_of(extra: Sequence[str]) -> list[str]:
    """What further flags are in a name; those that change no result are not."""
    flags: list[list[str]] = []
    for word in extra:
        if word.startswith("--"):
            flags.append(word.lstrip("-").split("=", 1))
        elif flags:
            flags[-1].append(word)
    return [
        "=".join(flag).replace("/", "_")
        for flag in flags
        if not flag[0].startswith("trainer.") or flag[0].removeprefix("trainer.") in TRAINER
    ]


def _evaluation_folder(experiment: Experiment, file: Path, data: str, name: str) -> Path:
    if experiment.student is None and data == experiment.student_data_name:
        return file.parent / "eval" / name
    if not file.is_file():  # to be trained yet, on other data than these
        return layout.run_folder(experiment.out, data, file.parent.name) / "eval" / name
    return layout.evaluation_folder(experiment.out, data, file, read_card(file), name)
