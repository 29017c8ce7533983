"""What a finished cell leaves behind: ``<OUT>/matrix/<cell>.json``, written last and at once."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from entres.experiment.layout import matrix_folder
from entres.experiment.matrix import Cell, Matrix
from entres.experiment.same import differences
from entres.files import write_whole

PACKAGES = ("entres", "torch", "lightning", "compressai", "timm", "torchvision", "numpy")


@dataclass(frozen=True)
class Stamp:
    """That a cell is finished.

    Attributes:
        cell: its name.
        identity: see :attr:`Cell.identity`.
        lines: what ran, as it can be typed.
        seconds: how long that took, wall clock. Of a cell that was killed and went on, since it
            went on.
        finished: when, UTC, ISO 8601.
        machine: what it ran on, in words.
        versions: of the packages, Python and the code.
    """

    cell: str
    identity: dict[str, Any]
    lines: list[str]
    seconds: float
    finished: str
    machine: str
    versions: dict[str, str]


def log_path(out: str | Path, name: str) -> Path:
    """What a cell said, in all its calls."""
    return matrix_folder(out) / f"{name}.log"


def write_stamp(out: str | Path, stamp: Stamp) -> None:
    """Write a stamp, whole or not at all."""
    text = json.dumps(asdict(stamp), indent=2) + "\n"
    write_whole(matrix_folder(out) / f"{stamp.cell}.json", text)


def read_stamps(out: str | Path) -> dict[str, Stamp]:
    """Every stamp by the name of its cell, in the order in which they were written.

    What is no stamp is none: its cell runs again.
    """
    stamps = []
    for path in matrix_folder(out).glob("*.json"):
        try:
            stamps.append(Stamp(**json.loads(path.read_text())))
        except (ValueError, TypeError):
            continue
    return {stamp.cell: stamp for stamp in sorted(stamps, key=lambda s: s.finished)}


def is_finished(cell: Cell, stamps: Mapping[str, Stamp]) -> bool:
    """Whether a cell is done, and was asked for as it is now."""
    stamp = stamps.get(cell.name)
    if stamp is None:
        return False
    # As it was written: a tuple is a list there.
    return not differences(stamp.identity, json.loads(json.dumps(cell.identity)))


def write_plan(out: str | Path, matrix: Matrix) -> None:
    """Note what a matrix consists of, for reports: ``<OUT>/matrix/plans/<name>.json``."""
    path = matrix_folder(out) / "plans" / f"{matrix.name}.json"
    write_whole(path, json.dumps(asdict(matrix), indent=2) + "\n")


def read_plans(out: str | Path) -> list[Matrix]:
    """Every matrix that was begun; what is no plan is none."""
    plans = []
    for path in sorted((matrix_folder(out) / "plans").glob("*.json")):
        try:
            values = json.loads(path.read_text())
            cells = [Cell(**cell) for cell in values.pop("cells")]
            plans.append(Matrix(cells=cells, **values))
        except (ValueError, TypeError, LookupError, AttributeError):
            continue
    return plans


def duration(seconds: float) -> str:
    """Seconds in the units that a person thinks in: ``48 s``, ``3 min 20 s``, ``5 h 07 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


@cache
def machine() -> str:
    """The machine in a few words, such as ``2 cores of Intel Xeon, no GPU``."""
    model = platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        named = [x for x in info.read_text().splitlines() if x.startswith("model name")]
        model = named[0].split(":", 1)[1].strip() if named else model
    return f"{os.cpu_count()} cores of {model}, {_gpus()}"


def _gpus() -> str:
    """Asked of the driver: torch takes seconds to import, and nobody here needs it."""
    asked = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        said = subprocess.run(asked, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return "no GPU"
    names = said.strip().splitlines()
    return f"{len(names)} x {names[0]}" if names else "no GPU"


@cache
def versions() -> dict[str, str]:
    """Versions of what makes the results; of the code the commit too, where git knows it."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    checkout = Path(__file__).parents[2]
    if (checkout / ".git").exists():  # not that of a project which only uses the package
        git = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=checkout,
            capture_output=True,
            text=True,
            check=False,
        )
        if git.returncode == 0:
            found["commit"] = git.stdout.strip()
    return found
