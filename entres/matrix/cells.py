"""A matrix of conditions: a YAML file in, cells out, each one call of ``make``.

    variables: {DATA: photos}                # for every cell
    phases:
      training:                              # its cells are independent of each other
        - target: train
          over: {CODEC: [fp, mshp], BETA: [0.08]}
      evaluation:                            # begins when the phases above are done
        - target: eval-attacks
          serves: [fig4a, fig4b]
          over: {CODEC: [fp, mshp], BETA: [0.08], PRESET: [strong]}
          variables: {EPSILONS: 4 8}
    times: {machine: two cores of ..., seconds: {train-fp-beta0.08: 61}}

``over`` is expanded to the product of its values and names the cells; ``variables`` are handed on
as they are. A value may hold ``$OUT`` or another variable of its cell. A cell needs those of
earlier phases whose student it uses; ``needs`` names others, such as the one of a student that it
starts from.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from string import Template
from typing import Any

import yaml

from entres.errors import EntresError

FOLDER = Path("configs/matrix")
KEYS = {"description", "variables", "phases", "times"}
GROUP_KEYS = {"target", "name", "serves", "needs", "over", "variables"}
CHANGES_NO_RESULT = {"DEVICES"}
"""Variables that a finished cell need not be run again for."""


class MatrixError(EntresError, ValueError):
    """A matrix that cannot be read or run as it was asked for."""


OF_ONE_CALL = {"EXTRA", "EPOCHS"}
"""Variables that may differ between the training of a student and its evaluation."""


@dataclass(frozen=True)
class Cell:
    """One call of ``make``.

    Attributes:
        name: of the target and what the cell is expanded over; stable, and unique in its matrix.
        phase: what it belongs to.
        target: of the Makefile.
        variables: for ``make``; ``$OUT`` stands for the folder of all runs.
        serves: names of the tables and figures that show it.
        needs: names of the cells of earlier phases that it builds on.
    """

    name: str
    phase: str
    target: str
    variables: Mapping[str, str]
    serves: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()

    def command(self, out: str | Path) -> list[str]:
        """The words of the call, with the folder of all runs."""
        variables = {
            name: value.replace("$OUT", str(out)) for name, value in self.variables.items()
        }
        return ["make", self.target, *_assignments(variables | {"OUT": str(out)})]

    def line(self, out: str | Path) -> str:
        """The call as it is typed."""
        return shlex.join(self.command(out))

    @property
    def identity(self) -> list[str]:
        """What a finished cell must have in common with this one to count as the same."""
        kept = {n: v for n, v in self.variables.items() if n not in CHANGES_NO_RESULT}
        return [self.target, *_assignments(kept)]


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
    given: Mapping[str, str] | None = None,
    over: Mapping[str, Sequence[str]] | None = None,
) -> Matrix:
    """Read and expand a matrix.

    Args:
        matrix: a file, or the name of one in ``configs/matrix``.
        given: variables of ``make`` for every cell, before the matrix's own of that kind.
        over: values that take the place of those that groups are expanded over.

    Raises:
        MatrixError: if there is no such file, it is no matrix, or what is given does not fit it.
    """
    path = Path(matrix)
    if path.suffix not in (".yaml", ".yml"):
        path = FOLDER / f"{matrix}.yaml"
    if not path.is_file():
        there = ", ".join(sorted(p.stem for p in FOLDER.glob("*.yaml")))
        raise MatrixError(f"no matrix at {path}; there is: {there}, or give a file")
    content = yaml.safe_load(path.read_text())
    if not isinstance(content, dict) or not isinstance(content.get("phases"), dict):
        raise MatrixError(f"{path} is no matrix: a mapping with `phases` was expected")
    _refuse_unknown(path, content, KEYS)
    given, over = given or {}, over or {}
    cells: list[Cell] = []
    common = _strings(content.get("variables")) | dict(given)
    replaced = set()
    for phase, groups in content["phases"].items():
        earlier = list(cells)
        for group in groups:
            _refuse_unknown(path, group, GROUP_KEYS)
            axes = {n: _list(v) for n, v in (group.get("over") or {}).items()}
            own = _strings(group.get("variables"))
            if fixed := sorted(set(given) & (set(axes) | set(own))):
                raise MatrixError(
                    f"{', '.join(fixed)}: the matrix {path.stem} sets it for {group['target']}, so "
                    "it cannot be given for every cell; --over takes values of an axis"
                )
            replaced |= set(over) & set(axes)
            axes = {n: list(over.get(n, values)) for n, values in axes.items()}
            for point in product(*axes.values()):
                at = dict(zip(axes, map(_text, point), strict=True))
                cells.append(_cell(phase, group, common | at | own, at, earlier))
    if unused := sorted(set(over) - replaced):
        raise MatrixError(f"no group of {path} is expanded over {', '.join(unused)}")
    names = [cell.name for cell in cells]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise MatrixError(f"{path} has several cells named {repeated[0]}: give a group a `name`")
    times = content.get("times") or {}
    return Matrix(
        path.stem,
        cells,
        times.get("machine"),
        {name: float(seconds) for name, seconds in (times.get("seconds") or {}).items()},
        " ".join((content.get("description") or "").split()),
    )


def _cell(
    phase: str,
    group: Mapping[str, Any],
    variables: Mapping[str, str],
    at: Mapping[str, str],
    earlier: Sequence[Cell],
) -> Cell:
    parts = [group.get("name", group["target"]), *_labels(at)]
    try:
        filled = {
            name: Template(value).substitute({"OUT": "$OUT"} | dict(variables))
            for name, value in variables.items()
        }
    except KeyError as error:
        raise MatrixError(
            f"{group['target']} needs the variable {error.args[0]}: give it"
        ) from None
    named = group.get("needs") or []
    if unknown := sorted(set(named) - {cell.name for cell in earlier}):
        raise MatrixError(f"{group['target']} needs {unknown[0]}, which no earlier phase has")
    needs = [
        cell.name
        for cell in earlier
        if cell.name in named or _made_of(cell.variables) <= _made_of(filled)
    ]
    return Cell(
        "-".join(parts), phase, group["target"], filled, tuple(group.get("serves") or ()), (*needs,)
    )


def _made_of(variables: Mapping[str, str]) -> set[tuple[str, str]]:
    """What says which student a cell trains or evaluates."""
    return {item for item in variables.items() if item[0] not in OF_ONE_CALL}


def _labels(at: Mapping[str, str]) -> Iterator[str]:
    for name, value in at.items():
        # A beta is a number among names: say what it is, as the names of students do.
        yield f"beta{value}" if name == "BETA" else value.replace(" ", "+").replace("/", "_")


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def _strings(values: Mapping[str, object] | None) -> dict[str, str]:
    return {name: _text(value) for name, value in (values or {}).items()}


def _assignments(variables: Mapping[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in sorted(variables.items())]


def _refuse_unknown(path: Path, found: Mapping[str, object], known: set[str]) -> None:
    if unknown := sorted(set(found) - known):
        raise MatrixError(
            f"{path}: unknown {', '.join(unknown)}; there is: {', '.join(sorted(known))}"
        )
