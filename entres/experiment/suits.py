"""What suits a data set: ``configs/experiment/<data>.yaml``."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache
from importlib import import_module
from pathlib import Path

from entres import configs
from entres.errors import EntresError


@dataclass(frozen=True)
class Suits:
    """What an experiment on a data set takes where nothing else is asked for.

    Attributes:
        backbone: timm name of the teacher.
        needs_folder: whether ``data_dir`` must be given.
        named_after_folder: whether results call the data after the folder.
        trains_teacher: whether its classes are known to no published teacher.
        teacher_start: weights that the teacher's training starts from; random ones if None.
        teacher_epochs: of that training; what the stage's file says if None.
        student_epochs: of each stage of a student; likewise.
        student_batch_size: likewise.
        matrix: what ``reproduce`` runs.
        students_of: the data whose students are evaluated; its own if None.
        targets: those that there are for the data; all if None.
    """

    backbone: str = "resnet50"
    needs_folder: bool = True
    named_after_folder: bool = False
    trains_teacher: bool = False
    teacher_start: str | None = None
    teacher_epochs: int | None = None
    student_epochs: int | None = None
    student_batch_size: int | None = None
    matrix: str = "photos"
    students_of: str | None = None
    targets: tuple[str, ...] | None = None

    @classmethod
    def of(cls, data: str) -> Suits:
        """What suits a data set; of a YAML of one's own nothing special is known.

        Raises:
            EntresError: if the file holds anything else.
        """
        return _suits(data)

    def name_of(self, data: str, data_dir: str | None) -> str:
        """What results call a data set; the same as its data module's ``name``."""
        if self.named_after_folder:
            return Path(data_dir).resolve().name if data_dir else data
        return _own_name(data, data_dir) if data.endswith(configs.SUFFIXES) else data


@cache
def _suits(data: str) -> Suits:
    path = configs.FOLDER / "experiment" / f"{data}.yaml"
    if not path.is_file():
        return Suits(needs_folder=False)
    values = configs.read(path)
    known = [field.name for field in fields(Suits)]
    if wrong := [name for name in values if name not in known]:
        raise EntresError(f"{path}: {configs.unknown('setting', wrong[0], known)}")
    if values.get("targets") is not None:
        values["targets"] = tuple(values["targets"])
    return Suits(**values)


@cache
def _own_name(file: str, data_dir: str | None) -> str:
    """The name that a data module of one's own gives itself."""
    content = configs.read(Path(file))
    module, _, name = str(content.get("class_path", "")).rpartition(".")
    arguments = dict(content.get("init_args") or {})
    if data_dir is not None:
        arguments["data_dir"] = data_dir
    try:
        made = getattr(import_module(module), name)(**arguments)
        return str(made.name)
    except Exception as error:
        raise EntresError(f"{file} makes no data module: {error}") from error
