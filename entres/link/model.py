"""Latency, missed deadlines and throughput of those devices that are attacked, and of the others.

::

    image ──► head ──► stream ──► queue ──► link ──► tail ──► prediction
              head_ms             └─ of all devices ─┘      tail_ms
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from entres.link.queues import FRAMES_AT_ONCE, Floats, fair, fifo
from entres.link.traffic import Traffic, on_the_wire, traffic
from entres.link.uplink import CLEAN_UTILIZATION, DISCIPLINES, LinkError, Uplink
from entres.results import LEVEL

SHARES = 11
"""Shares of attacked devices, from none to all; fewer where there are fewer devices."""
REPETITIONS = 40
"""Each with images, phases and jitter of its own: the ends of 95% intervals are of one of them."""
LEAST_PER_DEVICE = 20
"""Frames that each device sends in a repetition, at least."""
WARM_UP = 0.1
"""Share of a repetition that counts for nothing: the queue is empty when it begins."""
RESAMPLES = 1000
"""Of the images, for the interval of the share that saturates a link."""
PERCENTILES = (50, 95, 99)
MS = 1000.0


class Estimate(NamedTuple):
    """A figure, and the ends of its 95% interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Scenario:
    """What two kinds of devices send.

    Attributes:
        label: of what the attacked devices send, in words.
        defense: in words, or None; it is in front of all devices.
        clean: bytes of each image's stream, of honest devices.
        attacked: likewise, of attacked ones.
        clean_defense_ms, attacked_defense_ms: what it adds to the head time of an image.
    """

    label: str
    defense: str | None
    clean: NDArray[np.int64]
    attacked: NDArray[np.int64]
    clean_defense_ms: float = 0.0
    attacked_defense_ms: float = 0.0


@dataclass(frozen=True)
class Experience:
    """What devices of one kind get from the link.

    Attributes:
        p50, p95, p99: percentiles of the latency, in ms.
        missed: share of their images that came after the deadline.
        throughput: predictions of each of them a second.
    """

    p50: Estimate
    p95: Estimate
    p99: Estimate
    missed: Estimate
    throughput: Estimate


@dataclass(frozen=True)
class Point:
    """A link of which a share of the devices is attacked.

    Attributes:
        discipline: ``fifo`` or ``fair``.
        attacked_devices: how many.
        share: of all devices, a fraction.
        utilization: bytes that are offered over bytes that the link can carry; at 1 it is
            saturated.
        honest, attacked: None where there are no such devices.
    """

    discipline: str
    attacked_devices: int
    share: float
    utilization: float
    honest: Experience | None
    attacked: Experience | None


# --- mathematics ----------------------------------------------------------------------------------


def utilization(uplink: Uplink, mean_bytes: float) -> float:
    """Offered over possible: at 1 and above the queue grows for as long as devices send.

    Args:
        uplink: the link.
        mean_bytes: of a stream on the wire, over all devices.
    """
    return uplink.images_per_second * mean_bytes / uplink.bytes_per_second


def saturating_share(uplink: Uplink, clean_bytes: float, attacked_bytes: float) -> float:
    """The share of attacked devices from which the utilization is 1.

    Args:
        uplink: the link.
        clean_bytes, attacked_bytes: means on the wire.

    Returns:
        0 if clean images saturate it; infinity if no share does.
    """
    spare = uplink.bytes_per_second / uplink.images_per_second - clean_bytes
    if spare <= 0:
        return 0.0
    more = attacked_bytes - clean_bytes
    return spare / more if more >= spare else float("inf")


def saturation(uplink: Uplink, scenario: Scenario, seed: int = 0) -> Estimate:
    """The share that saturates a link; its interval is over resampled images."""
    generator = np.random.default_rng(seed)
    clean, attacked = (on_the_wire(uplink, sizes) for sizes in (scenario.clean, scenario.attacked))
    value = saturating_share(uplink, float(clean.mean()), float(attacked.mean()))
    paired = len(clean) == len(attacked)
    found = []
    for _ in range(RESAMPLES):
        chosen = generator.integers(0, len(clean), len(clean))
        others = chosen if paired else generator.integers(0, len(attacked), len(attacked))
        found.append(
            saturating_share(uplink, float(clean[chosen].mean()), float(attacked[others].mean()))
        )
    # No value between two of them: one of them may be infinite.
    low, high = np.quantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], method="nearest")
    return Estimate(value, float(low), float(high))


def half_utilized(uplink: Uplink, clean: NDArray[np.int64]) -> Uplink:
    """The same link at the rate of which clean images take :data:`CLEAN_UTILIZATION`."""
    mean = float(on_the_wire(uplink, clean).mean())
    return replace(uplink, rate_mbps=8e-6 * uplink.images_per_second * mean / CLEAN_UTILIZATION)


# --- simulation -----------------------------------------------------------------------------------


