"""What a student costs the device and the server: parameters, multiplications and time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from entres.models.codec import Codec
from entres.models.student import EntropicStudent


class Cost(NamedTuple):
    """Of one part, for one image.

    Attributes:
        end: whose work it is, ``device`` or ``server``.
        part: ``analysis`` (image to symbols), ``coding``, ``decoding`` (with the hyperprior's
            network), ``synthesis``, ``tail``.
        parameters: of its networks; what the coding tables were made of does not count.
        macs: multiplications with an addition, in convolutions and matrix products; what is done
            to single numbers does not count. None where there are none.
        seconds: median time.
    """

    end: str
    part: str
    parameters: int
    macs: int | None
    seconds: float


@torch.no_grad()
def costs(
    student: EntropicStudent,
    image: Tensor,
    repeats: int = 10,
    clock: Callable[[], float] = time.perf_counter,
) -> list[Cost]:
    """What every part of a student costs, in the order in which an image passes them.

    Args:
        student: in evaluation mode.
        image: in [0, 1], shape (1, 3, H, W), on the CPU like the student.
        repeats: runs of which the median time counts, at least 1.
        clock: in seconds; wall-clock time if no other is given.

    Raises:
        ValueError: if the image is none that the student codes.
    """
    codec = student.codec
    streams = student.encode(image)
    plan = codec.plan(student.normalize(image))
    features = codec.synthesise(plan.latents["y"])
    analysis, synthesis = _hyper_parts(codec)
    steps: list[tuple[str, str, Iterable[nn.Module], Callable[[], object]]] = [
        (
            "device",
            "analysis",
            (codec.g_a, *analysis),
            lambda: codec.plan(student.normalize(image)),
        ),
        ("device", "coding", (), lambda: codec.encode_plan(plan)),
        ("server", "decoding", synthesis, lambda: codec.decode_latents(streams)),
        ("server", "synthesis", (codec.g_s,), lambda: codec.synthesise(plan.latents["y"])),
        ("server", "tail", (student.tail,), lambda: student.tail(features)),
    ]
    return [
        Cost(end, part, _parameters(modules), _macs(run) or None, _seconds(run, repeats, clock))
        for end, part, modules, run in steps
    ]


def _hyper_parts(codec: Codec) -> tuple[list[nn.Module], list[nn.Module]]:
    """What the hyperprior has beside ``g_a`` and ``g_s``: at the sender, at the receiver."""
    sender = [getattr(codec, name) for name in ("h_a", "h_s") if hasattr(codec, name)]
    return sender, sender[1:]


def _parameters(modules: Iterable[nn.Module]) -> int:
    return sum(p.numel() for module in modules for p in module.parameters())


def _macs(run: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        run()
    return int(counter.get_total_flops()) // 2  # it counts the addition by itself


def _seconds(run: Callable[[], object], repeats: int, clock: Callable[[], float]) -> float:
    times = []
    for _ in range(repeats):
        start = clock()
        run()
        times.append(clock() - start)
    return statistics.median(times)
