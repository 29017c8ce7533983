"""When devices send, and how much of the link a stream takes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from entres.link.queues import Floats, Integers
from entres.link.uplink import Uplink


@dataclass(frozen=True)
class Traffic:
    """Who sends when, over and over: each row is one repetition.

    Attributes:
        arrivals: when a stream is ready to be sent, in seconds, rising along each row; shape
            (repetitions, streams).
        senders: the device that it is of, from 0 on, in the same shape.
        images: which of the images it is of, as a number in [0, 1), in the same shape.
    """

    arrivals: Floats
    senders: Integers
    images: Floats

    def repeated(self, times: int) -> Traffic:
        """All repetitions, and all of them again: for as many links that have the same traffic."""
        again = (times, 1)
        return Traffic(
            np.tile(self.arrivals, again), np.tile(self.senders, again), np.tile(self.images, again)
        )


def traffic(
    uplink: Uplink, repetitions: int, per_device: int, generator: np.random.Generator
) -> Traffic:
    """Draw all arrivals of some repetitions.

    Periodic devices each have a phase that is drawn once, uniform in a period, and a frame comes up
    to the jitter later, uniform and by itself. Poisson arrivals have the same mean rate, and no
    memory at all.

    Args:
        uplink: its devices, and how they send.
        repetitions: independent of each other.
        per_device: frames of each device; of Poisson arrivals, in the mean.
        generator: of all that is random.
    """
    streams = uplink.devices * per_device
    shape = (repetitions, uplink.devices, per_device)
    if uplink.arrivals == "poisson":
        # Merged Poisson processes are one, whose events belong to each with the same probability.
        gaps = generator.exponential(1 / uplink.images_per_second, (repetitions, streams))
        arrivals = np.cumsum(gaps, axis=1)
        senders = generator.integers(0, uplink.devices, (repetitions, streams))
    else:
        late = generator.random((*shape[:2], 1)) + uplink.jitter * generator.random(shape)
        arrivals = ((np.arange(per_device) + late) / uplink.frames_per_second).reshape(
            repetitions, streams
        )
        order = np.argsort(arrivals, axis=1, kind="stable")
        arrivals = np.take_along_axis(arrivals, order, axis=1)
        senders = order // per_device
    return Traffic(arrivals, senders, generator.random((repetitions, streams)))


def on_the_wire(uplink: Uplink, sizes: NDArray[np.int64]) -> Floats:
    """Bytes that streams take on the link: their own, and a header for each packet."""
    payload = uplink.packet_bytes - uplink.header_bytes
    packets = -(-sizes // payload)
    return np.asarray(sizes + packets * uplink.header_bytes, dtype=np.float64)
