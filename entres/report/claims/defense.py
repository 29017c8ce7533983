"""Section 5.3 and 5.4: the defense; and what it, and a cap, come to beyond the paper."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from entres.experiment.experiment import RECIPES
from entres.report import paper
from entres.report.claims.asked import CAP
from entres.report.claims.attacks import label
from entres.report.claims.claim import (
    BEYOND,
    DENOISERS,
    Claim,
    Reading,
    Student,
    against_clean,
    attacked,
    change,
    condition_of,
    difference,
    each_condition,
    find,
    reading_of,
    students_of,
    trained_on_attacks,
)
from entres.report.claims.verdicts import (
    Measured,
    Verdict,
    above,
    below,
    combined,
)
from entres.report.paired import Comparison, Pair
from entres.results import Row, beside, clean_beside, is_unaware, largest

LOSS = max(
    before.accuracy - after.accuracy
    for before, after in ((paper.TABLE3[e, "before"], paper.TABLE3[e, "after"]) for e in (2, 4))
    if before.accuracy is not None and after.accuracy is not None
)
"""In points: the larger of the losses that the paper calls about 2%."""
EPSILONS = (2.0, 4.0)
"""Where the paper's Table 3 is at the clean size, or below."""
MASKED, PLAIN = "masked_chambolle", "plain_chambolle"


def _defended(student: Student, row: Row) -> Iterator[Pair]:
    """An attacked row without, and behind, each defense and strength of which the attack knows
    nothing.
    """
    labels = {r.defense_label: r for r in student if r.defense in DENOISERS}
    for name in sorted(labels, key=str):
        other = labels[name]
        found = find(
            student,
            condition=row.condition,
            preset=row.preset,
            epsilon_255=row.epsilon_255,
            defense=other.defense,
            defense_strength=other.defense_strength,
        )
        if found is not None:
            yield _undefended(student, found) or row, found


def _undefended(student: Student, row: Row) -> Row | None:
    """What was done to a row's images, with nothing against it."""
    if row.condition == "clean":
        return clean_beside(student, row)
    names = ("condition", "corruption", "severity", "preset", "epsilon_255")
    return find(student, row, **{name: getattr(row, name) for name in names})


def _to_the_clean_size(
    conditions: Sequence[str], epsilons: Sequence[float], rows: Sequence[Row]
) -> list[Reading]:
    readings = []
    for student in students_of(rows):
        for condition in conditions:
            for row in attacked(student, condition, epsilons):
                for before, after in _defended(student, row):
                    if (pair := against_clean(student, after)) is None:
                        continue
                    to_clean, to_undefended = change(pair), change((before, after))
                    size, points = to_clean.size, to_undefended.accuracy
                    what = f"{label(row)} behind {after.defense_label}: size against clean, top-1 "
                    what += "against no defense"
                    verdict = combined((below(size), above(points, -LOSS)))
                    images = min(to_clean.images, to_undefended.images)
                    readings.append(Reading(after, what, verdict, images, size, points))
    return readings


def _mask(rows: Sequence[Row]) -> list[Reading]:
    readings = []
    for student in students_of(rows):
        for masked in each_condition(r for r in student if r.defense == MASKED and is_unaware(r)):
            if (nearest := _unmasked(student, masked)) is None:
                continue
            plain, found = nearest
            what = f"{masked.under.behind(None, None).label}: {masked.defense_label} against "
            what += f"{plain.defense_label}, which has no mask"
            verdict = spared(found.size, found.accuracy)
            readings.append(reading_of(masked, what, verdict, found, (plain,)))
    return readings


def spared(size: Measured, points: Measured) -> Verdict:
    """Whether a mask keeps accuracy that the same denoising without it loses, at no larger size.

    What denoises less is larger and more accurate, what denoises more is smaller and less so:
    neither says anything of the mask.
    """
    accuracy = above(points)
    return Verdict.NOT_SHOWN if accuracy is above(size) else accuracy


def _unmasked(student: Student, masked: Row) -> tuple[Row, Comparison] | None:
    """The same images without a mask, and what the mask changes; of several strengths that which
    leaves the nearest size.
    """
    under = condition_of(masked).behind(PLAIN, None)
    same = [r for r in student if condition_of(r).behind(r.defense, None) == under]
    plain = [
        largest(beside((r for r in same if r.defense_strength == strength), masked))
        for strength in sorted({row.defense_strength for row in same}, key=str)
    ]
    found = [(row, change((row, masked))) for row in plain if row is not None]
    return min(found, key=lambda each: abs(each[1].size.value), default=None)


def _with_training(rows: Sequence[Row]) -> list[Reading]:
    """Students that were trained on attacks, beside those that were not, both behind a defense."""
    readings: list[Reading] = []
    plain = students_of(rows)
    for student in trained_on_attacks(rows):
        for other in (other for other in plain if _card(other[0]) == _card(student[0])):
            for row in attacked(student, "pgd_e", (*EPSILONS, 8.0)):
                for before, after in _defended(student, row):
                    readings += _both(student, other, before, after)
    return readings


