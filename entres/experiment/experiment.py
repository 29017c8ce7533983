"""What is asked for, in one typed value: every default and every check of the command line."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, field, fields
from difflib import get_close_matches
from typing import Any, get_args, get_type_hints

from entres import configs
from entres.errors import EntresError
from entres.experiment.suits import Suits
from entres.results import EXTRA_CORRUPTIONS, FIFTEEN, SEVERITIES

RECIPES = ("distilled", "joint", "frozen-encoder")
"""The stages that end in a student; each is a file of ``configs/stage``."""
THROUGH = ("oblivious", "unrolled", "unrolled_mask", "bpda")
"""What an attack knows of the defense: nothing, or a way for its gradient."""
WITHOUT_GRADIENT = ("bit_depth", "jpeg")
"""Defenses that an attack cannot differentiate."""
UNITS = {
    "gaussian_blur": "a deviation in px",
    "median": "an odd side in px",
    "bit_depth": "a number of bits",
    "jpeg": "a quality",
    "smallest_view": "a number of views",
    "budget": "KiB of a stream",
}
"""What the strength of a defense is that is no weight of the total variation."""
PAPER_EPSILONS = (2.0, 4.0, 8.0, 16.0)
RESIZES = ("auto", "stored")
"""Ways to bring images to their size that are no number of px."""
STRENGTHS = (0.01, 0.02, 0.05, 0.1, 0.2)


NOT_IN_TRAINING = ("square", "pgd_e_over_6kib")
"""Attacks that need the real streams of a finished student."""


class ExperimentError(EntresError, ValueError):
    """Something that was asked for and cannot be."""


def _option(group: str, about: str, default: Any = None, changes_result: bool = True) -> Any:
    """A field that is a flag of the command line and a variable of ``make``."""
    metadata = {"group": group, "about": about, "changes_result": changes_result}
    return field(default=default, metadata=metadata)


_STUDENT, _RUN = "the student", "the run"
_ATTACKS, _DEFENSES, _CORRUPTIONS = "attacks", "defenses", "corruptions"


@dataclass(frozen=True)
class Experiment:
    """One student on one data set, and what is to be done to its images.

    ``Experiment(beta=0.32, data="imagenet", data_dir="/data/imagenet")`` fills in what suits the
    data. :meth:`of` takes text as well, as the command line and matrices give it. A trailing
    underscore is no part of a name there: ``lambda_`` is ``--lambda``.

    Raises:
        ExperimentError: if a value is out of range, or unknown; the sentence names the nearest.
    """

    data: str = _option(
        _STUDENT, "data set: a name in configs/data, or a YAML of one's own", "photos"
    )
    data_dir: str | None = _option(_STUDENT, "folder of the data", changes_result=False)
    backbone: str = _option(_STUDENT, "timm name of the teacher (default: what suits the data)", "")
    codec: str = _option(_STUDENT, "entropy model of the head", "mshp")
    beta: float = _option(_STUDENT, "weight of the rate in training", 0.08)
    recipe: str = _option(_STUDENT, "last stage of the training", "joint")
    weights: str | None = _option(_STUDENT, "the teacher's weights: a file, hub or lite0-package")
    start: str | None = _option(
        _STUDENT, "what the second stage starts from: a distilled student's file, or its beta"
    )
    student: str | None = _option(_STUDENT, "student to evaluate as it is; nothing is trained")
    epochs: int | None = _option(_STUDENT, "epochs of each stage (default: what suits the data)")
    robust: str | None = _option(_STUDENT, "attack on the batches of the second stage")
    robust_epsilon: float = _option(_STUDENT, "its radius in 1/255", 8.0)

    seed: int = _option(_RUN, "source of all that is random", 0)
    devices: str = _option(_RUN, "GPUs or processes: a number, or auto", "auto", False)
    out: str = _option(_RUN, "folder of all runs", "runs", False)
    images_per_class: int | None = _option(
        _RUN,
        "images of a class that an evaluation takes, evenly spaced (default: all); three or five "
        "times as many are these and more",
    )
    resize: str | None = _option(
        _RUN, "short side of evaluated images before the crop, in px; stored: as they are"
    )
    extra: tuple[str, ...] = _option(_RUN, "further flags of entres fit and entres test", ())

    attack: tuple[str, ...] = _option(_ATTACKS, "attacks (default: those of the target)", ())
    preset: str = _option(_ATTACKS, "how an attack takes its gradient", "strong")
    steps: int | None = _option(_ATTACKS, "gradient steps (default: the preset's)")
    epsilons: tuple[float, ...] = _option(_ATTACKS, "radii in 1/255", PAPER_EPSILONS)

    defense: tuple[str, ...] = _option(_DEFENSES, "defenses", ("masked_chambolle",))
    lambda_: float | None = _option(_DEFENSES, "strength of the defense (default: its own)")
    lambdas: tuple[float, ...] = _option(_DEFENSES, "strengths of sweep-lambda", STRENGTHS)
    through: tuple[str, ...] = _option(_DEFENSES, "what attacks know of the defense", ())
    budget_kib: float | None = _option(_DEFENSES, "a cap on every stream, evaluated beside them")
    threshold_kib: float | None = _option(_DEFENSES, "defend images above this predicted size only")

    corruptions: tuple[str, ...] = _option(_CORRUPTIONS, "corruptions (default: all fifteen)", ())
    severities: tuple[int, ...] = _option(_CORRUPTIONS, "severities, 1 to 5 (default: all)", ())
    imagenet_c_dir: str | None = _option(
        _CORRUPTIONS,
        "folder of ImageNet-C, read in place of corrupting images",
        changes_result=False,
    )

    def __post_init__(self) -> None:
        self._need_name("data", "data", [d for d in configs.names("data") if d not in WRAPPERS])
        self._set("backbone", self.backbone or self.suits.backbone)
        self._set("defense", tuple(_whole_name(name) for name in self.defense))
        self._need_name("codec", "codec")
        self._need_choice("recipe", RECIPES)
        self._need_name("preset", "preset")
        for name in ("attack", "robust"):
            self._need_name(name, "attack")
        if self.robust in NOT_IN_TRAINING:
            raise ExperimentError(
                f"robust={self.robust} listens to real streams, which a student in training does "
                "not make: take an attack with a gradient"
            )
        self._need_name("defense", "defense")
        self._need_choice("through", THROUGH)
        extra_corruptions = EXTRA_CORRUPTIONS if self.corrupted_data == "imagenet-c" else ()
        self._need_choice("corruptions", (*FIFTEEN, *extra_corruptions))
        self._need_choice("severities", SEVERITIES)
        for name in ("beta", "robust_epsilon", "threshold_kib", "budget_kib", "lambda_", "lambdas"):
            self._need_numbers(name, 0, math.inf)
        self._need_numbers("epsilons", 0, 255)
        if not (self.resize or "stored").isdecimal() and self.resize not in (None, *RESIZES):
            raise ExperimentError(f"resize is a number of px, auto or stored, got {self.resize}")
        if self.resize is not None and not self.suits.resizes:
            raise ExperimentError(f"the images of {self.data} have one size: leave resize out")
        for name, least in (("epochs", 1), ("steps", 1), ("seed", 0), ("images_per_class", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ExperimentError(f"{name} must be >= {least}, got {value}")
        if not self.out.strip():
            raise ExperimentError("out must name a folder, got nothing")
        if not self.epsilons or not self.defense or not self.lambdas:
            raise ExperimentError("epsilons, defense and lambdas need at least one value each")

    # --- made of text -----------------------------------------------------------------------------

    @classmethod
    def of(cls, **values: Any) -> Experiment:
        """An experiment of values as they are typed: text, numbers or lists of either.

        Args:
            values: by name; ``lambda`` or ``lambda_``, ``beta`` or ``BETA``. Words of a list are
                separated by spaces or commas. What is empty counts as not given.

        Raises:
            ExperimentError: see :class:`Experiment`; also for a name that there is none of.
        """
        known = options()
        given: dict[str, Any] = {}
        for typed, value in values.items():
            name = typed.lower().rstrip("_")
            if name not in known:
                raise ExperimentError(unknown_variable(typed, list(known)))
            if value is None or value == "":
                continue
            option = known[name]
            given[option.field] = option.parse(typed, value)
        return cls(**given)

    def flags(self, without: tuple[str, ...] = ()) -> list[str]:
        """The words that ask for this again: what is not the default of the data.

        Args:
            without: names that are left out.
        """
        plain = Experiment(self.data, self.data_dir)
        words: list[str] = []
        for name, option in options().items():
            value = getattr(self, option.field)
            default = option.default if name == "data" else getattr(plain, option.field)
            if name == "data_dir":
                default = None
            if name not in without and value != default:
                words += [f"--{name}", _text(value)]
        return words

    @property
    def identity(self) -> dict[str, Any]:
        """What a finished run must have in common with this one to count as the same."""
        return {
            name: getattr(self, option.field)
            for name, option in options().items()
            if option.changes_result
        }

    # --- what follows from it ---------------------------------------------------------------------

    @property
    def suits(self) -> Suits:
        """What suits the data."""
        return Suits.of(self.data)

    @property
    def data_name(self) -> str:
        """What results call the data: the name of the set, or that of a folder of one's own."""
        return self.suits.name_of(self.data, self.data_dir)

    @property
    def student_data_name(self) -> str:
        """What the student was trained on: of ImageNet-C, ImageNet."""
        return self.suits.students_of or self.data_name

    @property
    def corrupted_data(self) -> str:
        """The data that an evaluation of corruptions reads."""
        return "imagenet-c" if self.imagenet_c_dir else self.data

    @property
    def trains_teacher(self) -> bool:
        """Whether no published teacher knows the data's classes, and no weights are given."""
        return self.suits.trains_teacher and self.weights is None

    @property
    def start_beta(self) -> float | None:
        """The beta of the distilled student to start from, if that is how ``start`` names it."""
        try:
            return float(self.start or "")
        except ValueError:
            return None

    # --- checks -----------------------------------------------------------------------------------

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _need_name(self, name: str, kind: str, known: list[str] | None = None) -> None:
        """A file of ``configs`` or of one's own."""
        for value in _values(getattr(self, name)):
            if known is not None and not value.endswith(configs.SUFFIXES) and value not in known:
                raise ExperimentError(configs.unknown(name, value, known))
            try:
                configs.find(kind, value)
            except EntresError as error:
                raise ExperimentError(str(error)) from None
        self._need_once(name)

    def _need_choice(self, name: str, known: tuple[Any, ...]) -> None:
        for value in _values(getattr(self, name)):
            if value not in known:
                sentence = configs.unknown(name, str(value), [str(k) for k in known])
                raise ExperimentError(sentence)
        self._need_once(name)

    def _need_numbers(self, name: str, above: float, most: float) -> None:
        shown = name.rstrip("_")
        for value in _values(getattr(self, name)):
            if not (above < value <= most and math.isfinite(value)):
                limit = f" and <= {most:g}" if math.isfinite(most) else ""
                raise ExperimentError(f"{shown} must be > {above:g}{limit}, got {value:g}")
        self._need_once(name)

    def _need_once(self, name: str) -> None:
        values = list(_values(getattr(self, name)))
        if twice := [value for value in values if values.count(value) > 1]:
            shown = f"{twice[0]:g}" if isinstance(twice[0], float) else twice[0]
            raise ExperimentError(f"{name.rstrip('_')} has {shown} more than once")


