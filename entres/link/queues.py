"""Two ways to serve a queue, exactly: when the last bit of every stream has gone.

Every row of the arrays is a link of its own. Times are in seconds; ``service`` is how long a stream
takes when it has the whole link.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

FRAMES_AT_ONCE = 1 << 20
"""Most streams that :func:`fair` holds the path of at once: it takes about 100 bytes for each."""


def fifo(arrivals: Floats, service: Floats) -> Floats:
    """First come, first served.

    The recursion of Lindley (1952) without its loop: stream n leaves at the largest, over k <= n,
    of the arrival of k and the service of all from k to n.

    Args:
        arrivals: rising along each row, shape (rows, streams).
        service: likewise.

    Returns:
        When each stream has gone, in the same shape.
    """
    served = np.cumsum(service, axis=1)
    before = np.concatenate([np.zeros_like(served[:, :1]), served[:, :-1]], axis=1)
    departures: Floats = served + np.maximum.accumulate(arrivals - before, axis=1)
    return departures


def fair(arrivals: Floats, service: Floats, senders: Integers, devices: int) -> Floats:
    """As much of the link for each device that has something to send; in a device, in order.

    This is generalized processor sharing (Parekh and Gallager 1993, eq. 1) with equal weights: the
    limit of fair queueing as packets get small. With packets, a stream leaves at most one of them
    later (their theorem 1).

    A *level* rises by the service that each busy device has got. A stream leaves when the level
    reaches its mark, which is its service above the mark of the one before it in its device, or
    above the level where that is higher. The level is straight between events (an arrival, or a
    device that runs empty), so that following the events gives its whole path.

    Args:
        arrivals: rising along each row, shape (rows, streams).
        service: likewise.
        senders: the device that each stream is of, in [0, devices), in the same shape.
        devices: how many there are.

    Returns:
        When each stream has gone, in the same shape.
    """
    rows, streams = arrivals.shape
    at_once = max(1, FRAMES_AT_ONCE // streams)
    departures = np.empty_like(service)
    for start in range(0, rows, at_once):
        part = slice(start, start + at_once)
        marks, levels, times = _follow(arrivals[part], service[part], senders[part], devices)
        for row, of_row in enumerate(marks):
            departures[start + row] = np.interp(of_row, levels[:, row], times[:, row])
    return departures


def _follow(
    arrivals: Floats, service: Floats, senders: Integers, devices: int
) -> tuple[Floats, Floats, Floats]:
    """The marks of all streams, shape (rows, streams), and the path of the level.

    Returns:
        The marks; the level at each event, and when that was, both of shape (events, rows).
    """
    rows, streams = arrivals.shape
    every = np.arange(rows)
    arrivals = np.concatenate([arrivals, np.full((rows, 1), np.inf)], axis=1)
    marks = np.empty_like(service)
    # An arrival each, and at most as often a device runs empty.
    levels, times = np.zeros((2 * streams + 1, rows)), np.zeros((2 * streams + 1, rows))
    level, now = np.zeros(rows), np.zeros(rows)
    following = np.zeros(rows, dtype=np.int64)
    last = np.zeros((devices, rows))  # mark of each device's last stream
    event = 0
    while True:
        busy = last > level
        number = busy.sum(axis=0)
        lowest = np.where(busy, last, np.inf).min(axis=0)
        idle = number == 0
        empties = np.where(idle, np.inf, now + (np.where(idle, 0, lowest) - level) * number)
        arrives = arrivals[every, following]
        ended = idle & (following == streams)
        if ended.all():
            return marks, levels[: event + 1], times[: event + 1]
        comes = ~ended & (arrives < empties)
        # An idle link's level rises, too: where it is flat, a mark would have no one time.
        rises = level + (np.where(comes, arrives, now) - now) / np.maximum(number, 1)
        level = np.where(comes, rises, np.where(ended, level, lowest))
        now = np.where(comes, arrives, np.where(ended, now, empties))
        row = np.flatnonzero(comes)
        stream = following[row]
        sender = senders[row, stream]
        mark = np.maximum(last[sender, row], level[row]) + service[row, stream]
        last[sender, row] = marks[row, stream] = mark
        following[row] += 1
        event += 1
        levels[event], times[event] = level, now
