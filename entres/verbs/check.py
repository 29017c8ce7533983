"""The verb that tells what this machine does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from entres import configs
from entres.errors import EntresError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

REPEATS = 5
"""Runs of which the fastest counts: a busy machine slows some of them."""
NOT_THE_SAME = 1e-4
"""Difference of features, relative to their largest magnitude, that no rounding explains."""


class Outcome(NamedTuple):
    """What became of one round trip.

    Attributes:
        what: sender and receiver.
        refused: streams that the receiver refused.
        difference: of the features from those of the sender's own decoding, relative to their
            largest magnitude; NaN where all were refused.
    """

    what: str
    refused: int
    difference: float

    @property
    def is_fine(self) -> bool:
        """Whether all was decoded, to the same features but for rounding."""
        return not self.refused and self.difference <= NOT_THE_SAME


def check(student: str | None = None) -> None:
    """Whether streams survive the way through this machine's devices, and how fast that is.

    A student's streams of photographs are made and decoded in another batch, memory layout and
    number of threads, and on every accelerator that is there, in both directions.

    Args:
        student: file of a student (default: one that travels with the package).

    Raises:
        EntresError: if a stream was refused or decoded to something else.
    """
    import torch

    from entres.experiment.stamps import machine, versions
    from entres.models import load_student
    from entres.report.formats import Table
    from entres.report.terminal import show_table
    from entres.verbs.photographs import photographs

    rows = [(name, value) for name, value in versions().items()]
    rows += [("machine", machine()), ("threads of torch", str(torch.get_num_threads()))]
    show_table(Table("versions", "This machine", ("what", "is"), rows))

    network, card = load_student(student or configs.EXAMPLE_STUDENT)
    _, images = photographs(())
    outcomes = list(_round_trips(network, images))
    lines = [
        (
            o.what,
            "all" if not o.refused else f"{o.refused} of {len(images)} refused",
            f"{o.difference:.1e}",
        )
        for o in outcomes
    ]
    header = ("made -> decoded", "streams", "features differ by")
    show_table(Table("round trips", f"Streams of {card.name}", header, lines))

    speeds = [(name, f"{ms:.1f}") for name, ms in _speeds(network, images)]
    show_table(Table("speed", "Milliseconds per photograph of 224 px", ("what", "ms"), speeds))
    if wrong := [o.what for o in outcomes if not o.is_fine]:
        raise EntresError(
            f"this machine does not decode what it made ({'; '.join(wrong)}): another version of "
            "torch may; please report it with the tables above"
        )


def _round_trips(network: Any, images: Tensor) -> Iterator[Outcome]:
    import copy

    import torch

    last = copy.deepcopy(network).to(memory_format=torch.channels_last)
    yield _round_trip("plain -> plain", network, network, images)
    yield _round_trip("plain -> channels_last", network, last, images)
    yield _round_trip("channels_last -> plain", last, network, images)
    yield _round_trip("a batch -> one by one", network, network, images, one_by_one=True)
    threads = torch.get_num_threads()
    if threads > 1:
        made = network.encode(images)
        torch.set_num_threads(1)
        try:
            yield _round_trip(f"{threads} threads -> 1", network, network, images, made)
        finally:
            torch.set_num_threads(threads)
    for device in _accelerators():
        there = copy.deepcopy(network).to(device)
        yield _round_trip(f"{device} -> {device}", there, there, images)
        yield _round_trip(f"cpu -> {device}", network, there, images)
        yield _round_trip(f"{device} -> cpu", there, network, images)


def _round_trip(
    what: str,
    sender: Any,
    receiver: Any,
    images: Tensor,
    made: Sequence[Any] | None = None,
    one_by_one: bool = False,
) -> Outcome:
    import torch

    from entres.bitstream import BitstreamError

    with torch.no_grad():
        streams = made or sender.encode(images.to(sender.mean.device))
        refused, worst = 0, float("nan")
        for group in [[s] for s in streams] if one_by_one else [list(streams)]:
            try:
                there = receiver.codec.decompress(group).float().cpu()
                own = sender.codec.decompress(group).float().cpu()
            except BitstreamError:
                refused += len(group)
                continue
            difference = ((there - own).abs().max() / own.abs().max()).item()
            worst = max(difference, worst) if worst == worst else difference
    return Outcome(what, refused, worst)


def _accelerators() -> list[torch.device]:
    import torch

    found = [torch.device("cuda", i) for i in range(torch.cuda.device_count())]
    return found + ([torch.device("mps")] if torch.backends.mps.is_available() else [])


def _speeds(network: Any, images: Tensor) -> Iterator[tuple[str, float]]:
    import torch

    from entres.attacks import PGDE, StudentVictim

    for device in [torch.device("cpu"), *_accelerators()]:
        there, x = network.to(device), images.to(device)
        streams = there.encode(x)
        attack, victim = PGDE(8, steps=1), StudentVictim(there)
        jobs: dict[str, Callable[[], object]] = {
            "encode": lambda there=there, x=x: there.encode(x),  # type: ignore[misc]
            "decode": lambda there=there, s=streams: there.decode(s),  # type: ignore[misc]
            "a step of PGD-E": lambda a=attack, v=victim, x=x: a(v, x),  # type: ignore[misc]
        }
        for name, job in jobs.items():
            yield f"{name} on {device}", _fastest(job, device) / len(images)
    network.to("cpu")


def _fastest(job: Callable[[], object], device: torch.device) -> float:
    """Milliseconds of the fastest of a few runs."""
    import time

    import torch

    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        job()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(1000 * (time.perf_counter() - started))
    return min(times)