def _both(student: Student, other: Student, before: Row, after: Row) -> Iterator[Reading]:
    untrained = find(
        other,
        **{n: getattr(after, n) for n in ("condition", "preset", "epsilon_255")},
        defense=after.defense,
        defense_strength=after.defense_strength,
    )
    pair = against_clean(student, after)
    if untrained is None or pair is None or (reference := against_clean(other, untrained)) is None:
        return
    added, found = change((before, after)), difference(reference, pair)
    what = f"{label(before)} behind {after.defense_label}: change from clean, less that of a "
    what += "student that was not trained on attacks"
    verdict = combined((below(found.size), below(added.size)))
    said = f"the defense changes its attacked size by {added.size}"
    images = min(added.images, found.images)
    yield Reading(after, what, verdict, images, found.size, found.accuracy, said, (untrained,))


def _card(row: Row) -> tuple[object, ...]:
    """What a student is, apart from the attacks that it was trained on."""
    recipe = max((r for r in RECIPES if row.recipe.startswith(r)), key=len, default=row.recipe)
    return row.backbone, row.codec, row.beta, recipe, row.seed


def _through(rows: Sequence[Row]) -> list[Reading]:
    readings = []
    for student in students_of(rows):
        for row in each_condition(student):
            if is_unaware(row) or row.defense not in DENOISERS:
                continue
            if row.condition == "pgd_e" and (pair := against_clean(student, row)):
                found = change(pair)
                what = f"{row.label}, against clean images without a defense"
                readings.append(reading_of(row, what, below(found.size), found))
    return readings


def _cap(rows: Sequence[Row]) -> list[Reading]:
    readings = []
    for student in students_of(rows):
        for row in each_condition(r for r in student if r.defense == CAP and is_unaware(r)):
            before = _undefended(student, row)
            if before is not None:
                found = change((before, row))
                what = f"{row.under.behind(None, None).label}: "
                what += f"a cap of {row.defense_strength:g} KiB against none"
                readings.append(reading_of(row, what, above(found.accuracy, -LOSS), found))
    return readings


_CLEAN_SIZE = (
    "two parts, each by its 95% interval: the mean size behind the defense is below that of "
    f"clean images without it, and top-1 loses less than {LOSS:.2f} points against the same "
    "attacked images without it, the larger of the losses that the paper calls about 2%"
)
DEFENSE = (
    Claim(
        "Denoising brings attacked images to the size of clean ones, at about 2% accuracy.",
        "abstract, section 5.3, Table 3 (2/255 and 4/255)",
        _CLEAN_SIZE,
        partial(_to_the_clean_size, ("pgd_e",), EPSILONS),
        "eval-defense",
        {"epsilons": EPSILONS, "defense": DENOISERS},
        "table3",
    ),
    Claim(
        "The mask of the defense protects the objects.",
        "section 5.3, Eq. 11",
        "the exact minimum with the mask against the same without one, of several strengths that "
        "of the nearest size: the 95% interval of the change of top-1 lies above 0; not shown if "
        "the size is larger as well, which less denoising does, too, or if both are below 0, as "
        "more of it has them",
        _mask,
        "eval-defense",
        {"epsilons": EPSILONS, "defense": (MASKED, PLAIN)},
    ),
    Claim(
        "The defense resists attacks of low frequency and of the objects' region.",
        "section 5.4, Table 4 (4/255)",
        _CLEAN_SIZE,
        partial(_to_the_clean_size, ("low_frequency", "regional"), (4.0,)),
        "eval-defense",
        {"attack": ("low_frequency", "regional"), "epsilons": 4.0, "defense": DENOISERS},
        "table4",
    ),
    Claim(
        "It can be combined with adversarial training, and then is more robust still.",
        "abstract, section 5.3",
        "two parts, each by its 95% interval: behind the defense the size of attacked images rises "
        "less from clean ones than that of a student that was not trained on attacks, and the "
        "defense makes the attacked images of the trained one smaller",
        _with_training,
        "eval-defense",
        {"robust": "pgd_e", "student": None, "epsilons": (*EPSILONS, 8.0)},
    ),
)
"""What the paper says of its defense."""
THROUGH = Claim(
    "The defense stands against an attacker who takes the gradient through it.",
    BEYOND,
    "the 95% interval of the change of the mean size behind the defense, against clean images "
    "without it, lies below 0",
    _through,
    "eval-defense",
    {"defense": MASKED, "through": ("unrolled", "bpda"), "epsilons": 8.0},
)
CAPPED = Claim(
    "A cap on every stream costs little accuracy.",
    BEYOND,
    "against the same images without the cap, the 95% interval of the change of top-1 lies "
    f"above -{LOSS:.2f} points, what the paper grants its defense",
    _cap,
    "eval-defense",
    {"budget_kib": 8.0},
)
