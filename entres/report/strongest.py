"""The worst that several attacks do to each image: an attacker picks the best per image."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from entres.bitstream import KIB
from entres.condition_names import leaves_its_ball
from entres.records import read_records


class Strongest(NamedTuple):
    """The strongest of several attacks in one ball, per image.

    Attributes:
        defense: name of the defense, empty without one.
        strength: of the defense, empty without one.
        norm: the ball of the attacks, ``linf`` or ``l2``.
        epsilon_255: its radius in units of 1/255.
        images: how many.
        attacks: of how many each image's strongest was taken.
        sizes: the largest of each image, in KiB.
        presets: of the attacks, in order; attacks that take no gradient have none.
        accuracy: share of images that every attack left right, a fraction.
        chosen: how often each attack made the largest stream, by name.
    """

    defense: str
    strength: str
    norm: str
    epsilon_255: str
    images: int
    attacks: int
    presets: list[str]
    sizes: list[float]
    accuracy: float
    chosen: dict[str, int]


def strongest(records: Path) -> list[Strongest]:
    """From a ``records.csv``, for each defense and ball: norm and epsilon.

    An attack in a larger ball is not stronger, it may do more; so each is only compared with those
    in its own, and one whose images leave theirs (:func:`entres.condition_names.leaves_its_ball`)
    with none. The two figures are taken apart: the largest stream and the wrong prediction of an
    image may be of different attacks.

    Raises:
        ValueError: if there is no attack in its ball among the records.
    """
    groups: dict[tuple[str, str, str, str], dict[str, list[dict[str, str]]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for record in read_records(records):
        if record["epsilon_255"] and not leaves_its_ball(record["condition"]):
            behind = (record["defense"], record["defense_strength"])
            key = (*behind, record["norm"], record["epsilon_255"])
            groups[key][record["index"]].append(record)
    if not groups:
        raise ValueError(
            f"no attack in {records} stays in its ball (through JPEG, none does): give the records "
            "of an evaluation under attack"
        )
    return [_summary(key, list(images.values())) for key, images in groups.items()]


def _summary(key: tuple[str, str, str, str], images: list[list[dict[str, str]]]) -> Strongest:
    largest = [max(records, key=lambda record: int(record["bytes"])) for records in images]
    chosen: dict[str, int] = defaultdict(int)
    for record in largest:
        chosen[_called(record)] += 1
    right = [all(r["prediction"] == r["label"] for r in records) for records in images]
    return Strongest(
        *key,
        images=len(images),
        attacks=len(images[0]),
        presets=sorted({record["preset"] for record in images[0]} - {""}),
        sizes=[int(record["bytes"]) / KIB for record in largest],
        accuracy=fmean(right),
        chosen=dict(chosen),
    )


def _called(record: dict[str, str]) -> str:
    """An attack among those in one ball: ``pgd_e (strong, unrolled)``."""
    way = record["through"] or ("oblivious" if record["defense"] else "")
    # Files of earlier versions say of no victim.
    made_for = f"made for {record['victim']}" if record.get("victim") else ""
    said = ", ".join(filter(None, (record["preset"], way, made_for)))
    return record["condition"] + (f" ({said})" if said else "")
