"""Names, folders and files of runs: the one place that makes them; nobody takes one apart again.

::

    <out>/<data>/<backbone>-teacher/teacher.safetensors
    <out>/<data>/<backbone>-<codec>-beta<beta>-<recipe>/student.safetensors
                                                        checkpoints/last.ckpt
                                                        logs/version_<n>/
                                                        eval/<evaluation>/summary.json, records.csv
    <out>/matrix/<cell>.json, <cell>.log

``<data>`` is what a teacher or student was trained on; of an evaluation, what it is evaluated on. A
seed other than 0 is the end of a run's name. A student from elsewhere (of ``zoo/``, say, or trained
on other data) is told apart by a few digits that its weights give.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from pathlib import Path

from entres.card import StudentCard, short_backbone, student_name

TEACHER, STUDENT = "teacher.safetensors", "student.safetensors"
LONGEST = 100
"""Characters of a folder's name; file systems take 255 bytes."""


def folder_name(text: str) -> str:
    """A text as the name of one folder; where that cannot hold it, a digest tells it apart."""
    plain = re.sub(r"[^\w.+=-]+", "_", text).strip(".") or "_"
    if plain == text and len(text) <= LONGEST:
        return text
    return f"{plain[: LONGEST - 7]}-{digest(text.encode())}"


def digest(content: bytes) -> str:
    """Six digits that tell contents apart."""
    return blake2b(content, digest_size=3).hexdigest()


def weights_digest(file: str | Path, size: int = 3) -> str:
    """Digits that tell files of weights, or others, apart: six, or two for each byte of a size."""
    hashed = blake2b(digest_size=size)
    with Path(file).open("rb") as stream:
        while block := stream.read(1 << 20):
            hashed.update(block)
    return hashed.hexdigest()


def teacher_name(backbone: str, seed: int = 0) -> str:
    """The name of a teacher's run."""
    return f"{short_backbone(backbone)}-teacher" + (f"-seed{seed}" if seed else "")


def run_folder(out: str | Path, data: str, run: str) -> Path:
    """Where a run on some data lies."""
    return Path(out) / folder_name(data) / run


def teacher_file(out: str | Path, data: str, backbone: str, seed: int = 0) -> Path:
    """What the training of a teacher leaves."""
    return run_folder(out, data, teacher_name(backbone, seed)) / TEACHER


def student_file(
    out: str | Path, data: str, backbone: str, codec: str, beta: float, recipe: str, seed: int = 0
) -> Path:
    """What a stage of a student leaves."""
    name = student_name(backbone, codec, beta, recipe, seed)
    return run_folder(out, data, name) / STUDENT


def last_checkpoint(folder: Path) -> Path:
    """Where a killed run goes on."""
    return folder / "checkpoints" / "last.ckpt"


def evaluation_folder(
    out: str | Path, data: str, file: str | Path, card: StudentCard, evaluation: str
) -> Path:
    """Where an evaluation's results lie.

    Args:
        out: folder of all runs.
        data: what the student is evaluated on.
        file: of the student.
        card: of the student.
        evaluation: its name.
    """
    home = run_folder(out, data, card.name)
    if Path(file).resolve() != (home / STUDENT).resolve():
        home = home.with_name(f"{card.name}-{weights_digest(file)}")
    return home / "eval" / folder_name(evaluation)


def runs_around(evaluation: Path) -> Path:
    """The folder of all runs that an evaluation's folder lies in, if it was not moved."""
    return _above(evaluation, 3)


def student_beside(evaluation: Path) -> Path:
    """Where the student of an evaluation's folder lies, if it was trained there."""
    return _above(evaluation, 1) / STUDENT


def _above(folder: Path, number: int) -> Path:
    """The folder so many above the one that a folder lies in, or the topmost that there is."""
    around = (folder if len(folder.parents) > number else folder.absolute()).parents
    return around[min(number, len(around) - 1)]


def newest_config(run: Path) -> Path | None:
    """The configuration of the last call that wrote into a run's folder; None without one."""
    configs = run.glob("logs/version_*/config.yaml")
    numbered = [(path.parent.name.removeprefix("version_"), path) for path in configs]
    known = [(int(number), path) for number, path in numbered if number.isdecimal()]
    return max(known)[1] if known else None


def matrix_folder(out: str | Path) -> Path:
    """Where a matrix keeps what it knows of its cells."""
    return Path(out) / "matrix"
