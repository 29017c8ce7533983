"""The verb that lets devices share an uplink."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path

from entres import configs
from entres.link.uplink import DISCIPLINES, LinkError, Uplink
from entres.results import read_evaluations

MEASURED = "measured"


def link(
    *folders: str,
    devices: int = Uplink.devices,
    frames_per_second: float = Uplink.frames_per_second,
    rate_mbps: float | None = None,
    header_bytes: int = Uplink.header_bytes,
    packet_bytes: int = Uplink.packet_bytes,
    head_ms: float = Uplink.head_ms,
    tail_ms: float = Uplink.tail_ms,
    defense_ms: str = "0",
    deadline_ms: float = Uplink.deadline_ms,
    arrivals: str = Uplink.arrivals,
    jitter: float = Uplink.jitter,
    discipline: str = ",".join(DISCIPLINES),
    condition: str = "",
    epsilon_255: float | None = None,
    frames: int = 200_000,
    seed: int = 0,
) -> None:
    """Latency and missed deadlines of devices that share an uplink, some of them attacked.

    Streams are as large as those that evaluations have recorded. link.json, link.csv and link.png
    are written into the first folder; the report shows them.

    Args:
        folders: of evaluations of one student, with clean images and others (eval-link makes some).
        devices: how many share the link.
        frames_per_second: images that each device sends a second.
        rate_mbps: of the link, in 10^6 bits a second (default: that of which clean images of all
            devices, without a defense, take half).
        header_bytes: of each packet.
        packet_bytes: of a full packet, header included.
        head_ms: time of the head for an image.
        tail_ms: time of the tail for an image.
        defense_ms: time of a defense for an image: a number, or measured, which is what the
            evaluation took on its machine.
        deadline_ms: for the way from an image to its prediction.
        arrivals: periodic or poisson.
        jitter: of periodic images, the share of a period by which one may be late.
        discipline: how the link serves, one or both, separated by a comma.
        condition: what attacked devices send: names of conditions or corruptions, separated by
            commas, each at its largest epsilon or severity (default: all that there are).
        epsilon_255: radius of the attacks among them, in 1/255 (default: the largest).
        frames: sent for every figure, over all devices and repetitions.
        seed: of all that is random.

    Raises:
        EntresError: if the evaluations have not what it takes, or a value is out of range.
    """
    from rich.console import Console
    from rich.progress import Progress

    from entres.link.model import half_utilized, need_frames
    from entres.link.sizes import scenarios
    from entres.link.study import Study, outcome, points_of
    from entres.report.link import experiences, how_to_read, saturation, write_link
    from entres.report.terminal import show_table

    disciplines = _known("discipline", _words(discipline), DISCIPLINES)
    if seed < 0:
        raise LinkError(f"seed must be >= 0, got {seed}")
    each_defense_ms = _milliseconds(defense_ms)
    uplink = Uplink(
        devices=devices,
        frames_per_second=frames_per_second,
        rate_mbps=Uplink.rate_mbps if rate_mbps is None else rate_mbps,
        header_bytes=header_bytes,
        packet_bytes=packet_bytes,
        head_ms=head_ms,
        tail_ms=tail_ms,
        deadline_ms=deadline_ms,
        arrivals=arrivals,
        jitter=jitter,
    )
    need_frames(uplink, frames)
    rows = read_evaluations(folders)
    found = scenarios(rows, _words(condition), each_defense_ms, epsilon_255)
    if rate_mbps is None:
        uplink = half_utilized(uplink, found[0].clean)
    outcomes = []
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("link", total=len(found) * points_of(uplink, disciplines))
        for scenario in found:
            outcomes.append(
                outcome(uplink, scenario, disciplines, frames, seed, lambda: bar.advance(task))
            )
    student, dataset = rows[0].student, rows[0].images_of
    study = Study(student, dataset, uplink, frames, seed, tuple(outcomes))
    files = write_link(study, Path(folders[0]))
    for table in experiences(study):
        show_table(table)
    print(how_to_read(study))
    show_table(saturation(study), files)


def _milliseconds(text: str) -> float | None:
    """Of a defense; None: as it was measured."""
    if text == MEASURED:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise LinkError(f"defense_ms must be >= 0, or {MEASURED}, got {text}")
    return value


def _words(text: str) -> list[str]:
    return list(dict.fromkeys(text.replace(",", " ").split()))


def _known(what: str, words: Sequence[str], known: Sequence[str]) -> list[str]:
    for word in words:
        if word not in known:
            raise LinkError(configs.unknown(what, word, list(known)))
    if not words:
        raise LinkError(f"{what}: give {' or '.join(known)}, or both")
    return list(words)
