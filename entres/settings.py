"""What a finished run was asked for, to be compared where it is asked for again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from entres.stages import RunConflictError

PARTS = ("seed_everything", "model", "data", "trainer")
TRAINER = {
    "max_epochs",
    "max_steps",
    "max_time",
    "limit_train_batches",
    "overfit_batches",
    "accumulate_grad_batches",
    "gradient_clip_val",
    "gradient_clip_algorithm",
    "precision",
}
"""What of the trainer changes a training; devices, loggers, bars and the like do not."""
HARMLESS = {
    "data_dir",
    "download",
    "num_workers",
    "eval_batch_size",
    "eval_limit_per_class",
    "val_limit_per_class",
}
"""What of the data does not change a training, or may lie elsewhere now."""


def require_same_settings(folder: Path, asked: Mapping[str, Any]) -> None:
    """Compare a finished run with what is asked for now.

    Args:
        folder: of the run; ``logs/version_<n>/config.yaml`` in it says what it was asked for.
            Where there is none (weights that came from elsewhere), anything is right.
        asked: the parsed configuration of a ``fit``, as plain values.

    Raises:
        RunConflictError: naming what differs.
    """
    files = list(folder.glob("logs/version_*/config.yaml"))
    if not files:
        return
    saved = yaml.safe_load(max(files, key=_version).read_text())
    then, now = dict(_flat(saved)), dict(_flat(asked))
    # A setting that only one of them has came with another version, and has its default.
    changed = [
        f"{key}: {value} there, {now[key]} now"
        for key, value in then.items()
        if key in now and not _same(value, now[key])
    ]
    if changed:
        raise RunConflictError.of(folder, changed)


def _version(config: Path) -> int:
    return int(config.parent.name.removeprefix("version_"))


def _flat(values: object, name: str = "") -> Iterator[tuple[str, object]]:
    """Settings that matter by dotted names, without the levels that only jsonargparse needs."""
    if not isinstance(values, Mapping):
        yield name, list(values) if isinstance(values, tuple) else values
        return
    for key, value in values.items():
        if not name:
            if key in PARTS:
                yield from _flat(value, key)
        elif key == "init_args":
            yield from _flat(value, name)
        elif (name != "trainer" or key in TRAINER) and key not in HARMLESS:
            yield from _flat(value, f"{name}.{key}")


def _same(one: object, other: object) -> bool:
    if isinstance(one, str) and isinstance(other, str):
        return one == other or Path(one).resolve() == Path(other).resolve()
    return one == other