def simulate(
    uplink: Uplink,
    scenario: Scenario,
    disciplines: Sequence[str] = DISCIPLINES,
    frames: int = 200_000,
    seed: int = 0,
) -> Iterator[Point]:
    """Every share and discipline, each with the same arrivals and images.

    Args:
        uplink: the link and its devices.
        scenario: what they send.
        disciplines: see :data:`~entres.link.uplink.DISCIPLINES`.
        frames: of every point, over all devices and repetitions.
        seed: of all that is random.

    Raises:
        LinkError: if the frames are too few for so many devices.
    """
    per_device = need_frames(uplink, frames)
    generator = np.random.default_rng(seed)
    sent = traffic(uplink, REPETITIONS, per_device, generator)
    chosen = generator.integers(0, 1 << 32)  # images of one number are drawn alike
    clean, attacked = (
        _service(uplink, sizes, sent, np.random.default_rng(chosen))
        for sizes in (scenario.clean, scenario.attacked)
    )
    means = [float(on_the_wire(uplink, s).mean()) for s in (scenario.clean, scenario.attacked)]
    more_ms = [
        uplink.head_ms + defense_ms + uplink.tail_ms
        for defense_ms in (scenario.clean_defense_ms, scenario.attacked_defense_ms)
    ]
    numbers = attacked_numbers(uplink.devices)
    at_once = max(1, FRAMES_AT_ONCE // sent.arrivals.size)
    for start in range(0, len(numbers), at_once):
        some = numbers[start : start + at_once]
        service = np.concatenate([np.where(sent.senders < n, attacked, clean) for n in some])
        every = sent.repeated(len(some))
        for discipline in disciplines:
            gone = SERVE[discipline](every, service, uplink.devices)
            for number, of_number in zip(some, np.split(gone, len(some)), strict=True):
                share = number / uplink.devices
                used = utilization(uplink, means[0] + share * (means[1] - means[0]))
                attackers = sent.senders < number
                honest, others = (
                    _experience(uplink, sent, of_number, more, who, of)
                    for more, who, of in (
                        (more_ms[0], ~attackers, uplink.devices - number),
                        (more_ms[1], attackers, number),
                    )
                )
                yield Point(discipline, number, share, used, honest, others)


def need_frames(uplink: Uplink, frames: int) -> int:
    """How many frames each device sends in a repetition.

    Raises:
        LinkError: if they are too few to take percentiles of.
    """
    per_device = frames // (REPETITIONS * uplink.devices)
    if per_device < LEAST_PER_DEVICE:
        least = LEAST_PER_DEVICE * REPETITIONS * uplink.devices
        raise LinkError(
            f"{frames:,} frames are too few for {uplink.devices} devices: give at least {least:,}"
        )
    return per_device


SERVE: dict[str, Callable[[Traffic, Floats, int], Floats]] = {
    "fifo": lambda sent, service, devices: fifo(sent.arrivals, service),
    "fair": lambda sent, service, devices: fair(sent.arrivals, service, sent.senders, devices),
}
"""How a discipline serves what is sent."""


def attacked_numbers(devices: int) -> list[int]:
    """How many devices are attacked, point by point: none first, all of them last."""
    return [int(n) for n in np.unique(np.round(np.linspace(0, devices, SHARES)))]


def _service(
    uplink: Uplink, sizes: NDArray[np.int64], sent: Traffic, generator: np.random.Generator
) -> Floats:
    """Seconds that each stream takes of the link, if its device sends images of these sizes.

    Each repetition has images of its own, drawn with replacement (the bootstrap): so intervals hold
    what is not known of the images, too.
    """
    seconds = on_the_wire(uplink, sizes) / uplink.bytes_per_second
    pools = generator.integers(0, len(sizes), (len(sent.images), len(sizes)))
    drawn = (sent.images * len(sizes)).astype(np.int64)
    service: Floats = seconds[np.take_along_axis(pools, drawn, axis=1)]
    return service


def _experience(
    uplink: Uplink, sent: Traffic, gone: Floats, more_ms: float, who: NDArray[np.bool_], of: int
) -> Experience | None:
    """What some devices got, from those of their streams that came after the warm-up.

    Args:
        uplink: for its deadline.
        sent: what all devices sent, and when.
        gone: when each stream had gone.
        more_ms: the latency before and behind the link.
        who: which streams are of these devices.
        of: how many devices they are.
    """
    if of == 0:
        return None
    latencies = (gone - sent.arrivals) * MS + more_ms
    last = sent.arrivals[:, -1]
    begins = WARM_UP * last
    figures = []
    for row in range(len(latencies)):
        counted = latencies[row][who[row] & (sent.arrivals[row] >= begins[row])]
        inside = who[row] & (gone[row] >= begins[row]) & (gone[row] <= last[row])
        figures.append(
            (
                *np.percentile(counted, PERCENTILES),
                np.mean(counted > uplink.deadline_ms),
                inside.sum() / (last[row] - begins[row]) / of,
            )
        )
    return Experience(*map(_estimate, np.array(figures).T))


def _estimate(repetitions: Floats) -> Estimate:
    """The median of the repetitions, and where 95% of them lie."""
    ends = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
    low, middle, high = np.quantile(repetitions, [ends[0], 0.5, ends[1]])
    return Estimate(float(middle), float(low), float(high))
