"""Section 4.2: interference that nobody intends."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from entres.report import paper
from entres.report.claims.claim import (
    Claim,
    Reading,
    Student,
    against_clean,
    alike,
    change,
    codec_pairs,
    difference,
    find,
    reading_of,
    students_of,
)
from entres.report.claims.verdicts import Measured, Verdict, above, below, within
from entres.report.paired import Comparison
from entres.report.tables.common import words
from entres.results import Row

LITTLE = 0.1
"""A relative change of the size that counts as none; the paper calls 4.42% little."""
Rule = Callable[[Measured], Verdict]
LONGER: dict[tuple[str, int], Rule] = {
    ("gaussian_noise", 1): above,
    ("impulse_noise", 1): above,
    ("shot_noise", 5): above,
}
"""Corruptions and severities of Table 2 and Fig. 3a."""
SHORTER: dict[tuple[str, int], Rule] = {
    ("motion_blur", 1): below,
    ("glass_blur", 1): below,
    ("defocus_blur", 5): below,
    ("contrast", 5): below,
}
NEITHER: dict[tuple[str, int], Rule] = {("snow", 5): partial(within, limit=LITTLE)}
EVERY = LONGER | SHORTER | NEITHER


def _against_clean(rules: dict[tuple[str, int], Rule], rows: Sequence[Row]) -> list[Reading]:
    readings = []
    for student in students_of(rows):
        for (name, severity), rule in rules.items():
            if (pair := _corrupted(student, name, severity)) is None:
                continue
            found = change(pair)
            what = f"{words(name)}, severity {severity}, against clean"
            readings.append(reading_of(pair[1], what, rule(found.size), found))
    return readings


def _corrupted(student: Student, name: str, severity: int) -> tuple[Row, Row] | None:
    row = find(student, corruption=name, severity=severity)
    return None if row is None else against_clean(student, row)


def _over_betas(rows: Sequence[Row]) -> list[Reading]:
    readings = []
    for group in alike(rows, "beta"):
        for (name, severity), rule in EVERY.items():
            pairs = [pair for s in group if (pair := _corrupted(s, name, severity))]
            if len({row.beta for _, row in pairs}) < 2:
                continue
            found = [(row.beta, change((clean, row))) for clean, row in pairs]
            in_order = sorted(found, key=_beta)
            values = ", ".join(f"beta {beta:g}: {of_beta.size}" for beta, of_beta in in_order)
            images = min(of_beta.images for _, of_beta in found)
            row, *others = (row for _, row in pairs)
            what = f"{words(name)}, severity {severity}, against clean"
            verdict = same_trend([rule(of_beta.size) for _, of_beta in found])
            readings.append(Reading(row, what, verdict, images, other=values, others=tuple(others)))
    return readings


def _beta(item: tuple[float, Comparison]) -> float:
    return item[0]


def same_trend(verdicts: Sequence[Verdict]) -> Verdict:
    """Whether all betas do what the paper says, or all of them do not."""
    if Verdict.NOT_SHOWN in verdicts:
        return Verdict.NOT_SHOWN
    return Verdict.HOLDS if len(set(verdicts)) == 1 else Verdict.NOT_SO


def _codecs(rows: Sequence[Row]) -> list[Reading]:
    return list(_of_codecs(rows))


def _of_codecs(rows: Sequence[Row]) -> Iterator[Reading]:
    for fp, mshp in codec_pairs(rows):
        for codec, name in paper.TABLE2:
            if codec != "mshp":
                continue
            pairs = _corrupted(fp, name, 1), _corrupted(mshp, name, 1)
            if pairs[0] is None or pairs[1] is None:
                continue
            found = difference(pairs[0], pairs[1])
            # What lengthens must lengthen more, and what shortens shorten more.
            further = above if (name, 1) in LONGER else below
            what = f"{words(name)}, severity 1: change with MSHP less that with FP"
            yield reading_of(pairs[1][1], what, further(found.size), found, (pairs[0][1],))


def _is_shown(side: str) -> str:
    return f"the 95% interval of the change of the mean size lies {side}"


_SEVERE = {"severities": (1, 5)}
CORRUPTIONS = (
    Claim(
        "Noise makes streams longer.",
        "section 4.2, Fig. 3a and Table 2",
        _is_shown("above 0"),
        partial(_against_clean, LONGER),
        "eval-corruptions",
        {**_SEVERE, "corruptions": ("gaussian_noise", "impulse_noise", "shot_noise")},
        "fig3a",
    ),
    Claim(
        "Blur and loss of contrast make streams shorter.",
        "section 4.2, Fig. 3a and Table 2",
        _is_shown("below 0"),
        partial(_against_clean, SHORTER),
        "eval-corruptions",
        {**_SEVERE, "corruptions": ("motion_blur", "glass_blur", "defocus_blur", "contrast")},
        "fig3a",
    ),
    Claim(
        "Snow does neither.",
        "section 4.2, Fig. 3a",
        _is_shown(f"between -{LITTLE:.0%} and +{LITTLE:.0%}"),
        partial(_against_clean, NEITHER),
        "eval-corruptions",
        {"severities": 5, "corruptions": ("snow",)},
        "fig3a",
    ),
    Claim(
        "The trend is the same for every weight beta of the rate.",
        "section 4.2, Fig. 3a",
        "at every beta the three rules above come to one verdict, be it the paper's or not; not so "
        "if they differ; not shown if one of them is not",
        _over_betas,
        "eval-corruptions",
        {**_SEVERE, "corruptions": tuple(name for name, _ in EVERY), "beta": 0.32},
        "fig3a",
    ),
    Claim(
        "The mean-scale hyperprior reacts to corruptions more than the factorized prior.",
        "section 4.2, Table 2",
        "the change of the size with MSHP less that with FP, over the same images: its 95% "
        "interval lies above 0 for noise, below 0 for blur",
        _codecs,
        "eval-corruptions",
        {"severities": 1, "corruptions": tuple(n for codec, n in paper.TABLE2 if codec == "fp")},
        "table2",
        ("fp", "mshp"),
    ),
)
"""What the paper says of corruptions."""
