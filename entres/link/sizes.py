"""What devices may send, from the records of evaluations."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from entres import configs
from entres.errors import reason_of
from entres.link.model import MS, Scenario
from entres.link.uplink import LinkError
from entres.records import RECORDS, each_record
from entres.results import Condition, Row, clean_beside, largest, recorded_condition

Sizes = NDArray[np.int64]


def scenarios(
    rows: Sequence[Row],
    names: Sequence[str] = (),
    defense_ms: float | None = None,
    epsilon_255: float | None = None,
) -> list[Scenario]:
    """Every condition that devices may be under, beside the clean images of the others.

    Args:
        rows: see :func:`entres.results.read_evaluations`.
        names: conditions or corruptions to keep; all if none. Of each, the largest epsilon or
            severity counts.
        defense_ms: what a defense takes for an image; as it was measured if None.
        epsilon_255: radius of the attacks to keep, in 1/255; the largest of each if None.

    Returns:
        Those of one condition together, without a defense first. Behind a defense, the clean images
        are behind it as well.

    Raises:
        LinkError: if there are no clean images, or nothing else, or a name that there is none of.
    """
    others = [row for row in rows if row.condition != "clean"]
    if epsilon_255 is not None:
        radii = sorted({row.epsilon_255 for row in others if row.epsilon_255})
        others = [row for row in others if row.epsilon_255 in (None, epsilon_255)]
        if not any(row.epsilon_255 for row in others):
            there = ", ".join(f"{radius:g}" for radius in radii) or "no attack at all"
            raise LinkError(
                f"no attack of {epsilon_255:g}/255 in these evaluations; there is: {there}"
            )
    known = list(dict.fromkeys(_name(row) for row in others))
    if not known:
        raise LinkError(
            "nothing but clean images in these evaluations: entres eval-attacks and "
            "entres eval-corruptions make others"
        )
    if unknown := [name for name in names if name not in known]:
        raise LinkError(configs.unknown("condition", unknown[0], known))
    found = []
    sizes = _Sizes()
    worst = _worst(row for row in others if not names or _name(row) in names)
    order = list(dict.fromkeys(row.under.behind(None, None) for row in worst))
    worst.sort(key=lambda row: (order.index(row.under.behind(None, None)), row.defense is not None))
    for row in worst:
        clean = clean_beside(rows, row, row.defense_label)
        if clean is None:
            behind = f" behind {row.defense_label}" if row.defense else ""
            raise LinkError(
                f"no clean images{behind} to compare {row.label} with: give the folder of an "
                "evaluation that holds some, too"
            )
        found.append(
            Scenario(
                label=row.under.behind(None, None).label,
                defense=row.defense_label,
                clean=sizes.of(clean),
                attacked=sizes.of(row),
                clean_defense_ms=_defense_ms(clean, defense_ms),
                attacked_defense_ms=_defense_ms(row, defense_ms),
            )
        )
    return found


def _defense_ms(row: Row, given: float | None) -> float:
    if row.defense is None:
        return 0.0
    return MS * float(row.extra.get("defense_seconds") or 0.0) if given is None else given


def _name(row: Row) -> str:
    return row.corruption or row.condition


def _worst(rows: Iterable[Row]) -> list[Row]:
    """Of conditions that differ in how much only, that of most; of the same one, the largest."""
    groups: dict[Condition, list[Row]] = defaultdict(list)
    for row in rows:
        groups[replace(row.under, epsilon_255=None, severity=None)].append(row)
    worst = []
    for group in groups.values():
        most = max(_amount(row) for row in group)
        chosen = largest(row for row in group if _amount(row) == most)
        assert chosen is not None
        worst.append(chosen)
    return worst


def _amount(row: Row) -> tuple[float, int]:
    return row.epsilon_255 or 0.0, row.severity or 0


class _Sizes:
    """The sizes of the streams behind a row; every file is read once."""

    def __init__(self) -> None:
        self._read: dict[Path, dict[tuple[str, ...], list[int]]] = {}

    def of(self, row: Row) -> Sizes:
        assert row.folder is not None
        path = row.folder / RECORDS
        if path not in self._read:
            self._read[path] = _by_condition(path)
        sizes = self._read[path].get(recorded_condition(vars(row)))
        if sizes is None or len(sizes) != row.images:
            raise LinkError(
                f"{path} has {len(sizes or [])} lines of {row.label}, summary.json counts "
                f"{row.images} images: evaluate again"
            )
        return np.array(sizes, dtype=np.int64)


def _by_condition(path: Path) -> dict[tuple[str, ...], list[int]]:
    found: dict[tuple[str, ...], list[int]] = defaultdict(list)
    try:
        for record in each_record(path):
            found[recorded_condition(record)].append(int(record["bytes"]))
    except (KeyError, TypeError, ValueError) as error:
        raise LinkError(
            f"{path} holds no sizes of streams ({reason_of(error)}): evaluate again"
        ) from error
    return dict(found)
