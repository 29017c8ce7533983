"""What is said of a claim, and the rules that say it: an interval against a threshold."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from entres.report.formats import Change, Number
from entres.report.intervals import Interval
from entres.results import LEVEL


class Verdict(str, Enum):
    """What is said of a claim, as a person reads it."""

    HOLDS = "holds"
    IN_PART = "holds in part"
    NOT_SO = "not so"
    NOT_SHOWN = "not shown"
    NOT_MEASURED = "not measured"

    def __str__(self) -> str:
        return self.value


FEWEST = 10
"""Of fewer images nothing is said: where nothing changes, a 95% interval leaves out 0 in 50% of all
cases with two images, in 17% with five and still in 12% with ten (lognormal sizes, 2,000 draws).
"""
Measured = Change | Number
"""A change with its interval, or without one where there are no records of the images."""
OPPOSITE = {Verdict.HOLDS: Verdict.NOT_SO, Verdict.NOT_SO: Verdict.HOLDS}


def interval_above(interval: Interval, threshold: float) -> Verdict:
    """Holds if all of an interval is above, not so if all of it is below; else, and where it ends
    at the threshold, these images do not show it.
    """
    low, high = interval
    if low > threshold:
        return Verdict.HOLDS
    return Verdict.NOT_SO if high < threshold else Verdict.NOT_SHOWN


def above(measured: Measured, threshold: float = 0.0) -> Verdict:
    """Whether a change is above a threshold, by its interval; without one nothing is shown.

    Against 0 a test that finds no change outweighs the interval.
    """
    if not isinstance(measured, Change):
        return Verdict.NOT_SHOWN
    p_value = measured.p_value
    if threshold == 0 and p_value is not None and p_value >= 1 - LEVEL:
        return Verdict.NOT_SHOWN
    return interval_above(measured.interval, threshold)


def below(measured: Measured, threshold: float = 0.0) -> Verdict:
    """As :func:`above`, from the other side."""
    return above(_mirrored(measured), -threshold)


def within(measured: Measured, limit: float) -> Verdict:
    """Holds if all of an interval is closer to 0 than a limit; not so if all is further."""
    found = (above(measured, -limit), below(measured, limit))
    if Verdict.NOT_SO in found:
        return Verdict.NOT_SO
    return Verdict.NOT_SHOWN if Verdict.NOT_SHOWN in found else Verdict.HOLDS


def opposite(verdict: Verdict) -> Verdict:
    """What is said of the contrary."""
    return OPPOSITE.get(verdict, verdict)


def combined(verdicts: Iterable[Verdict]) -> Verdict:
    """Of several parts, or several students, one verdict.

    It holds if all of them hold. Where none does, even in part, it is not so if one of them is not
    so, else not shown. All else holds in part.
    """
    found = set(verdicts)
    if not found:
        return Verdict.NOT_MEASURED
    if found == {Verdict.HOLDS}:
        return Verdict.HOLDS
    if found & {Verdict.HOLDS, Verdict.IN_PART}:
        return Verdict.IN_PART
    return Verdict.NOT_SO if Verdict.NOT_SO in found else Verdict.NOT_SHOWN


def _mirrored(measured: Measured) -> Measured:
    if not isinstance(measured, Change):
        return measured
    low, high = measured.interval
    return Change(-measured.value, (-high, -low), measured.style, measured.p_value)
