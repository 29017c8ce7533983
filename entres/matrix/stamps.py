"""What a finished cell leaves behind: ``<OUT>/matrix/<cell>.json``, written last and at once."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from entres.files import write_whole
from entres.matrix.cells import Cell, Matrix

PACKAGES = ("entres", "torch", "lightning", "compressai", "timm", "torchvision", "numpy")


@dataclass(frozen=True)
class Stamp:
    """That a cell is finished.

    Attributes:
        cell: its name.
        command: the words of its call.
        identity: see :attr:`Cell.identity`.
        seconds: how long the call took, wall clock. Of a cell that was killed and went on, the
            last call's alone.
        finished: when, UTC, ISO 8601.
        returncode: of the call: 0.
        machine: what it ran on, in words.
        versions: of the packages, Python and the code.
    """

    cell: str
    command: list[str]
    identity: list[str]
    seconds: float
    finished: str
    returncode: int
    machine: str
    versions: dict[str, str]


def folder(out: str | Path) -> Path:
    """Where stamps and logs lie."""
    return Path(out) / "matrix"


def log_path(out: str | Path, name: str) -> Path:
    """What a cell said, in all its calls."""
    return folder(out) / f"{name}.log"


def write_stamp(out: str | Path, stamp: Stamp) -> None:
    """Write a stamp; a reader never sees half of one."""
    path = folder(out) / f"{stamp.cell}.json"
    write_whole(path, json.dumps(asdict(stamp), indent=2) + "\n")


def read_stamps(out: str | Path) -> dict[str, Stamp]:
    """Every stamp by the name of its cell, in the order in which they were written."""
    stamps = [Stamp(**json.loads(p.read_text())) for p in folder(out).glob("*.json")]
    return {stamp.cell: stamp for stamp in sorted(stamps, key=lambda s: s.finished)}


def write_plan(out: str | Path, matrix: Matrix) -> None:
    """Note what a matrix consists of, for reports: ``<OUT>/matrix/plans/<name>.json``."""
    path = folder(out) / "plans" / f"{matrix.name}.json"
    write_whole(path, json.dumps(asdict(matrix), indent=2) + "\n")


def read_plans(out: str | Path) -> list[Matrix]:
    """Every matrix that was begun."""
    plans = []
    for path in sorted((folder(out) / "plans").glob("*.json")):
        values = json.loads(path.read_text())
        cells = [Cell(**cell) for cell in values.pop("cells")]
        plans.append(Matrix(cells=cells, **values))
    return plans


@cache
def machine() -> str:
    """The machine in a few words, such as ``2 cores of Intel Xeon, no GPU``."""
    model = platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        named = [x for x in info.read_text().splitlines() if x.startswith("model name")]
        model = named[0].split(":", 1)[1].strip() if named else model
    import torch  # a report reads stamps, and needs no torch for that

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    gpu = f"{len(gpus)} x {gpus[0]}" if gpus else "no GPU"
    return f"{os.cpu_count()} cores of {model}, {gpu}"


@cache
def versions() -> dict[str, str]:
    """Versions of what makes the results; of the code the commit too, where git knows it."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    git = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    if git.returncode == 0:
        found["commit"] = git.stdout.strip()
    return found
