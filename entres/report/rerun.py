"""What an evaluation ran with, as it is written beside its results: to run it, or more, again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from entres import configs
from entres.errors import EntresError
from entres.experiment import layout
from entres.experiment.experiment import WRAPPERS
from entres.results import Row

Settings = Mapping[str, Any]


def settings_of(folder: Path | None) -> Settings:
    """The configuration of an evaluation; empty where there is none that can be read."""
    file = None if folder is None else layout.newest_config(folder)
    try:
        return {} if file is None else configs.read(file)
    except EntresError:
        return {}


def data_settings(settings: Settings) -> tuple[str | None, Settings]:
    """The data of an evaluation: the name of their file in ``configs/data``, and their arguments.

    Returns:
        No name for data of one's own; no arguments without a configuration.
    """
    data = settings.get("data")
    while isinstance(data, Mapping):
        arguments = data.get("init_args") or {}
        inside = arguments.get("data")
        if not isinstance(inside, Mapping):
            return _names_of_classes().get(str(data.get("class_path"))), arguments
        data = inside
    return None, {}


@cache
def _names_of_classes() -> dict[str, str]:
    names = [name for name in configs.names("data") if name not in WRAPPERS]
    return {configs.read(configs.find("data", n))["class_path"]: n for n in names}


def student_of(row: Row, settings: Settings) -> Path | None:
    """The file of a row's student, if it is where it was and still the same."""
    arguments = (settings.get("model") or {}).get("init_args") or {}
    known = [Path(str(arguments["student"]))] if arguments.get("student") else []
    beside = [] if row.folder is None else [layout.student_beside(row.folder)]
    for file in [*beside, *known]:
        if file.is_file() and row.weights in (None, _digest(file, file.stat().st_mtime_ns)):
            return file
    return None


@cache
def _digest(file: Path, changed: int) -> str:
    """Read once for every time (``changed``) that the file was written."""
    return layout.weights_digest(file)


def same_again(folder: Path) -> str | None:
    """The line that runs an evaluation again, into the same folder; None where nobody knows it."""
    config, settings = layout.newest_config(folder), settings_of(folder)
    if config is None or not settings:
        return None
    words = ["entres", "test", "--config", str(config)]
    # The folder of all runs may have been moved since.
    out, beside = layout.runs_around(folder), layout.student_beside(folder)
    if Path(str(settings.get("out"))).resolve() != out.resolve():
        words += ["--out", str(out)]
        if beside.is_file():
            words += ["--model.student", str(beside)]
    return shlex.join(words)