WRAPPERS = ("adversarial", "corrupted")
"""Files of ``configs/data`` that change the images of another one."""


@dataclass(frozen=True)
class Option:
    """A field of :class:`Experiment` as a flag."""

    field: str
    type: type
    is_list: bool
    group: str
    about: str
    default: Any
    changes_result: bool

    def parse(self, name: str, value: Any) -> Any:
        """A value of the field's type, of text or of what a YAML holds.

        Raises:
            ExperimentError: if it is none.
        """
        if self.field == "extra":
            return tuple(shlex.split(value)) if isinstance(value, str) else tuple(value)
        if not self.is_list:
            return self._one(name, value)
        if isinstance(value, str):
            # `2,4`, `2 4` and `[2, 4]` are the same.
            value = value.strip("[]").replace(",", " ").split()
        parts = value if isinstance(value, list | tuple) else [value]
        return tuple(self._one(name, part) for part in parts)

    def _one(self, name: str, value: Any) -> Any:
        if isinstance(value, list | tuple | dict | bool):
            raise ExperimentError(f"{name} takes one value, got {value}")
        if self.type is str:
            # 8 and 8.0 are one number of devices.
            return f"{value:g}" if isinstance(value, float) else str(value)
        try:
            return self.type(value)
        except ValueError:
            kind = {int: "a whole number", float: "a number"}[self.type]
            raise ExperimentError(f"{name} must be {kind}, got {value!r}") from None


