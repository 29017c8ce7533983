"""Claims that files beside the results speak of: maps (section 5.1 and 5.2), and a shared link."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial

from entres.condition_names import budget_of
from entres.link.model import Estimate, Experience
from entres.link.study import FILE as STUDY
from entres.link.study import Outcome, Study
from entres.report.claims.claim import Claim, Reading, students_of
from entres.report.claims.verdicts import Verdict, interval_above, opposite
from entres.report.intervals import Interval
from entres.report.maps import MEANINGS, NUMBERS
from entres.results import ResultsError, Row

FOLLOWS = 0.5
"""A rank correlation above it counts as strong."""
MapsRule = Callable[[Interval], Verdict]


def follows(interval: Interval) -> Verdict:
    """A strong correlation holds, any other positive one holds in part."""
    strong, any_at_all = interval_above(interval, FOLLOWS), interval_above(interval, 0.0)
    if strong is Verdict.HOLDS or any_at_all is not Verdict.HOLDS:
        return any_at_all
    return Verdict.IN_PART


def more_than_its_area(interval: Interval) -> Verdict:
    """Of a share less that of the area."""
    return interval_above(interval, 0.0)


def less_than_its_area(interval: Interval) -> Verdict:
    """Of a share less that of the area."""
    low, high = interval
    return interval_above((-high, -low), 0.0)


def _maps(name: str, rule: MapsRule, rows: Sequence[Row]) -> list[Reading]:
    """Readings of one figure of every ``maps.json``; a damaged one is named by the report."""
    readings = []
    for row in _by_folder(rows, NUMBERS):
        assert row.folder is not None
        with suppress(OSError, ValueError, TypeError, LookupError):
            figures = json.loads((row.folder / NUMBERS).read_text(encoding="utf-8"))
            mean, (low, high) = figures[name]["mean"], figures[name]["interval"]
            said = f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]"
            images = int(figures["images"])
            what = MEANINGS[name]
            readings.append(Reading(row, what, rule((low, high)), images, other=said))
    return readings


def _by_folder(rows: Sequence[Row], file: str) -> list[Row]:
    """A row of every evaluation that has left a file."""
    everyone = [row for student in students_of(rows) for row in student]
    clean_first = sorted(everyone, key=lambda row: row.condition != "clean")
    folders = {row.folder: row for row in reversed(clean_first) if row.folder is not None}
    return [row for folder, row in sorted(folders.items()) if (folder / file).is_file()]


# --- the link -------------------------------------------------------------------------------------


def _outcomes(rows: Sequence[Row]) -> Iterator[tuple[Row, Study, Outcome]]:
    """What becomes of each link under interference, with nothing against it: its row where that is
    of the same evaluation, else another one of that.

    Noise is none; an attack that stops at a budget is not what a link has to bear.
    """
    for row in _by_folder(rows, STUDY):
        assert row.folder is not None
        with suppress(ResultsError):
            study = Study.read(row.folder)
            for outcome in study.outcomes:
                attack = outcome.label.partition(" ")[0]
                whole = attack != "noise" and budget_of(attack) is None
                if outcome.defense is None and whole:
                    beside = (r for r in rows if r.folder == row.folder)
                    own = (r for r in beside if r.label == outcome.label and r.defense is None)
                    yield next(own, row), study, outcome


def _latency(rows: Sequence[Row]) -> list[Reading]:
    readings = []
    for row, study, outcome in _outcomes(rows):
        nobody, everybody = _honest(outcome, 0.0), _attacked(outcome, 1.0)
        if nobody is None or everybody is None:
            continue
        said = f"median {_ms(nobody.p50)} to {_ms(everybody.p50)} ms"
        what = f"{outcome.label} on all of {study.uplink.devices} devices, against clean images"
        verdict = apart(nobody.p50, everybody.p50)
        readings.append(Reading(row, what, verdict, _images(outcome), other=said))
    return readings


def apart(before: Estimate, after: Estimate) -> Verdict:
    """Whether a figure is higher than another: their intervals do not meet."""
    return interval_above((after.low - before.high, after.high - before.low), 0.0)


def _saturation(rows: Sequence[Row]) -> list[Reading]:
    readings = []
    for row, study, outcome in _outcomes(rows):
        used = f"{outcome.clean_utilization:.0%} to {outcome.attacked_utilization:.0%} used"
        said = f"{used}, full from this share of devices on: {_share(outcome.saturation)}"
        link = f"{study.uplink.devices} devices on {study.uplink.rate_mbps:.4g} Mbit/s"
        what = f"{outcome.label}, {link}"
        verdict = saturates(outcome.saturation)
        readings.append(Reading(row, what, verdict, _images(outcome), other=said))
    return readings


def saturates(share: Estimate) -> Verdict:
    """Whether a link is full from some share of attacked devices on; one that clean images fill
    already shows nothing.
    """
    if share.low <= 0:
        return Verdict.NOT_SHOWN
    return opposite(interval_above((share.low, share.high), 1.0))


def _share(share: Estimate) -> str:
    value, low, high = (f"{end:.0%}" if end <= 1 else "none" for end in share)
    return f"{value} [{low}, {high}]"


def _images(outcome: Outcome) -> int:
    return min(outcome.clean_images, outcome.attacked_images)


def _ms(estimate: Estimate) -> str:
    return f"{estimate.value:.1f} [{estimate.low:.1f}, {estimate.high:.1f}]"


def _honest(outcome: Outcome, share: float) -> Experience | None:
    return next(
        (p.honest for p in outcome.points if (p.discipline, p.share) == (FIFO, share)), None
    )


def _attacked(outcome: Outcome, share: float) -> Experience | None:
    return next(
        (p.attacked for p in outcome.points if (p.discipline, p.share) == (FIFO, share)), None
    )


FIFO = "fifo"
MAPS = (
    Claim(
        "Bits go where the total variation is.",
        "section 5.1, Fig. 5",
        "the 95% interval of Spearman's correlation of bits and total variation over the positions "
        f"lies above {FOLLOWS:g}; in part if it lies above 0",
        partial(_maps, "rank_correlation", follows),
        "maps",
        figure="bits",
    ),
    Claim(
        "An attack on the entropy spends its bits in the background.",
        "section 5.2, Fig. 6",
        "of the bits that PGD-E adds, the share in the background less the share of the area: its "
        "95% interval lies above 0",
        partial(_maps, "background_pgd_e_over_area", more_than_its_area),
        "maps",
        figure="attacks",
    ),
    Claim(
        "An attack on the accuracy changes the object.",
        "section 5.2, Fig. 6",
        "of the bits that PGD-Acc adds, the share in the background less the share of the area: "
        "its 95% interval lies below 0",
        partial(_maps, "background_pgd_acc_over_area", less_than_its_area),
        "maps",
        figure="attacks",
    ),
)
"""What the paper reads from its maps."""
LINK = (
    Claim(
        "Interference raises the latency from end to end.",
        "section 1",
        "first come, first served: the 95% interval of the median latency with all devices under "
        "interference lies above that with none",
        _latency,
        "eval-link",
        {"epsilons": 8.0},
        "link",
    ),
    Claim(
        "It saturates the link for others.",
        "section 1 and 6",
        "the 95% interval of the share of devices from which the link is full ends below "
        "100%; not so if no share fills it. By default clean images of all devices fill half of it",
        _saturation,
        "eval-link",
        {"epsilons": 8.0},
        "link",
    ),
)
"""What the paper says of others on the link."""
