"""The lines that targets come to, and the flags that these share."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from entres import configs
from entres.experiment import layout
from entres.experiment.experiment import Experiment


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


def if_missing(step: Step) -> Step:
    """The step, left out where its file is."""
    return replace(step, if_missing=True)


def kept(evaluation: Step) -> Step:
    """The evaluation, left as it is where it is finished: one of several that a target needs.

    It is the evaluation that looks, since it knows all that it is asked for.
    """
    return replace(evaluation, words=(*evaluation.words, "--keep_finished", "true"))


def recipe_name(experiment: Experiment, recipe: str | None = None) -> str:
    """A recipe with what is special about its batches: ``joint``, ``joint-pgd_e8``."""
    recipe = recipe or experiment.recipe
    if experiment.robust is None or recipe == "distilled":
        return recipe
    return f"{recipe}-{stem(experiment.robust)}{experiment.robust_epsilon:g}"


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


def teacher_file(experiment: Experiment) -> Path:
    """The file of the experiment's teacher."""
    of = (experiment.student_data_name, experiment.backbone, experiment.seed)
    return layout.teacher_file(experiment.out, *of)


def config_file(kind: str, name: str) -> list[str]:
    """The flag of a file of ``configs/``."""
    return ["--config", configs.shown(configs.find(kind, name))]


def data_config(name: str, of: str = "data") -> list[str]:
    """The flag of where images come from, or of what is done to them."""
    return [f"--{of}", configs.shown(configs.find("data", name))]


def images(experiment: Experiment, of: str = "data") -> list[str]:
    """Where the images come from: as they are, or inside of what changes them."""
    words = data_config(experiment.data, of)
    argument = experiment.suits.folder_argument
    words += flag(f"--{of}.{argument}", experiment.data_dir)
    return [*words, *flag(f"--{of}.resize", experiment.resize)]


def batches(of: str, **sizes: int | None) -> list[str]:
    """Sizes of training batches that suit the data."""
    return [word for name, size in sizes.items() for word in flag(f"--{of}.{name}", size)]


def of_the_run(experiment: Experiment) -> list[str]:
    """What every run is told."""
    return [
        *("--out", experiment.out),
        *("--seed_everything", str(experiment.seed)),
        *("--trainer.devices", experiment.devices),
        *experiment.extra,
    ]


def flag(name: str, value: object) -> list[str]:
    """A flag with its value; nothing for None."""
    return [] if value is None else [name, str(value)]


def listed(values: Sequence[object]) -> str | None:
    """A list as YAML; None for an empty one."""
    parts = [f"{value:g}" if isinstance(value, float) else str(value) for value in values]
    # A path may hold what YAML would read as something else.
    quoted = ["'" + p.replace("'", "''") + "'" if set(p) & set(" ,[]{}'\"#:") else p for p in parts]
    return f"[{', '.join(quoted)}]" if parts else None


def stem(name: str) -> str:
    """What a file of one's own is called in names."""
    return Path(name).stem if name.endswith(configs.SUFFIXES) else name
