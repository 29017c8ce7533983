"""What a target comes to: lines of ``entres``, in order, as data."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from entres import configs
from entres.card import read_card, short_backbone
from entres.experiment import layout
from entres.experiment.experiment import (
    PAPER_EPSILONS,
    STRENGTHS,
    Experiment,
    ExperimentError,
)
from entres.experiment.same import TRAINER

ROBUST_STEPS = 5
"""Gradient steps, of one draw each, of an attack that is made anew for every training batch."""


@dataclass(frozen=True)
class Step:
    """One line: a process of its own.

    Attributes:
        words: what follows ``entres``.
        makes: the file that it leaves.
        if_missing: whether it is left out where that file is. Any other step runs in any case:
            a training that is finished compares itself with what is asked for.
    """

    words: tuple[str, ...]
    makes: Path | None = None
    if_missing: bool = False

    @property
    def line(self) -> str:
        """The line, ready to be copied."""
        return shlex.join(("entres", *self.words))

    @property
    def is_needed(self) -> bool:
        """Whether it has to run, as things are now."""
        return not (self.if_missing and self.makes is not None and self.makes.is_file())


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


# --- training -------------------------------------------------------------------------------------


def teacher(experiment: Experiment) -> list[Step]:
    """Train a teacher."""
    suits = experiment.suits
    if suits.teacher_start and (experiment.weights or experiment.backbone != suits.backbone):
        # Meant for another start.
        suits = replace(suits, teacher_start=None, teacher_epochs=None, teacher_rate=None)
    words = [
        "fit",
        *_config("stage", "teacher"),
        *("--model.backbone", experiment.backbone),
        *_flag("--model.teacher_weights", experiment.weights or suits.teacher_start),
        *_flag("--model.optimizer.lr", suits.teacher_rate),
        *_flag("--trainer.max_epochs", experiment.epochs or suits.teacher_epochs),
        *_images(experiment),
        *_small("data", batch_size=suits.teacher_batch_size, train_size=suits.train_size),
        *_run(experiment),
    ]
    return [Step(tuple(words), _teacher_file(experiment))]


def prepare(experiment: Experiment) -> list[Step]:
    """What all students share: a teacher, where none is published."""
    return teacher(experiment) if experiment.trains_teacher else []


def train(experiment: Experiment) -> list[Step]:
    """Every stage of a student."""
    made = [_if_missing(step) for step in prepare(experiment)]
    if experiment.recipe == "distilled" or (
        experiment.start is None and not _starts_from_package(experiment)
    ):
        made.append(_student_stage(experiment, "distilled"))
    elif (beta := experiment.start_beta) is not None:
        made.append(_if_missing(_student_stage(replace(experiment, beta=beta), "distilled")))
    if experiment.recipe != "distilled":
        made.append(_student_stage(experiment, experiment.recipe))
    return made


def _student_stage(experiment: Experiment, recipe: str) -> Step:
    backbone, beta = short_backbone(experiment.backbone), experiment.beta
    words = ["fit", *_config("stage", recipe)]
    own_file = backbone in configs.names("backbone")
    words += _config("backbone", backbone) if own_file else []
    words += _config("codec", experiment.codec)
    # A student of the paper may have been trained unlike the others.
    published = f"{backbone}-{experiment.codec}-beta{beta:g}"
    words += _config("student", published) if published in configs.names("student") else []
    # Its file names the backbone with the tag of its weights, unless another is asked for.
    words += _flag(
        "--model.backbone",
        None if own_file and experiment.backbone == backbone else experiment.backbone,
    )
    words += ["--model.beta", f"{beta:g}"]
    weights = experiment.weights
    if weights is None:
        trained = _teacher_file(experiment) if experiment.trains_teacher else None
        # A backbone's file says where its weights are; one without a file has timm's.
        weights = str(trained) if trained else None if own_file else "hub"
    words += _flag("--model.teacher_weights", weights)
    if recipe != "distilled":
        words += ["--model.student_weights", str(_start(experiment))]
    elif _starts_from_package(experiment):
        words += ["--model.student_weights", configs.shown(configs.EXAMPLE_STUDENT)]
    words += _flag("--trainer.max_epochs", experiment.epochs or experiment.suits.student_epochs)
    attacked = experiment.robust is not None and recipe != "distilled"
    words += _attacked_training(experiment, recipe) if attacked else _images(experiment)
    suits = experiment.suits
    words += _small(
        "data.data" if attacked else "data",
        batch_size=suits.student_batch_size,
        train_size=suits.train_size,
    )
    return Step((*words, *_run(experiment)), student_file(experiment, recipe))


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
    words = _data_config("adversarial")
    # What a stage or backbone wants of the data is meant for the images inside. As in their files,
    # the data's own class comes after it, and takes what it knows.
    for kind, name in (("stage", recipe), ("backbone", short_backbone(experiment.backbone))):
        if name in configs.names(kind):
            wanted = configs.read(configs.find(kind, name)).get("data")
            words += _inside(wanted) if wanted else []
    words += _images(experiment, "data.data")
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


# --- evaluation -----------------------------------------------------------------------------------


def eval_clean(experiment: Experiment) -> list[Step]:
    """Bit size and accuracy on clean images, from real bitstreams."""
    own = experiment.student is None
    with_teacher = own or experiment.weights is not None
    words = [
        *_flag("--model.with_teacher", "true" if with_teacher else None),
        *_images(experiment),
        *_flag("--data.eval_limit_per_class", experiment.images_per_class),
    ]
    return _evaluation(experiment, ["clean"], words)


def eval_attacks(experiment: Experiment) -> list[Step]:
    """Noise, PGD-Acc and PGD-E over epsilon, or the attacks asked for."""
    attacks = experiment.attack or ("noise", "pgd_acc", "pgd_e")
    name = ["+".join(map(_stem, experiment.attack)) or "attacks"]
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
        folder = experiment.imagenet_c_dir or experiment.data_dir
        words = [*_data_config(data), *_flag("--data.data_dir", folder)]
        words += _flag("--data.eval_limit_per_class", experiment.images_per_class)
    else:
        words = [*_data_config("corrupted"), *_images(experiment, "data.data")]
        words += _flag("--data.data.eval_limit_per_class", experiment.images_per_class)
    words += _flag("--data.corruptions", _list(experiment.corruptions))
    words += _flag("--data.severities", _list(experiment.severities))
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
    """A defense over its strength, and the knee of the curve."""
    (*before, evaluation) = _defended(experiment, "sweep", experiment.lambdas)
    assert evaluation.makes is not None
    return [*before, evaluation, Step(("tradeoff", str(evaluation.makes.parent)))]


def eval_link(experiment: Experiment) -> list[Step]:
    """Devices on one uplink: attacked, in snow, behind a defense, and what the others notice."""
    (*before, attacked) = eval_defense(experiment)
    in_snow = replace(
        experiment,
        corruptions=experiment.corruptions or ("snow",),
        severities=experiment.severities or (5,),
    )
    corrupted = eval_corruptions(in_snow)[-1]
    folders = [str(step.makes.parent) for step in (attacked, corrupted) if step.makes]
    link = Step(("link", *folders, "--seed", str(experiment.seed)))
    return [*before, attacked, corrupted, link]


def maps(experiment: Experiment) -> list[Step]:
    """Bit-rate and total-variation maps, and where attacks add their bits."""
    words = [
        *_images(experiment),
        *_flag("--data.eval_limit_per_class", experiment.images_per_class),
        *("--maps", "entres.callbacks.Maps", "--maps.seed", str(experiment.seed)),
    ]
    return _evaluation(experiment, ["maps"], words)


def _defended(experiment: Experiment, name: str, strengths: Sequence[float]) -> list[Step]:
    attacks = experiment.attack or ("pgd_e",)
    files = [configs.shown(configs.find("defense", d)) for d in experiment.defense]
    threshold, budget = experiment.threshold_kib, experiment.budget_kib
    words = [
        *_attack(experiment, attacks),
        *("--defense", _list(files) or ""),
        *_flag("--defense_threshold_kib", None if threshold is None else f"{threshold:g}"),
        *_flag("--defense_strengths", _list(strengths)),
        *_flag("--budget_kib", None if budget is None else f"{budget:g}"),
        *_flag("--data.through", _list(experiment.through)),
    ]
    labels = [name, "+".join(map(_stem, experiment.defense))]
    labels += ["+".join(map(_stem, experiment.attack))] if experiment.attack else []
    labels += ["through-" + "+".join(experiment.through)] if experiment.through else []
    labels += [] if threshold is None else [f"from{threshold:g}KiB"]
    labels += [] if budget is None else [f"budget{budget:g}KiB"]
    if tuple(strengths) != (STRENGTHS if name == "sweep" else ()):
        labels.append("lambda" + "+".join(f"{s:g}" for s in strengths))
    return _evaluation(experiment, [*labels, *_attack_labels(experiment)], words)


def _attack(experiment: Experiment, attacks: Sequence[str]) -> list[str]:
    files = [configs.shown(configs.find("attack", attack)) for attack in attacks]
    return [
        *_data_config("adversarial"),
        *_images(experiment, "data.data"),
        *_flag("--data.data.eval_limit_per_class", experiment.images_per_class),
        *("--data.attack", _list(files) or ""),
        *("--data.epsilons_255", _list(experiment.epsilons) or ""),
        *("--data.preset", configs.shown(configs.find("preset", experiment.preset))),
        *_flag("--data.preset.steps", experiment.steps),
    ]


def _attack_labels(experiment: Experiment) -> list[str]:
    asked = experiment.epsilons
    labels = [] if asked == PAPER_EPSILONS else ["eps" + "+".join(f"{e:g}" for e in asked)]
    labels.append(_stem(experiment.preset))
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
    labels += [f"seed{seed}"] if seed and experiment.student else []
    labels += ["teacher"] if experiment.weights and labels[0] != "clean" else []
    labels += _labels_of(experiment.extra)
    name = layout.folder_name("-".join(labels))
    file = Path(experiment.student) if experiment.student else student_file(experiment)
    line = [
        "test",
        *_config("stage", "evaluation"),
        *("--model.student", str(file)),
        *_flag("--model.teacher_weights", experiment.weights),
        *("--model.evaluation", name),
        *words,
        *_run(experiment),
    ]
    evaluated_on = experiment.data_name if data in (None, experiment.data) else str(data)
    folder = _evaluation_folder(experiment, file, evaluated_on, name)
    before = [] if experiment.student else [_if_missing(step) for step in train(experiment)]
    # A student that is there needs nothing that it was made of.
    before = before if before and before[-1].is_needed else []
    return [*before, Step(tuple(line), folder / "summary.json")]


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


# --- what they share ------------------------------------------------------------------------------


def recipe_name(experiment: Experiment, recipe: str | None = None) -> str:
    """A recipe with what is special about its batches: ``joint``, ``joint-pgd_e8``."""
    recipe = recipe or experiment.recipe
    if experiment.robust is None or recipe == "distilled":
        return recipe
    return f"{recipe}-{_stem(experiment.robust)}{experiment.robust_epsilon:g}"


def student_file(experiment: Experiment, recipe: str | None = None) -> Path:
    """The file of the experiment's student, or of that of an earlier stage."""
    return layout.student_file(
        experiment.out,
        experiment.student_data_name,
        experiment.backbone,
        experiment.codec,
        experiment.beta,
        recipe_name(experiment, recipe),
        experiment.seed,
    )


