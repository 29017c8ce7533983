"""What suits a data set: ``configs/experiment/<data>.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from entres import configs
from entres.errors import EntresError


@dataclass(frozen=True)
class Suits:
    """What an experiment on a data set takes where nothing else is asked for.

    Attributes:
        backbone: timm name of the teacher.
        needs_folder: whether ``data_dir`` must be given.
        folder_argument: what the data module calls ``data_dir``; None: it takes none.
        named_after_folder: whether results call the data after the folder.
        trains_teacher: whether its classes are known to no published teacher.
        teacher_start: weights that the training of a teacher of this backbone starts from; random
            ones if None. The next two are then for that case alone.
        teacher_epochs: of that training; what the stage's file says if None.
        teacher_rate: its learning rate; likewise.
        teacher_batch_size: what the data module says if None.
        packaged_start: whether a student starts from the one that travels with the package, where
            backbone and codec are that student's; it then needs no first stage.
        student_epochs: of each stage of a student; likewise.
        student_batch_size: likewise.
        train_size: side of all training images in px; what the data module says if None.
        matrix: what ``reproduce`` runs.
        students_of: the data whose students are evaluated; its own if None.
        targets: those that there are for the data; all if None.
        resizes: whether its images can be brought to a size; others have one.
    """

    backbone: str = "resnet50"
    needs_folder: bool = True
    folder_argument: str | None = "data_dir"
    named_after_folder: bool = False
    trains_teacher: bool = False
    teacher_start: str | None = None
    teacher_epochs: int | None = None
    teacher_rate: float | None = None
    teacher_batch_size: int | None = None
    packaged_start: bool = False
    student_epochs: int | None = None
    student_batch_size: int | None = None
    train_size: int | None = None
    matrix: str = "photos"
    students_of: str | None = None
    targets: tuple[str, ...] | None = None
    resizes: bool = True

    @classmethod
    def of(cls, data: str) -> Suits:
        """What suits a data set; of a YAML of one's own nothing special is known.

        Raises:
            EntresError: if the file holds anything else.
        """
        return _suits(data)

    def check_folder(self, data: str, data_dir: str | None) -> None:
        """Refuse a folder where the data lie in none.

        Raises:
            EntresError: naming the data that lie in one.
        """
        if data_dir is not None and self.folder_argument is None:
            raise EntresError(takes_no_folder(data))

    def name_of(self, data: str, data_dir: str | None) -> str:
        """What results call a data set; the same as its data module's ``name``."""
        if self.named_after_folder:
            return Path(data_dir).resolve().name if data_dir else data
        return _own_name(data, data_dir) if data.endswith(configs.SUFFIXES) else data


def takes_no_folder(data: str) -> str:
    """The sentence for a folder that is given to data which lie in none."""
    return f"data={data} takes no data_dir; for photos of your own give --data imagefolder"


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
    return str(data_module(file, data_dir).name)


def data_module(data: str, data_dir: str | None, settings: Mapping[str, object] = {}) -> Any:
    """The data module of a data set, made.

    Args:
        data: a name in ``configs/data``, or a YAML of one's own: ``class_path`` and ``init_args``.
        data_dir: folder of the data.
        settings: further arguments.

    Raises:
        EntresError: if it cannot be made so.
    """
    file = configs.find("data", data)
    suits = Suits.of(data)
    suits.check_folder(data, data_dir)
    content = configs.read(file)
    module, _, name = str(content.get("class_path", "")).rpartition(".")
    arguments = {**(content.get("init_args") or {}), **settings}
    if data_dir is not None:
        arguments[suits.folder_argument] = data_dir
    kind: Any = None
    try:
        kind = getattr(import_module(module), name)
        return kind(**arguments)
    except Exception as error:
        known = configs.settings_of(kind) if isinstance(kind, type) else list(arguments)
        unknown = [setting for setting in arguments if setting not in known]
        if isinstance(error, TypeError) and unknown:
            if data_dir is not None and suits.folder_argument in unknown:
                raise EntresError(takes_no_folder(data)) from error
            sentence = configs.unknown("setting", unknown[0], sorted(known))
            raise EntresError(f"data={data}: {sentence}") from error
        raise EntresError(f"{configs.shown(file)} makes no data module: {error}") from error
