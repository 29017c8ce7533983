"""The error that every data problem raises, and the checks of argument values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from entres.errors import EntresError


class DataError(EntresError, ValueError):
    """A data set that cannot be used as asked; the message says what to do about it."""


def require_at_least(name: str, value: int | None, minimum: int, *, optional: bool = False) -> None:
    """Checks the lower bound of an argument.

    Args:
        name: name of the argument, for the message.
        value: its value.
        minimum: the smallest value allowed.
        optional: whether ``None`` is allowed too.

    Raises:
        ValueError: naming the argument, the bound and the value.
    """
    if value is None and optional:
        return
    if value is None or value < minimum:
        wanted = f">= {minimum} or null" if optional else f">= {minimum}"
        raise ValueError(f"{name} must be {wanted}, got {value}")


def require_choice(name: str, value: object, choices: tuple[object, ...]) -> None:
    """Checks that an argument is one of its allowed values.

    Raises:
        ValueError: naming the argument, the choices and the value.
    """
    if value not in choices:
        raise ValueError(f"{name} must be one of {list(choices)}, got {value!r}")


def require_choices(name: str, given: Sequence[Any] | None, choices: Sequence[Any]) -> list[Any]:
    """What was chosen, or everything if nothing was.

    Raises:
        ValueError: naming the argument, what is unknown or doubled, and the choices.
    """
    if given is None:
        return list(choices)
    unknown = [value for value in given if value not in choices]
    if unknown or not given or len(set(given)) < len(given):
        raise ValueError(
            f"{name} must be some of {', '.join(map(str, choices))}, each once, or null for all; "
            f"got {', '.join(map(str, given)) or 'none'}"
        )
    return list(given)
