"""What became of a shared uplink: tables, a figure, and the files of both."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from entres.bitstream import KIB
from entres.files import write_whole
from entres.link.model import MS, REPETITIONS, Estimate, Experience, Point
from entres.link.study import Outcome, Study
from entres.link.uplink import Uplink
from entres.report.formats import Number, Ranged, Table, Value, as_csv
from entres.report.panels import as_bytes
from entres.report.tables.common import count

if TYPE_CHECKING:
    from matplotlib.artist import Artist
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
GREY = "#8c8c8c"
ACROSS = 4
"""Outcomes side by side where none has a defense, at most."""


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
    header += ["utilization, none", "utilization, all", "saturated from"]
    rows: list[list[Value]] = []
    for outcome in study.outcomes:
        rows.append(
            [
                outcome.label,
                outcome.defense,
                count(min(outcome.clean_images, outcome.attacked_images)),
                Number(outcome.clean_bytes / KIB, ".2f"),
                Number(outcome.attacked_bytes / KIB, ".2f"),
                Number(outcome.clean_utilization, ".1%"),
                Number(outcome.attacked_utilization, ".1%"),
                Ranged(*outcome.saturation, ".0%"),
            ]
        )
    note = "; ".join([_link_in_words(study), "in brackets: 95% intervals over resampled images"])
    return Table("saturation", "Share of attacked devices that saturates", header, rows, note)


HEADER = (
    "attacked send",
    "defense",
    "share",
    "utilization",
    "served",
    "devices",
    "p50, ms",
    "p95, ms",
    "p99, ms",
    "missed",
    "images/s",
)


def experiences(study: Study) -> list[Table]:
    """What attacked and honest devices get, a table for each outcome."""
    tables = []
    for number, outcome in enumerate(study.outcomes):
        shares = {_nearest(share, outcome.points) for share in SHOWN}
        points = [point for point in outcome.points if point.share in shares]
        rows, title = _rows(outcome, points), "Devices on one link"
        note = _of_defense(study, outcome)
        tables.append(Table(f"link-{number}", title, HEADER, rows, note, who=2))
    return tables


def how_to_read(study: Study) -> str:
    """What holds for all of :func:`experiences`."""
    seconds = study.frames / REPETITIONS / study.uplink.images_per_second
    return (
        f"Medians of {REPETITIONS} repetitions, in brackets where 95% of them lie. Past a "
        "utilization of 100% the queue grows for as long as devices send: latencies there are "
        f"those of {seconds:.0f} s. All shares are in {TABLE}."
    )


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
                    Ranged(*experience.missed, ".0%"),
                    Ranged(*experience.throughput, ".1f"),
                ]
            )
    return rows


def _ms(estimate: Estimate) -> Ranged:
    return Ranged(*estimate, ",.0f" if estimate.value >= 100 else ".1f")


def _nearest(share: float, points: Sequence[Point]) -> float:
    return min((point.share for point in points), key=lambda known: abs(known - share))


def _link_in_words(study: Study) -> str:
    link = study.uplink
    devices = "1 device" if link.devices == 1 else f"{link.devices} devices"
    return (
        f"{devices}, {link.frames_per_second:g} images/s each ({link.arrivals}), "
        f"{link.rate_mbps:.4g} Mbit/s, deadline {link.deadline_ms:g} ms, head {link.head_ms:g} ms, "
        f"tail {link.tail_ms:g} ms"
    )


def _of_defense(study: Study, outcome: Outcome) -> str:
    """How much of the latency is the defense, and whether devices keep up at all."""
    if outcome.defense is None:
        return ""
    times = (outcome.clean_defense_ms, outcome.attacked_defense_ms)
    if not any(times):
        return "without the time that the defense takes (--defense_ms)"
    said = (
        f"the defense takes {times[0]:.0f} ms of it, and {times[1]:.0f} ms of an attacked image's"
    )
    period = MS / study.uplink.frames_per_second
    if study.uplink.head_ms + max(times) <= period:
        return said
    return f"{said}; a device has {period:.0f} ms for an image, and does not keep up one by one"


# --- figure ---------------------------------------------------------------------------------------


def draw(study: Study) -> Figure:
    """Latency, missed deadlines and throughput over the share of devices that is attacked."""
    from matplotlib.figure import Figure

    places = _places(study.outcomes)
    down, across = (1 + max(place[axis] for place in places) for axis in (0, 1))
    figure = Figure(figsize=(3.2 + 3.0 * across, 6.6 * down), layout="constrained")
    panels: Panels = figure.subplots(3 * down, across, squeeze=False)
    for empty in figure.axes:
        empty.set_visible(False)
    latencies = []
    for outcome, (line, column) in zip(study.outcomes, places, strict=True):
        three = panels[3 * line : 3 * line + 3, column]
        latencies.append(three[0])
        _draw_outcome(three, outcome, study.uplink, named=column == 0)
    _alike(latencies)
    entries: dict[str, Artist] = {}
    for axes in latencies:
        handles, labels = axes.get_legend_handles_labels()
        entries |= dict(zip(labels, handles, strict=True))
    figure.legend(list(entries.values()), list(entries), loc="outside right upper", frameon=False)
    # From the left: in the middle of the figure it would run into the legend.
    title = f"{study.student}, {study.dataset}\n{_link_in_words(study)}"
    figure.suptitle(title, fontsize="medium", x=0.01, ha="left")
    return figure


def _places(outcomes: Sequence[Outcome]) -> list[tuple[int, int]]:
    """Line and column of each: a line for each condition, and its defenses side by side."""
    if not any(outcome.defense for outcome in outcomes):
        return [divmod(number, ACROSS) for number in range(len(outcomes))]
    lines: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        lines.setdefault(outcome.label, []).append(outcome)
    labels = list(lines)
    return [(labels.index(o.label), lines[o.label].index(o)) for o in outcomes]


def _draw_outcome(panels: Panels, outcome: Outcome, uplink: Uplink, named: bool) -> None:
    """Three panels, one above the other."""
    latency, missed, throughput = panels
    latency.set_title(outcome.name.replace(" + ", "\n+ "), fontsize="medium")
    latency.set_yscale("log")
    latency.axhline(uplink.deadline_ms, color=GREY, linewidth=1, label="deadline")
    for axes, figures in ((latency, "p99"), (missed, "missed"), (throughput, "throughput")):
        _curves(axes, outcome, figures)
        _mark_saturation(axes, outcome.saturation)
        axes.set_visible(True)
        axes.set_xlim(-3, 103)
        axes.tick_params(labelbottom=axes is throughput, labelleft=named)
        axes.grid(axis="y", linewidth=0.4, alpha=0.5)
        axes.spines[["top", "right"]].set_visible(False)
    missed.set_ylim(-2, 102)
    throughput.set_ylim(0, 1.08 * uplink.frames_per_second)
    throughput.set_xlabel("devices attacked, %")
    if named:
        latency.set_ylabel("p99 of latency, ms")
        missed.set_ylabel("deadlines missed, %")
        throughput.set_ylabel("images/s of a device")


def _alike(panels: Sequence[Axes]) -> None:
    """One scale for all of them."""
    lows, highs = zip(*(axes.get_ylim() for axes in panels), strict=True)
    for axes in panels:
        axes.set_ylim(min(lows), max(highs))


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
            # A single device on the link has one point of each kind.
            marker = "o" if len(there) == 1 else None
            axes.plot(shares, values, style, color=colour, marker=marker, label=f"{name}: {kind}")
            axes.fill_between(shares, lows, highs, color=colour, alpha=0.12, linewidth=0)


def _mark_saturation(axes: Axes, share: Estimate) -> None:
    """An upright line where it is, in the band of its interval, as far as they are in sight."""
    low, high = (100 * min(end, 1.0) for end in (share.low, share.high))
    if low < high:
        axes.axvspan(low, high, color=GREY, alpha=0.12, linewidth=0)
    if share.value <= 1:
        axes.axvline(100 * share.value, color=GREY, linestyle=":", label="link saturated")
