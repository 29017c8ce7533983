"""The lines that would measure what is missing."""

from __future__ import annotations

import shlex
from typing import Any

from entres import configs
from entres.condition_names import preset_and_steps
from entres.experiment import layout
from entres.experiment.experiment import RECIPES, WRAPPERS, Experiment, ExperimentError
from entres.experiment.suits import Suits
from entres.report.rerun import data_settings, settings_of, student_of
from entres.report.tables.common import Rows

UNKNOWN_FOLDER = "/path/to/the/data"
OWN_DATA = "/path/to/the/data.yaml"


def calls(target: str, rows: Rows, **asked: Any) -> list[str]:
    """The line of ``entres`` that would measure more of a student, on the same data.

    Args:
        target: see :data:`entres.experiment.TARGETS`.
        rows: the first one says which student and data; the default ones without rows.
        asked: options of :class:`Experiment`. With another codec, beta or recipe than the row's, it
            is another student.

    Returns:
        One line; none where it cannot be said (a preset of one's own, say).
    """
    if not rows:
        return _line(target, asked)
    row = rows[0]
    settings = settings_of(row.folder)
    data, arguments = data_settings(settings)
    values: dict[str, Any] = {"images_per_class": arguments.get("eval_limit_per_class")}
    if (resize := arguments.get("resize", "auto")) != "auto":
        values["resize"] = resize
    if row.folder is not None:
        values["out"] = layout.runs_around(row.folder)
    recipe = row.recipe if row.recipe in RECIPES else Experiment.recipe
    trained = {"backbone": row.backbone, "codec": row.codec, "beta": row.beta, "recipe": recipe}
    another = any(asked.get(name, value) != value for name, value in trained.items())
    if not another and (file := student_of(row, settings)):
        values |= {"student": file, "seed": settings.get("seed_everything")}
    elif not another and row.recipe not in RECIPES:  # what it was trained on is in its file
        values["student"] = f"/path/to/{row.student}.safetensors"
    else:
        values |= {**trained, "seed": row.seed}
    if data is None and arguments:
        values["data_dir"] = arguments.get("data_dir")
        return _line(target, values | asked, OWN_DATA)
    if data is None:  # folders of images are called after their folder
        known = [name for name in configs.names("data") if name not in WRAPPERS]
        data = row.dataset if row.dataset in known else "imagefolder"
    folder = arguments.get("data_dir")
    suits = Suits.of(data)
    if suits.students_of and target not in (suits.targets or ()):
        data, folder = suits.students_of, None
        suits = Suits.of(data)
    values["data"] = data
    values["data_dir"] = folder or (UNKNOWN_FOLDER if suits.needs_folder else None)
    return _line(target, values | asked)


def _line(target: str, values: dict[str, Any], own_data: str | None = None) -> list[str]:
    if (name := values.get("preset")) is not None:
        preset, steps = preset_and_steps(name)
        values = values | {"preset": preset} | ({} if steps is None else {"steps": steps})
    try:
        words = Experiment.of(**{name: _plain(value) for name, value in values.items()}).flags()
    except ExperimentError:
        return []
    data = ["--data", own_data] if own_data else []
    return [shlex.join(["entres", target, *data, *words])]


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, int | float | list | tuple) else str(value)