def _teacher_file(experiment: Experiment) -> Path:
    of = (experiment.student_data_name, experiment.backbone, experiment.seed)
    return layout.teacher_file(experiment.out, *of)


def _if_missing(step: Step) -> Step:
    return Step(step.words, step.makes, if_missing=True)


def _config(kind: str, name: str) -> list[str]:
    return ["--config", configs.shown(configs.find(kind, name))]


def _data_config(name: str, flag: str = "data") -> list[str]:
    return [f"--{flag}", configs.shown(configs.find("data", name))]


def _images(experiment: Experiment, flag: str = "data") -> list[str]:
    """Where the images come from: as they are, or inside of what changes them."""
    words = _data_config(experiment.data, flag)
    argument = experiment.suits.folder_argument
    return [*words, *_flag(f"--{flag}.{argument}", experiment.data_dir)]


def _small(flag: str, **sizes: int | None) -> list[str]:
    """Sizes of training batches that suit the data."""
    return [word for name, size in sizes.items() for word in _flag(f"--{flag}.{name}", size)]


def _run(experiment: Experiment) -> list[str]:
    return [
        *("--out", experiment.out),
        *("--seed_everything", str(experiment.seed)),
        *("--trainer.devices", experiment.devices),
        *experiment.extra,
    ]


def _flag(flag: str, value: object) -> list[str]:
    return [] if value is None else [flag, str(value)]


