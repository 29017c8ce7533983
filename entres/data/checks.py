"""The error that every data problem raises, and the checks of argument values."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import Any, TypeVar

from entres.errors import EntresError

T = TypeVar("T")


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


def require_told_apart(what: str, kinds: Sequence[T], label: Callable[[T], str]) -> None:
    """Checks that results can tell several things of a kind apart.

    Two of one name would be one in the results, with every image twice.

    Args:
        what: attacks or defenses, for the message.
        kinds: what results call each of them.
        label: in words.

    Raises:
        ValueError: naming the first that there are several of.
    """
    for kind in kinds:
        if kinds.count(kind) > 1:
            raise ValueError(
                f"several {what} are {label(kind)} in the results: evaluate each by itself, with "
                "--model.evaluation NAME"
            )


OTHERWISE_CALLED = 0.1
"""Share of the classes that two data sets may call otherwise and still mean the same ones."""
_WNID = re.compile(r"n\d{8}")


def require_same_classes(
    whose: str, known: Sequence[str] | None, present: Sequence[str] | None
) -> None:
    """Checks that a network's classes are those of the data, by their names.

    Names are compared up to their first comma, as ImageNet's are lists of synonyms. Of ImageNet's,
    numbers (``n01440764``) and words are not compared.

    Args:
        whose: the network, for the message.
        known: name of each class that it knows; None if it does not say.
        present: name of each class of the data; likewise.

    Raises:
        DataError: if more than a tenth of them differ.
    """
    if known is None or present is None:
        return
    there, here = (_first_names(names) for names in (known, present))
    if all(map(_WNID.fullmatch, there)) != all(map(_WNID.fullmatch, here)):
        return
    differ = [label for label, (a, b) in enumerate(zip_longest(there, here)) if a != b]
    if len(differ) > OTHERWISE_CALLED * len(here):
        label = differ[0]
        names = [each[label] if label < len(each) else "none" for each in (there, here)]
        raise DataError(
            f"{whose} knows other classes than the data have: number {label} is {names[0]!r} there "
            f"and {names[1]!r} here (another folder of the same name?). Give the data that it was "
            "trained on, or another --out (OUT)"
        )


def _first_names(names: Sequence[str]) -> list[str]:
    return [name.partition(",")[0].strip().casefold() for name in names]