def options() -> dict[str, Option]:
    """Every option by the name of its flag."""
    hints = get_type_hints(Experiment)
    found = {}
    for each in fields(Experiment):
        hint = hints[each.name]
        arguments = [a for a in get_args(hint) if a not in (type(None), Ellipsis)]
        is_list = getattr(hint, "__origin__", None) is tuple
        default = None if each.default is MISSING else each.default
        found[each.name.rstrip("_")] = Option(
            each.name,
            arguments[0] if arguments else hint,
            is_list,
            each.metadata["group"],
            each.metadata["about"],
            default,
            each.metadata["changes_result"],
        )
    return found


def unknown_variable(typed: str, known: list[str]) -> str:
    """The sentence for a name that there is none of, in the manner in which it was typed."""
    capitals = typed.isupper()
    what, names = ("variable ", [k.upper() for k in known]) if capitals else ("flag --", known)
    near = get_close_matches(typed, names, 1, 0.6)
    prefix = "" if capitals else "--"
    guess = f"; did you mean {prefix}{near[0]}?" if near else ""
    listed = "" if near else f"; there is: {', '.join(prefix + n for n in names)}"
    return f"no {what}{typed}{guess}{listed}"


def _values(value: Any) -> Iterator[Any]:
    if isinstance(value, tuple):
        yield from value
    elif value is not None:
        yield value


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        parts = [_text(part) for part in value]
        # Flags may hold spaces and commas of their own.
        return shlex.join(parts) if any(p.startswith("-") for p in parts) else ",".join(parts)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _whole_name(defense: str) -> str:
    """``chambolle`` is short for ``masked_chambolle``."""
    known = configs.names("defense")
    masked = f"masked_{defense}"
    return masked if defense not in known and masked in known else defense
