"""What became of a shared uplink: tables, a figure, and the files of both."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from entres.bitstream import KIB
from entres.files import write_whole
from entres.link.model import MS, REPETITIONS, Estimate, Experience, Point
from entres.link.study import Outcome, Study
from entres.report.formats import Number, Ranged, Table, Value, as_csv
from entres.report.panels import as_bytes
from entres.report.tables.common import count

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from entres.report.panels import Panels

PICTURE, TABLE = "link.png", "link.csv"
SHOWN = (0.0, 0.2, 0.5, 1.0)
"""Shares of attacked devices that a person is shown; a file has all of them."""
SERVED = {"fifo": ("first come, first served", "#c23b4b"), "fair": ("fair queueing", "#2f6fb0")}
"""What a discipline is called, and its colour."""
KINDS = {"honest": "-", "attacked": "--"}
"""The kinds of devices, and their lines."""
ACROSS = 4
"""Outcomes side by side, at most."""


def write_link(study: Study, folder: Path) -> list[Path]:
    """Write ``link.json``, ``link.csv`` and ``link.png``.

    Returns:
        The files.
    """
    rows = [row for outcome in study.outcomes for row in _rows(outcome, outcome.points)]
    whole = Table("link", "", HEADER, rows)
    return [
        study.write(folder),
        write_whole(folder / TABLE, as_csv(whole)),
        write_whole(folder / PICTURE, as_bytes(draw(study), "png", dpi=120)),
    ]


# --- tables ---------------------------------------------------------------------------------------


def saturation(study: Study) -> Table:
    """From which share of attacked devices on the link is saturated, condition by condition."""
    header = ["attacked send", "defense", "images", "clean KiB", "attacked KiB"]
    header += ["clean defense, ms", "attacked defense, ms", "load, none attacked"]
    header += ["load, all attacked", "saturated from"]
    rows: list[list[Value]] = []
    for outcome in study.outcomes:
        defended = outcome.defense is not None
        rows.append(
            [
                outcome.label,
                outcome.defense,
                count(min(outcome.clean_images, outcome.attacked_images)),
                Number(outcome.clean_bytes / KIB, ".2f"),
                Number(outcome.attacked_bytes / KIB, ".2f"),
                Number(outcome.clean_defense_ms, ".0f") if defended else None,
                Number(outcome.attacked_defense_ms, ".0f") if defended else None,
                Number(outcome.clean_load, ".1%"),
                Number(outcome.attacked_load, ".1%"),
                Ranged(*outcome.saturation, ".0%"),
            ]
        )
    note = "; ".join([_link_in_words(study), "in brackets: 95% intervals over resampled images"])
    return Table("saturation", "Share of attacked devices that saturates", header, rows, note)


HEADER = (
    "attacked send",
    "defense",
    "share attacked",
    "load",
    "served",
    "devices",
    "p50, ms",
    "p95, ms",
    "p99, ms",
    "missed",
    "images/s each",
)


def experiences(study: Study) -> list[Table]:
    """What attacked and honest devices get, a table for each outcome."""
    seconds = study.frames / REPETITIONS / study.uplink.images_per_second
    note = (
        f"medians of {REPETITIONS} repetitions, in brackets where 95% of them lie; past a load of "
        f"100% the queue grows without end: latencies there are those of {seconds:.0f} s of sending"
    )
    tables = []
    for number, outcome in enumerate(study.outcomes):
        shares = sorted({_nearest(share, outcome.points) for share in SHOWN})
        rows = _rows(outcome, [point for point in outcome.points if point.share in shares])
        tables.append(
            Table(
                f"link-{number}",
                "Latency, missed deadlines and throughput",
                HEADER,
                rows,
                "; ".join(filter(None, (note, _too_slow(study, outcome)))),
                who=2,
            )
        )
    return tables


def _rows(outcome: Outcome, points: Sequence[Point]) -> list[list[Value]]:
    rows: list[list[Value]] = []
    for point in sorted(points, key=lambda point: point.share):
        for kind in KINDS:
            experience: Experience | None = getattr(point, kind)
            if experience is None:
                continue
            rows.append(
                [
                    outcome.label,
                    outcome.defense,
                    Number(point.share, ".0%"),
                    Number(point.utilization, ".1%"),
                    point.discipline,
                    kind,
                    *(_ms(e) for e in (experience.p50, experience.p95, experience.p99)),
                    Ranged(*experience.missed, ".1%"),
                    Ranged(*experience.throughput, ".2f"),
                ]
            )
    return rows


def _ms(estimate: Estimate) -> Ranged:
    return Ranged(*estimate, ",.0f" if estimate.value >= 1000 else ".1f")


def _nearest(share: float, points: Sequence[Point]) -> float:
    return min((point.share for point in points), key=lambda known: abs(known - share))


def _link_in_words(study: Study) -> str:
    link = study.uplink
    return (
        f"{link.devices} devices, {link.frames_per_second:g} images/s each ({link.arrivals}), "
        f"{link.rate_mbps:.4g} Mbit/s, deadline {link.deadline_ms:g} ms, head {link.head_ms:g} ms, "
        f"tail {link.tail_ms:g} ms"
    )


def _too_slow(study: Study, outcome: Outcome) -> str:
    """A sentence on devices that take longer for an image than they have."""
    period = MS / study.uplink.frames_per_second
    takes = study.uplink.head_ms + max(outcome.clean_defense_ms, outcome.attacked_defense_ms)
    if takes <= period:
        return ""
    return (
        f"head and defense take {takes:.0f} ms of a period of {period:.0f} ms: one core alone does "
        "not keep up"
    )


# --- figure ---------------------------------------------------------------------------------------


def draw(study: Study) -> Figure:
    """Latency, missed deadlines and throughput over the share of devices that is attacked."""
    from matplotlib.figure import Figure

    across = min(ACROSS, len(study.outcomes))
    down = -(-len(study.outcomes) // across)
    figure = Figure(figsize=(2.6 + 3.2 * across, 7.2 * down), layout="constrained")
    panels: Panels = figure.subplots(3 * down, across, sharex=True, sharey="row", squeeze=False)
    for number, outcome in enumerate(study.outcomes):
        line, column = divmod(number, across)
        latency, missed, throughput = panels[3 * line : 3 * line + 3, column]
        latency.set_title(outcome.name.replace(" + ", "\n+ "), fontsize="medium")
        latency.set_yscale("log")
        latency.axhline(study.uplink.deadline_ms, color="#8c8c8c", linewidth=1, label="deadline")
        for axes, figures in ((latency, "p99"), (missed, "missed"), (throughput, "throughput")):
            _curves(axes, outcome, figures)
            _mark_saturation(axes, outcome.saturation)
        throughput.set_xlabel("devices attacked, %")
        if column == 0:
            latency.set_ylabel("p99 of latency, ms")
            missed.set_ylabel("deadlines missed, %")
            throughput.set_ylabel("images/s of a device")
        missed.set_ylim(-2, 102)
        throughput.set_ylim(0, 1.08 * study.uplink.frames_per_second)
    for axes in panels.flat[:]:
        axes.grid(axis="y", linewidth=0.4, alpha=0.5)
        axes.spines[["top", "right"]].set_visible(False)
    _hide_empty(panels, len(study.outcomes), across)
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", frameon=False)
    title = f"{study.student}, {study.dataset}: {_link_in_words(study)}"
    figure.suptitle(title, fontsize="medium", x=0.01, ha="left")
    return figure


def _curves(axes: Axes, outcome: Outcome, figures: str) -> None:
    """A line for each discipline and kind of device, in a band that is its interval."""
    scale = 100 if figures == "missed" else 1
    for discipline, (name, colour) in SERVED.items():
        for kind, style in KINDS.items():
            there = [
                (point.share, getattr(experience, figures))
                for point in outcome.points
                if point.discipline == discipline and (experience := getattr(point, kind))
            ]
            if not there:
                continue
            shares = [100 * share for share, _ in there]
            values, lows, highs = zip(
                *([scale * x for x in estimate] for _, estimate in there), strict=True
            )
            axes.plot(shares, values, style, color=colour, label=f"{name}: {kind}")
            axes.fill_between(shares, lows, highs, color=colour, alpha=0.12, linewidth=0)


def _mark_saturation(axes: Axes, share: Estimate) -> None:
    """An upright line where it is, in the band of its interval, as far as they are in sight."""
    low, high = (100 * min(end, 1.0) for end in (share.low, share.high))
    if low < high:
        axes.axvspan(low, high, color="#8c8c8c", alpha=0.12, linewidth=0)
    if share.value <= 1:
        axes.axvline(100 * share.value, color="#8c8c8c", linestyle=":", label="saturated")


def _hide_empty(panels: Panels, outcomes: int, across: int) -> None:
    for number in range(outcomes, panels.size // 3):
        line, column = divmod(number, across)
        for axes in panels[3 * line : 3 * line + 3, column]:
            axes.set_visible(False)
