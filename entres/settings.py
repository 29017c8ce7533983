"""What a run was asked for, to be compared where it is asked for again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

PARTS = {"seed_everything", "model", "data", "trainer"}
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
"""What of the trainer is compared. Loggers, bars and the like change no training; another number of
devices does, but nobody wants a finished student anew for that."""
HARMLESS = {
    "data_dir",
    "download",
    "num_workers",
    "eval_batch_size",
    "eval_limit_per_class",
    "val_limit_per_class",
    "test_per_class",
    "clean",
    "through",
}
"""What of the data concerns evaluations only, or may lie elsewhere now (their name is compared)."""
WRITTEN_OUT = {"trainer.precision": "32-true"}
"""What a setting that is null comes to."""


def differences(folder: Path, asked: Mapping[str, Any]) -> list[str]:
    """What a run was asked for otherwise than now.

    Args:
        folder: of the run. What it was asked for stands in the newest
            ``logs/version_<n>/config.yaml``, or in ``config.yaml`` where it had no loggers; where
            there is neither (weights that came from elsewhere), nothing differs.
        asked: the configuration of a ``fit`` as it would be saved.

    Returns:
        ``name: value there, value now`` for each setting.
    """
    files = sorted(folder.glob("logs/version_*/config.yaml"), key=_age)
    files = files or [path for path in [folder / "config.yaml"] if path.is_file()]
    if not files:
        return []
    saved = _compared(yaml.safe_load(files[-1].read_text()))
    return list(_differences("", saved, _compared(asked)))


def _age(config: Path) -> tuple[int, float]:
    number = config.parent.name.removeprefix("version_")
    return (int(number) if number.isdecimal() else -1, config.stat().st_mtime)


def _compared(settings: Mapping[str, Any]) -> Any:
    """The parts that matter; what lies in the folder of all runs is named from there."""
    out = f"{settings.get('out', 'runs')}".rstrip("/") + "/"

    def named(value: object) -> object:
        if isinstance(value, Mapping):
            return {key: named(part) for key, part in value.items()}
        if isinstance(value, list):
            return [named(part) for part in value]
        inside = isinstance(value, str) and value.startswith(out)
        return f"OUT/{str(value).removeprefix(out)}" if inside else value

    return named({key: value for key, value in settings.items() if key in PARTS})


def _differences(name: str, then: object, now: object) -> Iterator[str]:
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        for key in then:
            if key == "init_args":  # a level that only jsonargparse needs
                yield from _differences(name, then[key], now.get(key, {}))
            # A setting that only one of them has came with another version, and has its default.
            elif key in now and key not in HARMLESS and (name != "trainer" or key in TRAINER):
                inside = f"{name}.{key}" if name else key
                yield from _differences(inside, then[key], now[key])
    elif isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        for number, (one, other) in enumerate(zip(then, now, strict=True)):
            yield from _differences(f"{name}[{number}]", one, other)
    elif not _same(name, then, now):
        yield f"{name}: {_brief(then)} there, {_brief(now)} now"


def _same(name: str, one: object, other: object) -> bool:
    one, other = (WRITTEN_OUT.get(name) if v is None else v for v in (one, other))
    if isinstance(one, str) and isinstance(other, str):
        return one == other or Path(one).resolve() == Path(other).resolve()
    # The type as well: of batches, 1 is one and 1.0 is all.
    return type(one) is type(other) and one == other


def _brief(value: object) -> str:
    if isinstance(value, Mapping):
        return str(value.get("class_path") or value.get("name") or dict(value))
    return "null" if value is None else str(value)
