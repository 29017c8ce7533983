"""A matrix: a YAML file in, cells out, each an experiment and a target.

::

    experiment: {data: photos}               # for every cell
    phases:
      training:                              # its cells are independent of each other
        - target: train
          over: {codec: [fp, mshp], beta: [0.08]}
      evaluation:                            # begins when the phases above are done
        - target: eval-attacks
          serves: [fig4a, fig4b]
          over: {codec: [fp, mshp], beta: [0.08], preset: [strong]}
          with: {epsilons: [4, 8]}
    times: {machine: two cores of ..., seconds: {train-fp-beta0.08: 61}}

``over`` is expanded to the product of its values and names the cells; ``with`` is handed on as it
is. A cell needs those of earlier phases whose student it uses; ``needs`` names others, such as the
one of a student that it starts from.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from hashlib import blake2b
from itertools import product
from pathlib import Path
from typing import Any

from entres import configs
from entres.errors import EntresError
from entres.experiment.experiment import Experiment, ExperimentError, options
from entres.experiment.layout import weights_digest
from entres.experiment.lines import Step
from entres.experiment.steps import TARGETS, steps

KEYS = ["description", "experiment", "phases", "times"]
GROUP_KEYS = ["target", "name", "serves", "needs", "over", "with"]
TRAININGS = {"train", "teacher", "prepare"}
"""Targets whose students others evaluate."""
OF_ONE_CALL = {"extra", "epochs", "images_per_class", "resize"}
"""Options that may differ between the training of a student and its evaluation."""


ANY_OUT = "runs"
"""A folder of all runs, where it does not matter which."""
NAMED = re.compile(r"[^\s\[\],=]+\.(?:ya?ml|safetensors)")
"""A file of settings or weights in a word of a line."""


class MatrixError(EntresError, ValueError):
    """A matrix that cannot be read or run as it was asked for."""


@dataclass(frozen=True)
class Cell:
    """One experiment and what is done with it.

    Attributes:
        name: of the target and what the cell is expanded over; stable, and unique in its matrix.
        phase: what it belongs to.
        target: see :data:`entres.experiment.TARGETS`.
        values: of the experiment, as the matrix gives them.
        serves: names of the tables and figures that show it.
        needs: names of the cells of earlier phases that it builds on.
    """

    name: str
    phase: str
    target: str
    values: Mapping[str, Any]
    serves: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()

    def experiment(self, out: str | Path) -> Experiment:
        """The experiment, under a folder of all runs."""
        return Experiment.of(**{**self.values, "out": str(out)})

    def steps(self, out: str | Path) -> list[Step]:
        """The lines that it comes to."""
        return steps(self.experiment(out), self.target)

    def line(self, out: str | Path) -> str:
        """All of it as one line that can be typed."""
        return shlex.join(["entres", self.target, *self.experiment(out).flags()])

    @property
    def identity(self) -> dict[str, Any]:
        """What a finished cell must have in common with this one to count as the same: what was
        asked for, and what stands in the files that its lines name.
        """
        asked = {"target": self.target, **self.experiment(ANY_OUT).identity}
        return {**asked, "files": _contents(self.steps(ANY_OUT))}


@dataclass(frozen=True)
class Matrix:
    """Cells in the order in which they run.

    Attributes:
        name: stem of its file.
        cells: every cell; those of a phase are independent of each other.
        machine: where the times were taken, or None.
        seconds: how long cells took there, by name.
        description: a sentence on what it is.
    """

    name: str
    cells: Sequence[Cell]
    machine: str | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    description: str = ""

    @property
    def phases(self) -> dict[str, list[Cell]]:
        """The cells of each phase, in order."""
        phases: dict[str, list[Cell]] = {}
        for cell in self.cells:
            phases.setdefault(cell.phase, []).append(cell)
        return phases

    def cell(self, name: str) -> Cell:
        """The cell of a name.

        Raises:
            MatrixError: if there is none.
        """
        for cell in self.cells:
            if cell.name == name:
                return cell
        names = ", ".join(cell.name for cell in self.cells)
        raise MatrixError(f"matrix {self.name} has no cell {name!r}; there is: {names}")


def read_matrix(
    matrix: str | Path,
    given: Mapping[str, Any] | None = None,
    over: Mapping[str, Sequence[Any]] | None = None,
) -> Matrix:
    """Read and expand a matrix.

    Args:
        matrix: a file, or the name of one in ``configs/matrix``.
        given: options for every cell, before the matrix's own of that kind.
        over: values that take the place of those that groups are expanded over.

    Raises:
        MatrixError: if there is no such file, it is no matrix, or what is given does not fit it.
    """
    try:
        path = configs.find("matrix", str(matrix))
        return _matrix(path, configs.read(path), given or {}, over or {})
    except (ExperimentError, MatrixError):
        raise
    except EntresError as error:
        raise MatrixError(str(error)) from None


def _matrix(
    path: Path,
    content: Mapping[str, Any],
    given: Mapping[str, Any],
    over: Mapping[str, Sequence[Any]],
) -> Matrix:
    if not isinstance(content.get("phases"), dict):
        raise MatrixError(f"{path} is no matrix: a mapping with `phases` was expected")
    _refuse_unknown(path, content, KEYS)
    cells: list[Cell] = []
    common = {**_mapping(path, "experiment", content.get("experiment")), **given}
    replaced = set()
    for phase, groups in content["phases"].items():
        earlier = list(cells)
        for place, each in enumerate(_sequence(path, f"phases.{phase}", groups)):
            group = _group(path, f"phases.{phase}[{place}]", each)
            if (target := group["target"]) not in TARGETS:
                raise MatrixError(f"{path}: {configs.unknown('target', target, list(TARGETS))}")
            axes = {name: _list(values) for name, values in group["over"].items()}
            fixed = group["with"]
            if taken := sorted(set(given) & (set(axes) | set(fixed))):
                raise MatrixError(
                    f"{', '.join(taken)}: the matrix {path.stem} sets it for {target}, so "
                    "it cannot be given for every cell"
                )
            replaced |= set(over) & set(axes)
            axes = {name: list(over.get(name, values)) for name, values in axes.items()}
            for point in product(*axes.values()):
                at = dict(zip(axes, point, strict=True))
                cells.append(_cell(path, phase, group, {**common, **at, **fixed}, at, earlier))
    if unused := sorted(set(over) - replaced):
        raise MatrixError(f"no group of {path} is expanded over {', '.join(unused)}")
    names = [cell.name for cell in cells]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise MatrixError(f"{path} has several cells named {repeated[0]}: give a group a `name`")
    times = _mapping(path, "times", content.get("times"))
    seconds = _mapping(path, "times.seconds", times.get("seconds"))
    if odd := [name for name, value in seconds.items() if not isinstance(value, int | float)]:
        raise MatrixError(
            f"{path}: times.seconds.{odd[0]} must be a number, got {seconds[odd[0]]!r}"
        )
    return Matrix(
        path.stem,
        cells,
        times.get("machine"),
        {name: float(value) for name, value in seconds.items()},
        " ".join(str(content.get("description") or "").split()),
    )


def _group(path: Path, what: str, value: object) -> dict[str, Any]:
    """A group of a phase, whose parts are what they have to be."""
    group = dict(_mapping(path, what, value))
    _refuse_unknown(path, group, GROUP_KEYS)
    for name in ("over", "with"):
        group[name] = _mapping(path, f"{what}.{name}", group.get(name))
    for name in ("serves", "needs"):
        group[name] = _sequence(path, f"{what}.{name}", group.get(name) or [])
    if not isinstance(group.get("target"), str):
        raise MatrixError(f"{path}: {what}.target must be the name of one")
    return group


def _mapping(path: Path, what: str, value: object) -> Mapping[str, Any]:
    """Null is an empty one.

    Raises:
        MatrixError: if it is neither.
    """
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise MatrixError(f"{path}: {what} must be a mapping, got {value!r}")
    return value


def _sequence(path: Path, what: str, value: object) -> Sequence[Any]:
    if not isinstance(value, list):
        raise MatrixError(f"{path}: {what} must be a list, got {value!r}")
    return value


def _cell(
    path: Path,
    phase: str,
    group: Mapping[str, Any],
    values: Mapping[str, Any],
    at: Mapping[str, Any],
    earlier: Sequence[Cell],
) -> Cell:
    target = group["target"]
    if unknown := [name for name in values if name not in options()]:
        raise MatrixError(f"{path}: {configs.unknown('option', unknown[0], list(options()))}")
    named = group["needs"]
    if lacking := sorted(set(named) - {cell.name for cell in earlier}):
        raise MatrixError(f"{target} needs {lacking[0]}, which no earlier phase has")
    name = "-".join([group.get("name", target), *_labels(at)])
    cell = Cell(name, phase, target, values, tuple(group["serves"]))
    try:
        asked = cell.experiment("runs")  # what is wrong with it is found now
    except ExperimentError as error:
        raise MatrixError(f"{name}: {error}") from None
    given = trained = _made_of(values)
    if asked.student is None:
        # A training may have been given what is the default here: its student is that one.
        every = {name: getattr(asked, option.field) for name, option in options().items()}
        trained = _made_of(every)
    needs = [
        each.name
        for each in earlier
        if each.name in named
        or _made_of(each.values) <= (trained if each.target in TRAININGS else given)
    ]
    return replace(cell, needs=tuple(needs))


def _made_of(values: Mapping[str, Any]) -> set[tuple[str, str]]:
    """What says which student a cell trains or evaluates."""
    return {(name, _text(value)) for name, value in values.items() if name not in OF_ONE_CALL}


def _labels(at: Mapping[str, Any]) -> Iterator[str]:
    for name, value in at.items():
        # A number among names: say what it is, as the names of students do.
        prefix = name if name in ("beta", "seed") else ""
        if name == "student":  # it is called after its file, wherever that lies
            value = Path(str(value)).stem
        yield prefix + _text(value).replace(" ", "+").replace("/", "_")


def _text(value: object) -> str:
    if isinstance(value, list | tuple):
        return " ".join(map(_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def _refuse_unknown(path: Path, content: Mapping[str, object], known: list[str]) -> None:
    if unknown := [name for name in content if name not in known]:
        raise MatrixError(f"{path}: {configs.unknown('key', unknown[0], known)}")


def _contents(steps: Sequence[Step]) -> dict[str, str]:
    """Six digits of every file that the lines name, but for what other lines leave."""
    named = {name for step in steps for word in step.words for name in NAMED.findall(word)}
    there = [Path(name) for name in sorted(named) if Path(name).is_file()]
    return {
        str(path): _digits(path, path.stat().st_mtime_ns)
        for path in there
        if not path.is_relative_to(ANY_OUT)
    }


@cache
def _digits(path: Path, changed: int) -> str:
    """Of a file's content; of settings, whatever their layout and comments are."""
    if path.suffix not in configs.SUFFIXES:
        return weights_digest(path)
    said = json.dumps(configs.read(path), default=str)
    return blake2b(said.encode(), digest_size=3).hexdigest()
