"""Who sends when, and what a stream takes."""

from __future__ import annotations

import numpy as np
import pytest

from entres.link.traffic import on_the_wire, traffic
from entres.link.uplink import LinkError, Uplink


def test_periodic_devices_send_once_in_every_period() -> None:
    uplink = Uplink(devices=4, frames_per_second=5, jitter=0.3)
    sent = traffic(uplink, 3, 50, np.random.default_rng(0))
    assert sent.arrivals.shape == (3, 200)
    assert (np.diff(sent.arrivals, axis=1) >= 0).all()
    for row in range(3):
        for device in range(4):
            times = sent.arrivals[row][sent.senders[row] == device] * 5
            assert len(times) == 50
            # Against its own clock none is later than the jitter.
            late = times - np.arange(50)
            assert 0 <= late.min() < 1
            assert 0.2 < late.max() - late.min() <= 0.3


def test_poisson_arrivals_have_the_rate_and_no_memory() -> None:
    uplink = Uplink(devices=4, frames_per_second=5, arrivals="poisson")
    sent = traffic(uplink, 10, 2500, np.random.default_rng(0))
    gaps = np.diff(sent.arrivals, axis=1)
    assert gaps.mean() == pytest.approx(1 / 20, rel=0.01)
    assert gaps.std() == pytest.approx(1 / 20, rel=0.02)  # as of an exponential
    of_one = np.diff(sent.arrivals[0][sent.senders[0] == 2])
    assert of_one.std() == pytest.approx(1 / 5, rel=0.1)


def test_every_packet_has_a_header() -> None:
    uplink = Uplink(header_bytes=40, packet_bytes=1500)
    sizes = np.array([1, 1460, 1461, 14_600])
    assert on_the_wire(uplink, sizes).tolist() == [41, 1500, 1541, 15_000]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"devices": 0}, "devices must be >= 1, got 0"),
        ({"rate_mbps": 0.0}, "rate_mbps must be > 0, got 0"),
        ({"frames_per_second": float("inf")}, "frames_per_second must be > 0, got inf"),
        ({"deadline_ms": float("nan")}, "deadline_ms must be > 0, got nan"),
        ({"head_ms": -1.0}, "head_ms must be >= 0, got -1"),
        ({"packet_bytes": 40}, "packet_bytes must be > header_bytes, which is 40, got 40"),
        ({"jitter": 1.5}, r"jitter must be in \[0, 1\], got 1.5"),
        ({"arrivals": "sometimes"}, "arrivals are periodic or poisson, got 'sometimes'"),
    ],
)
def test_what_cannot_be_is_a_sentence(values: dict[str, float], sentence: str) -> None:
    with pytest.raises(LinkError, match=sentence):
        Uplink(**values)
