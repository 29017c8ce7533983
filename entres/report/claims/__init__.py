"""What the paper claims, and what results say of it: by rules, not by hand.

Each :class:`Claim` is a sentence, a function from rows to what was measured of it, and a rule in
words; the rules themselves are in :mod:`entres.report.claims.verdicts`.
"""

from __future__ import annotations

from collections.abc import Sequence

from entres.report.claims.attacks import ATTACKS, BLACK_BOX, CONTROL, TRANSFERS
from entres.report.claims.claim import Claim, Finding, Reading
from entres.report.claims.corruptions import CORRUPTIONS
from entres.report.claims.defense import CAPPED, DEFENSE, THROUGH
from entres.report.claims.files import LINK, MAPS
from entres.report.claims.verdicts import Verdict
from entres.results import Row

CLAIMS: tuple[Claim, ...] = (
    *ATTACKS,
    *CORRUPTIONS,
    *MAPS,
    *DEFENSE,
    *LINK,
    CONTROL,
    BLACK_BOX,
    TRANSFERS,
    THROUGH,
    CAPPED,
)
"""In the order in which they are shown; what the paper does not say comes last."""


def findings(rows: Sequence[Row]) -> list[Finding]:
    """What the rows of one data set say of each claim."""
    return [Finding(claim, claim.measure(rows)) for claim in CLAIMS]


__all__ = ["CLAIMS", "Claim", "Finding", "Reading", "Verdict", "findings"]
