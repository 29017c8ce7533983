"""What is known of an uplink and its devices."""

from __future__ import annotations

import math
from dataclasses import dataclass

from entres.errors import EntresError

ARRIVALS = ("periodic", "poisson")
DISCIPLINES = ("fifo", "fair")
"""First come, first served; or as much of the link for each device that has something to send."""
CLEAN_UTILIZATION = 0.5
"""Utilization by clean images where no rate is given."""


class LinkError(EntresError, ValueError):
    """A link that cannot be, or results that say nothing of one."""


@dataclass(frozen=True)
class Uplink:
    """A link and the devices that share it.

    Attributes:
        devices: how many.
        frames_per_second: images that each of them sends a second.
        rate_mbps: of the link, in 10^6 bits a second.
        header_bytes: of each packet.
        packet_bytes: of a full packet, its header included.
        head_ms: from the moment an image is taken until its stream is ready.
        tail_ms: from the last bit of a stream until the prediction is there.
        deadline_ms: for the whole way.
        arrivals: ``periodic``, each device by a clock of its own; or ``poisson``.
        jitter: of periodic images, the share of a period by which one may come late, in [0, 1].

    Raises:
        LinkError: if a value is out of range.
    """

    devices: int = 10
    frames_per_second: float = 10.0
    rate_mbps: float = 10.0
    header_bytes: int = 40
    packet_bytes: int = 1500
    head_ms: float = 0.0
    tail_ms: float = 0.0
    deadline_ms: float = 100.0
    arrivals: str = "periodic"
    jitter: float = 0.1

    def __post_init__(self) -> None:
        if self.devices < 1:
            raise LinkError(f"devices must be >= 1, got {self.devices}")
        for name in ("frames_per_second", "rate_mbps", "deadline_ms"):
            self._need(name, getattr(self, name) > 0, "> 0")
        for name in ("head_ms", "tail_ms", "header_bytes"):
            self._need(name, getattr(self, name) >= 0, ">= 0")
        more = f"> header_bytes, which is {self.header_bytes}"
        self._need("packet_bytes", self.packet_bytes > self.header_bytes, more)
        self._need("jitter", 0 <= self.jitter <= 1, "in [0, 1]")
        if self.arrivals not in ARRIVALS:
            raise LinkError(f"arrivals are {' or '.join(ARRIVALS)}, got {self.arrivals!r}")

    def _need(self, name: str, holds: bool, wanted: str) -> None:
        value = getattr(self, name)
        if not (holds and math.isfinite(value)):
            raise LinkError(f"{name} must be {wanted}, got {value:g}")

    @property
    def bytes_per_second(self) -> float:
        """What the link carries."""
        return self.rate_mbps * 1e6 / 8

    @property
    def images_per_second(self) -> float:
        """Of all devices together."""
        return self.devices * self.frames_per_second
