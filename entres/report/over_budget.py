"""How far an attack has to go until streams pass a budget: over epsilon, and for each image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING

from entres.condition_names import SMALLEST_EPSILON, budget_of
from entres.report.formats import Ranged, Share
from entres.report.intervals import wilson
from entres.report.paired import common_images
from entres.report.records import column_of, images_of
from entres.results import Condition, ResultsError, Row, clean_reference, largest_of_each

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PASSED_BY_CLEAN = 0.05
"""Share of the clean images that pass the budget that is taken where none is given."""


@dataclass(frozen=True)
class OverBudget:
    """One attack against a budget, at every epsilon that it was evaluated at, or that it sought.

    Attributes:
        label: the attack in words, without its epsilon.
        defense: what stands in front of the student, in words; None without one.
        budget_kib: what a stream may have, in KiB.
        epsilons_255: rising; 0 is the clean images, where these were evaluated.
        keys: of the images that were evaluated at every epsilon, shape (N,); see
            :class:`entres.report.paired.Common`.
        over: whether their streams are over the budget, bool, shape (epsilons, N).
        alone: images that were evaluated at some epsilons only: they are left out.
    """

    label: str
    defense: str | None
    budget_kib: float
    epsilons_255: tuple[float, ...]
    keys: NDArray[np.generic]
    over: NDArray[np.bool_]
    alone: int

    @property
    def name(self) -> str:
        """The attack and the defense."""
        return self.label + (f" + {self.defense}" if self.defense else "")

    @property
    def images(self) -> int:
        """How many."""
        return len(self.keys)

    @property
    def shares(self) -> list[Share]:
        """Images whose stream is over the budget, epsilon by epsilon."""
        return [Share(float(of.mean()), self.images) for of in self.over]

    @property
    def smallest_255(self) -> NDArray[np.float64]:
        """The smallest epsilon at which an image's stream is over the budget, shape (N,).

        An upper bound: an attack that goes on for longer, or an epsilon between two that were
        evaluated, may do with less. 0 where the clean image is over it, infinite where no epsilon
        is.
        """
        import numpy as np

        epsilons = np.array(self.epsilons_255)[:, None]
        found: NDArray[np.float64] = np.where(self.over, epsilons, inf).min(0)
        return found

    @property
    def passed(self) -> Share:
        """Images that are over the budget at any epsilon."""
        return self._up_to(inf)

    def quantile(self, share: float) -> Ranged:
        """The epsilon by which a share of the images, in (0, 1], has passed the budget.

        Its ends are the epsilons at which the interval of the share of images that have passed by
        then (:func:`wilson`) first reaches it: with its upper end, and with its lower one.
        """
        by_then = [(epsilon, self._up_to(epsilon)) for epsilon in self.epsilons_255]

        def first(reaches: Iterable[float]) -> float:
            there = (e for (e, _), value in zip(by_then, reaches, strict=True) if value >= share)
            return next(there, inf)

        ends = [wilson(*passed) for _, passed in by_then]
        value = first(passed.fraction for _, passed in by_then)
        low, high = first(end for _, end in ends), first(end for end, _ in ends)
        return Ranged(value, low, high, "g", f"> {self.epsilons_255[-1]:g}")

    def _up_to(self, epsilon_255: float) -> Share:
        smallest = self.smallest_255
        passed = (smallest <= epsilon_255) & (smallest < inf)
        return Share(float(passed.mean()), self.images)


def over_budget(rows: Sequence[Row], budget_kib: float) -> list[OverBudget]:
    """Every attack of a student against a budget, each with and without its defenses.

    Attacks that seek the smallest epsilon themselves (:class:`entres.attacks.SmallestEpsilon`)
    count for the budget that they sought to pass, and for no other.

    Args:
        rows: of one student on one data set, with their records.
        budget_kib: what a stream may have, in KiB.

    Raises:
        ResultsError: if there are no attacks among the rows, or no records beside them.
    """
    found = [attack for attack in sought(rows) if attack.budget_kib == budget_kib]
    groups: dict[Condition, dict[float, Row]] = {}
    for under, row in largest_of_each(rows, lambda row: row.under).items():
        if under.epsilon_255 is not None and budget_of(under.condition) is None:
            attack = replace(under, epsilon_255=None)
            groups.setdefault(attack, {})[under.epsilon_255] = row
    if not groups and not found:
        raise ResultsError(
            "no attacks in these evaluations, or only such as seek to pass another budget: entres "
            "eval-attacks makes some"
        )
    for attack, at in groups.items():
        of_attack = sorted(at.items())
        images = max(row.images for _, row in of_attack)
        if clean := clean_reference(rows, images, attack.defense_label):
            of_attack.insert(0, (0.0, clean))
        common = common_images([row for _, row in of_attack])
        found.append(
            OverBudget(
                label=attack.behind(None, None).label,
                defense=attack.defense_label,
                budget_kib=budget_kib,
                epsilons_255=tuple(epsilon for epsilon, _ in of_attack),
                keys=common.keys,
                over=common.sizes > budget_kib,
                alone=common.alone,
            )
        )
    return found


def sought(rows: Sequence[Row]) -> list[OverBudget]:
    """What the attacks that seek the smallest epsilon have found, each for its own budget.

    Of one attack that sought within several radii, the largest counts. One that was made for
    another student says nothing of this one's streams, and is left out.

    Raises:
        ResultsError: if there are no records beside them.
    """
    import numpy as np

    def whose_streams(row: Row) -> tuple[Condition, str | None]:
        return replace(row.under, epsilon_255=None), _seen_defense(row, rows)

    found = []
    widest_first = sorted(_seeking(rows), key=lambda row: -(row.epsilon_255 or 0))
    for (under, defense), row in largest_of_each(widest_first, whose_streams).items():
        smallest = column_of(row, SMALLEST_EPSILON)
        # Where nothing passes, it was tried up to the attack's own epsilon.
        epsilons = np.unique([0, *np.where(np.isfinite(smallest), smallest, row.epsilon_255 or 0)])
        found.append(
            OverBudget(
                label=under.label,
                defense=defense,
                budget_kib=budget_of(row.condition) or inf,
                epsilons_255=tuple(epsilons.tolist()),
                keys=images_of(row).index,
                over=smallest <= epsilons[:, None],
                alone=0,
            )
        )
    return found


def budgets_sought(rows: Sequence[Row]) -> list[float]:
    """The budgets that the attacks of :func:`sought` seek to pass, in KiB, rising."""
    return sorted({budget_of(row.condition) or inf for row in _seeking(rows)})


def _seeking(rows: Sequence[Row]) -> list[Row]:
    """The rows of attacks that seek the smallest epsilon for this student's streams."""
    # Behind a defense a row shows what the images that were found without one do there.
    own = (row for row in rows if row.defense is None and row.victim is None)
    return [row for row in own if row.epsilon_255 and budget_of(row.condition) is not None]


def _seen_defense(row: Row, rows: Sequence[Row]) -> str | None:
    """The defense that an attack went through, of whose streams its figures are; None of none."""
    if row.through is None:
        return None
    beside = (r for r in rows if r.folder == row.folder and r.under.behind(None, None) == row.under)
    return next((other.defense_label for other in beside if other.defense is not None), None)


def clean_budget_kib(rows: Sequence[Row], passing: float = PASSED_BY_CLEAN) -> float:
    """The size in KiB that only a share of the undefended clean images is over.

    Raises:
        ResultsError: if there are none, or no records of them.
    """
    import numpy as np

    clean = clean_reference(rows)
    if clean is None:
        raise ResultsError("no clean images in these evaluations: give a budget")
    return float(np.quantile(images_of(clean).sizes, 1 - passing))