def _list(values: Sequence[object]) -> str | None:
    """A list as YAML; None for an empty one."""
    parts = [f"{value:g}" if isinstance(value, float) else str(value) for value in values]
    # A path may hold what YAML would read as something else.
    quoted = ["'" + p.replace("'", "''") + "'" if set(p) & set(" ,[]{}'\"#:") else p for p in parts]
    return f"[{', '.join(quoted)}]" if parts else None


def _stem(name: str) -> str:
    """What a file of one's own is called in names."""
    return Path(name).stem if name.endswith(configs.SUFFIXES) else name


def need_folder(experiment: Experiment) -> None:
    """Check that the folder of the data is given, where they need one.

    Raises:
        ExperimentError: if it is not.
    """
    if experiment.suits.needs_folder and experiment.data_dir is None:
        hub = ", or its name on the hub" if experiment.suits.folder_argument == "path" else ""
        raise ExperimentError(f"data={experiment.data} needs data_dir=/path/to/the/data{hub}")


def _check(experiment: Experiment, target: str) -> None:
    """What one value alone does not show."""
    suits, data = experiment.suits, experiment.data
    if suits.targets is not None and target not in suits.targets:
        raise ExperimentError(f"data={data} is for {', '.join(suits.targets)}, not for {target}")
    need_folder(experiment)
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
