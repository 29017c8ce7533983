"""How sure a figure is."""

from __future__ import annotations

from math import sqrt
from statistics import NormalDist

from entres.results import LEVEL


def wilson(fraction: float, images: int) -> tuple[float, float]:
    """The interval of a share of independent images (Wilson 1927, eq. 4 of Brown et al. 2001).

    Args:
        fraction: the share that was found, in [0, 1].
        images: of how many, at least 1.

    Returns:
        Its ends, in [0, 1]. Unlike the usual ± it stays there, and has a width at 0 and at 1.

    Raises:
        ValueError: if either is out of range.
    """
    if not 0 <= fraction <= 1 or images < 1:
        raise ValueError(f"a share in [0, 1] of images >= 1 was expected: {fraction} of {images}")
    # scipy has it as well, but takes a second to import.
    z2 = NormalDist().inv_cdf((1 + LEVEL) / 2) ** 2 / images
    middle = (fraction + z2 / 2) / (1 + z2)
    half = sqrt(z2 * (fraction * (1 - fraction) + z2 / 4)) / (1 + z2)
    return max(0.0, middle - half), min(1.0, middle + half)
