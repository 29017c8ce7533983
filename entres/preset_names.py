"""What results call a preset that took another number of steps than its own."""

from __future__ import annotations

import re


def with_steps(preset: str, steps: int) -> str:
    """``strong`` and 400 make ``strong, 400 steps``: an attack of its own in every table."""
    return f"{preset}, {steps} steps"


def parted(name: str) -> tuple[str, int | None]:
    """The preset of a name, and the steps that were asked for; None for its own.

    The inverse of :func:`with_steps`.
    """
    found = re.fullmatch(r"(.+), (\d+) steps", name)
    return (found[1], int(found[2])) if found else (name, None)
