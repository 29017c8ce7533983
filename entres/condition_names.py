"""What results call attacks: the parts of a name, and what it says."""

from __future__ import annotations

import re
from collections.abc import Iterable

AND = " and "
SMALLEST_EPSILON = "smallest_epsilon_255"
"""Column of ``records.csv``: the radius that an attack found which sought the smallest."""


def stored_name(condition: str, jpeg_quality: int | None) -> str:
    """``pgd_e`` makes ``pgd_e_8bit``, or ``pgd_e_jpeg75`` where JPEG held its images."""
    return f"{condition}_8bit" if jpeg_quality is None else f"{condition}_jpeg{jpeg_quality}"


def leaves_its_ball(condition: str) -> bool:
    """Whether the images of an attack of this name lie where no attack in its ball may go.

    Its results say norm and epsilon of the ball that it began from; JPEG changes what it likes.
    """
    return re.search(r"_jpeg\d+(_|$)", condition) is not None


def over_name(condition: str, budget_kib: float) -> str:
    """``pgd_e`` and 6 make ``pgd_e_over_6kib``: each image no further than it takes for that."""
    return f"{condition}_over_{budget_kib:g}kib"


def budget_of(condition: str) -> float | None:
    """The budget in KiB that an attack of this name seeks to pass; None of any other attack.

    The inverse of :func:`over_name`.
    """
    found = re.search(r"_over_(\d[\d.e+-]*)kib$", condition)
    return float(found[1]) if found else None


def is_on_accuracy(condition: str) -> bool:
    """Whether an attack of this name is after the label, not the size."""
    return condition.startswith(("pgd_acc", "acc_ensemble", "universal_accuracy"))


def is_black_box(condition: str) -> bool:
    """Whether an attack of this name sees the length of streams alone."""
    return re.fullmatch(r"square(_\d+_queries)?", condition) is not None


def preset_with_steps(preset: str, steps: int) -> str:
    """``strong`` and 400 make ``strong, 400 steps``: an attack of its own in every table."""
    return f"{preset}, {steps} steps"


def preset_and_steps(name: str) -> tuple[str, int | None]:
    """The preset of a name, and the steps that were asked for; None for its own.

    The inverse of :func:`preset_with_steps`.
    """
    found = re.fullmatch(r"(.+), (\d+) steps", name)
    return (found[1], int(found[2])) if found else (name, None)


def victim_name(student: str, weights: str) -> str:
    """What results call a student that was attacked: its name, and the digits of its file."""
    return f"{student} ({weights})"


def victims_name(names: Iterable[str]) -> str:
    """Several that were attacked at once; the inverse of :func:`victims_of`."""
    return AND.join(names)


def victims_of(victim: str) -> list[str]:
    """The students that an attack was made for, each as :func:`victim_name` has it."""
    return victim.split(AND)
