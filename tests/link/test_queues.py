"""Both ways to serve a queue, against loops that are slow and plain."""

from __future__ import annotations

from collections import deque
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from entres.link import queues
from entres.link.queues import fair, fifo

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def random_links(
    load: float, rows: int = 4, streams: int = 300, devices: int = 5, seed: int = 0
) -> tuple[Floats, Floats, Integers]:
    """Arrivals at a rate of 1, services of very different lengths, and whose they are."""
    generator = np.random.default_rng(seed)
    arrivals = np.cumsum(generator.exponential(1.0, (rows, streams)), axis=1)
    senders = generator.integers(0, devices, (rows, streams))
    # Device 0 sends much more than the others.
    service = load * generator.exponential(1.0, (rows, streams)) * np.where(senders == 0, 3, 0.5)
    return arrivals, service, senders


def test_first_come_first_served_is_what_a_loop_gives() -> None:
    generator = np.random.default_rng(0)
    # Whole numbers: sums in any order are the same to the last bit.
    arrivals = np.cumsum(generator.integers(0, 9, (5, 400)), axis=1).astype(np.float64)
    service = generator.integers(1, 9, (5, 400)).astype(np.float64)
    for row, gone in enumerate(fifo(arrivals, service)):
        free = 0.0
        for stream in range(400):
            free = max(free, arrivals[row, stream]) + service[row, stream]
            assert gone[stream] == free


def shared(arrivals: Floats, service: Floats, senders: Integers, devices: int) -> list[Fraction]:
    """One link in exact fractions: what is left of every stream, from event to event."""
    waiting: list[deque[list]] = [deque() for _ in range(devices)]  # type: ignore[type-arg]
    coming = deque((Fraction(a), n) for n, a in enumerate(arrivals))
    gone: dict[int, Fraction] = {}
    now = Fraction(0)
    while coming or any(waiting):
        busy = [queue for queue in waiting if queue]
        # The head of each busy device's queue gets the same part of the link.
        nearest = min((queue[0][1] for queue in busy), default=None)
        leaves = None if nearest is None else now + nearest * len(busy)
        if leaves is None or (coming and coming[0][0] < leaves):
            at, number = coming.popleft()
        else:
            at, number = leaves, None
        for queue in busy:
            queue[0][1] -= (at - now) / len(busy)
        now = at
        for queue in busy:
            if queue[0][1] == 0:
                gone[queue.popleft()[0]] = now
        if number is not None:
            waiting[senders[number]].append([number, Fraction(service[number])])
    return [gone[number] for number in range(len(arrivals))]


@pytest.mark.parametrize("load", [0.3, 0.9, 1.5])
def test_fair_queueing_is_what_an_exact_simulation_gives(load: float) -> None:
    arrivals, service, senders = random_links(load, rows=3, streams=150)
    found = fair(arrivals, service, senders, 5)
    for row in range(3):
        exact = shared(arrivals[row], service[row], senders[row], 5)
        np.testing.assert_allclose(found[row], [float(x) for x in exact], rtol=1e-12)


def test_fair_queueing_by_hand() -> None:
    # Two streams of two devices share the link, a third one queues behind its own device.
    gone = fair(np.array([[0.0, 0, 1]]), np.array([[2.0, 4, 1]]), np.array([[0, 1, 0]]), 2)
    # 0: half of the link until 4; then its second stream until 6; the other has 3 by then.
    np.testing.assert_allclose(gone, [[4, 7, 6]])


def test_one_device_is_served_in_order() -> None:
    arrivals, service, senders = random_links(0.8)
    alone = fair(arrivals, service, np.zeros_like(senders), 1)
    np.testing.assert_allclose(alone, fifo(arrivals, service), rtol=1e-12)


def test_no_work_is_lost_and_none_is_made() -> None:
    """Both are busy at the same times, so that at any moment the same work is left."""
    arrivals, service, senders = random_links(0.9, streams=2000)
    first, shared_link = fifo(arrivals, service), fair(arrivals, service, senders, 5)
    for row in range(len(arrivals)):
        free = np.concatenate([[0.0], first[row, :-1]])
        begins = np.flatnonzero(arrivals[row] >= free)  # of the busy periods
        assert 10 < len(begins) < 2000
        for departures in (first, shared_link):
            ends = np.maximum.reduceat(departures[row], begins)
            work = np.add.reduceat(service[row], begins)
            np.testing.assert_allclose(ends - arrivals[row, begins], work, rtol=1e-8)


def test_many_links_at_once_are_what_each_is(monkeypatch: pytest.MonkeyPatch) -> None:
    arrivals, service, senders = random_links(0.9, rows=7)
    whole = fair(arrivals, service, senders, 5)
    monkeypatch.setattr(queues, "FRAMES_AT_ONCE", 700)
    np.testing.assert_array_equal(fair(arrivals, service, senders, 5), whole)


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_poisson_arrivals_wait_as_pollaczek_and_khinchine_say(load: float) -> None:
    generator = np.random.default_rng(1)
    sizes = np.array([3.0, 4, 5, 9, 30])
    service = load * generator.choice(sizes, (40, 50_000)) / sizes.mean()
    arrivals = np.cumsum(generator.exponential(1.0, service.shape), axis=1)
    waited = float((fifo(arrivals, service) - arrivals - service).mean())
    second_moment = float((sizes**2).mean()) * (load / sizes.mean()) ** 2
    assert waited == pytest.approx(second_moment / (2 * (1 - load)), rel=0.02)


def test_a_shared_link_takes_as_long_as_the_mean_size_says() -> None:
    """M/G/1 with processor sharing: E[S] / (1 - load), whatever the sizes (Kleinrock 1976)."""
    generator = np.random.default_rng(2)
    shape = (60, 4000)
    arrivals = np.cumsum(generator.exponential(1.0, shape), axis=1)
    service = generator.choice([0.2, 0.3, 2.5], shape, p=[0.4, 0.5, 0.1])
    load = 0.4 * 0.2 + 0.5 * 0.3 + 0.1 * 2.5
    # So many devices that two streams of one never meet.
    senders = np.tile(np.arange(shape[1]) % 60, (shape[0], 1))
    found = float((fair(arrivals, service, senders, 60) - arrivals).mean())
    assert found == pytest.approx(load / (1 - load), rel=0.02)
    assert float((fifo(arrivals, service) - arrivals).mean()) > 1.2 * found
