"""The verb that says what a student costs the device and the server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from entres import configs
from entres.errors import EntresError

if TYPE_CHECKING:
    from entres.models.costs import Cost


def cost(*students: str, side: int = 224, repeats: int = 20, threads: int = 1) -> None:
    """What a student costs the device and the server: parameters, multiplications, milliseconds.

    One photograph is coded and decoded on this machine's processor. With one thread its processor
    time counts: other work on the machine then matters less.

    Args:
        students: files of students (default: one that travels with the package).
        side: of the photograph, in px.
        repeats: runs of which the median time counts.
        threads: of the networks.

    Raises:
        EntresError: if there is no such student, or a number is too small.
    """
    for name, value in (("side", side), ("repeats", repeats), ("threads", threads)):
        if value < 1:
            raise EntresError(f"{name} must be >= 1, got {value}")
    import time

    import torch

    from entres.models import load_student
    from entres.models.costs import costs
    from entres.verbs.photographs import photographs

    image = torch.nn.functional.interpolate(
        photographs(())[1][:1], (side, side), mode="bilinear", antialias=True
    ).clamp(0, 1)
    torch.set_num_threads(threads)
    for file in students or (str(configs.EXAMPLE_STUDENT),):
        student, card = load_student(file)
        clock = time.thread_time if threads == 1 else time.perf_counter
        try:
            found = costs(student.requires_grad_(False), image, repeats, clock)
        except ValueError as error:
            raise EntresError(f"{card.name}: {error}") from error
        _print(card.name, found, f"one image of {side} x {side} px, threads: {threads}")


def _print(title: str, found: Sequence[Cost], note: str) -> None:
    from entres.report.formats import Number, Table
    from entres.report.terminal import show_table

    rows = [
        (
            row.end,
            row.part,
            Number(row.parameters, ",d"),
            None if row.macs is None else Number(row.macs / 1e6, ",.1f"),
            Number(1000 * row.seconds, ".2f"),
        )
        for row in found
    ]
    show_table(
        Table("cost", title, ("end", "part", "parameters", "million MACs", "ms"), rows, note)
    )
