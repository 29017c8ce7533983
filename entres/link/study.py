"""Every condition of an evaluation on a shared link, and the file that keeps what was found."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from entres.errors import reason_of
from entres.files import write_whole
from entres.link.model import (
    Estimate,
    Experience,
    Point,
    Scenario,
    attacked_numbers,
    saturation,
    simulate,
    utilization,
)
from entres.link.traffic import on_the_wire
from entres.link.uplink import DISCIPLINES, Uplink
from entres.results import ResultsError

FILE = "link.json"
Progress = Callable[[], None]


@dataclass(frozen=True)
class Outcome:
    """What becomes of a link when devices send what a scenario says.

    Attributes:
        label: what the attacked devices send, in words.
        defense: in front of all devices, in words, or None.
        clean_defense_ms, attacked_defense_ms: what it takes for an image.
        clean_images, attacked_images: how many each were drawn from.
        clean_bytes, attacked_bytes: mean of a stream, without headers.
        clean_utilization, attacked_utilization: if no device is attacked, and if all are.
        saturation: the share of attacked devices from which the utilization is 1: 0 if clean images
            saturate the link, infinity if no share does.
        points: every discipline and share.
    """

    label: str
    defense: str | None
    clean_defense_ms: float
    attacked_defense_ms: float
    clean_images: int
    attacked_images: int
    clean_bytes: float
    attacked_bytes: float
    clean_utilization: float
    attacked_utilization: float
    saturation: Estimate
    points: tuple[Point, ...]

    @property
    def name(self) -> str:
        """What is sent, and behind what."""
        return self.label if self.defense is None else f"{self.label} + {self.defense}"


@dataclass(frozen=True)
class Study:
    """Devices with one student on one link.

    Attributes:
        student: its name.
        dataset: whose images they send.
        uplink: the link.
        frames: of every point.
        seed: of all that was random.
        outcomes: one for each scenario.
    """

    student: str
    dataset: str
    uplink: Uplink
    frames: int
    seed: int
    outcomes: tuple[Outcome, ...]

    def write(self, folder: Path) -> Path:
        """Write ``link.json``; what is infinite is null there."""
        text = json.dumps(_finite(asdict(self)), indent=2, allow_nan=False) + "\n"
        return write_whole(folder / FILE, text)

    @classmethod
    def read(cls, folder: Path) -> Study:
        """The inverse of :meth:`write`.

        Raises:
            ResultsError: if there is none, or it is damaged.
        """
        path = folder / FILE
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            outcomes = tuple(_outcome(v) for v in values.pop("outcomes"))
            uplink = Uplink(**values.pop("uplink"))
            return cls(**values, uplink=uplink, outcomes=outcomes)
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise ResultsError(
                f"{path} holds no study of a link ({reason_of(error)}): delete it, or run entres "
                "link again"
            ) from error


def outcome(
    uplink: Uplink,
    scenario: Scenario,
    disciplines: Sequence[str] = DISCIPLINES,
    frames: int = 200_000,
    seed: int = 0,
    progress: Progress = lambda: None,
) -> Outcome:
    """One scenario, from no attacked device to all of them.

    Args:
        uplink, scenario, disciplines, frames, seed: see :func:`~entres.link.model.simulate`.
        progress: called at every point; there are :func:`points_of` of them.

    Raises:
        LinkError: see :func:`~entres.link.model.simulate`.
    """
    points = []
    for point in simulate(uplink, scenario, disciplines, frames, seed):
        points.append(point)
        progress()
    both = (scenario.clean, scenario.attacked)
    used = [utilization(uplink, float(on_the_wire(uplink, sizes).mean())) for sizes in both]
    return Outcome(
        label=scenario.label,
        defense=scenario.defense,
        clean_defense_ms=scenario.clean_defense_ms,
        attacked_defense_ms=scenario.attacked_defense_ms,
        clean_images=len(scenario.clean),
        attacked_images=len(scenario.attacked),
        clean_bytes=float(scenario.clean.mean()),
        attacked_bytes=float(scenario.attacked.mean()),
        clean_utilization=used[0],
        attacked_utilization=used[1],
        saturation=saturation(uplink, scenario, seed),
        points=tuple(points),
    )


def points_of(uplink: Uplink, disciplines: Sequence[str]) -> int:
    """How many points a scenario has."""
    return len(attacked_numbers(uplink.devices)) * len(disciplines)


def _finite(values: Any) -> Any:
    match values:
        case dict():
            return {name: _finite(value) for name, value in values.items()}
        case list() | tuple():
            return [_finite(value) for value in values]
        case float() if math.isinf(values):
            return None
    return values


def _outcome(values: Mapping[str, Any]) -> Outcome:
    ends = [math.inf if value is None else value for value in values["saturation"]]
    points = tuple(_point(v) for v in values["points"])
    return Outcome(**{**values, "saturation": Estimate(*ends), "points": points})


def _point(values: Mapping[str, Any]) -> Point:
    kinds = {name: _experience(values[name]) for name in ("honest", "attacked")}
    return Point(**{**values, **kinds})


def _experience(values: Mapping[str, Any] | None) -> Experience | None:
    if values is None:
        return None
    return Experience(**{f.name: Estimate(*values[f.name]) for f in fields(Experience)})
