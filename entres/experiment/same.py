"""Is this the run that was asked for? One answer for trainings, evaluations and cells."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from entres.errors import EntresError
from entres.files import write_whole

FILE = "asked.json"
"""Beside what a run leaves: what it was asked for."""
PARTS = (
    "seed_everything",
    "model",
    "data",
    "trainer",
    "defense",
    "defense_strengths",
    "defense_threshold_kib",
    "budget_kib",
    "maps",
    "control",
    "classes",
)
"""What of a command line is compared."""
TRAINER = {
    "max_epochs",
    "max_steps",
    "max_time",
    "limit_train_batches",
    "limit_test_batches",
    "overfit_batches",
    "fast_dev_run",
    "accumulate_grad_batches",
    "gradient_clip_val",
    "gradient_clip_algorithm",
    "precision",
}
"""What of Lightning's trainer is compared, which cannot declare it itself. Loggers, bars and the
like change no result; another number of devices does, but nobody wants a finished student anew for
that."""
WRITTEN_OUT: dict[str, Any] = {"trainer.precision": "32-true", "control": False}
"""What a setting that is null comes to."""


class RunConflictError(EntresError, RuntimeError):
    """A run's folder holds a run that was asked for otherwise."""

    @classmethod
    def of(cls, folder: str | Path, changed: list[str]) -> RunConflictError:
        """The error of a folder and what differs: ``name: value there, value now``."""
        return cls(
            f"{folder} holds a run with other settings ({'; '.join(changed)}). Give the same "
            "settings, another --out (OUT), or delete the folder"
        )


def asked_for(settings: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """What of a command line makes a run what it is.

    Args:
        settings: the configuration as it would be saved; ``classes`` among it, where the data have
            some.
        kind: ``training`` or ``evaluation``. The classes that are configured declare which of their
            parameters change none: ``changes_no_training`` and ``changes_no_evaluation``.
    """
    out = f"{settings.get('out', 'runs')}".rstrip("/") + "/"
    kept = {name: settings[name] for name in PARTS if settings.get(name) is not None}
    trainer = kept.get("trainer") or {}
    kept["trainer"] = {name: value for name, value in trainer.items() if name in TRAINER}
    result = _kept(kept, f"changes_no_{kind}", out)
    assert isinstance(result, dict)
    return result


def _kept(value: object, declaration: str, out: str) -> object:
    """Without what changes nothing; what lies in the folder of all runs is named from there."""
    if isinstance(value, Mapping):
        harmless: frozenset[str] = frozenset()
        if "class_path" in value:
            harmless = _declared(str(value["class_path"]), declaration)
        return {
            # A level that only the parser needs.
            **{
                name: _kept(part, declaration, out)
                for name, part in (value.get("init_args") or {}).items()
                if name not in harmless
            },
            **{n: _kept(part, declaration, out) for n, part in value.items() if n != "init_args"},
        }
    if isinstance(value, list | tuple):
        return [_kept(part, declaration, out) for part in value]
    inside = isinstance(value, str) and value.startswith(out)
    return f"OUT/{str(value).removeprefix(out)}" if inside else value


def _declared(class_path: str, declaration: str) -> frozenset[str]:
    """What a class and those that it is made of declare."""
    module, _, name = class_path.rpartition(".")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError):  # a class that is gone, or a function
        return frozenset()
    bases = getattr(found, "__mro__", ())
    return frozenset().union(*(vars(base).get(declaration, ()) for base in bases))


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What was asked for otherwise then.

    Args:
        then: what :func:`asked_for`, or any other nested mapping of settings, was then.
        now: likewise, now.

    Returns:
        ``name: value there, value now`` for each setting.
    """
    # With a defense and without one are two runs, and of the latter nobody writes the word.
    null = dict.fromkeys(PARTS)
    return list(_differences("", {**null, **then}, {**null, **now}))


def _differences(name: str, then: object, now: object) -> Iterator[str]:
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        for key in then:
            # A setting that only one of them has came with another version, and has its default.
            if key in now:
                yield from _differences(f"{name}.{key}" if name else key, then[key], now[key])
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


def write_asked(folder: Path, asked: Mapping[str, Any]) -> None:
    """Note what a run is asked for, before it begins."""
    write_whole(folder / FILE, json.dumps(asked, indent=2, default=str) + "\n")


def read_asked(folder: Path) -> dict[str, Any] | None:
    """What a run was asked for; None where nobody noted it (weights that came from elsewhere)."""
    try:
        content = json.loads((folder / FILE).read_text())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None
