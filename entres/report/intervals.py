"""How sure a figure is: intervals and tests that need the figures alone."""

from __future__ import annotations

from math import exp, fsum, lgamma, log, sqrt
from statistics import NormalDist

from entres.results import LEVEL

# scipy has what is here, but its statistics take more than a second to import.

Interval = tuple[float, float]
"""Its lower and its upper end."""
_Z = NormalDist().inv_cdf((1 + LEVEL) / 2)


def wilson(fraction: float, images: int) -> Interval:
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
    z2 = _Z**2 / images
    middle = (fraction + z2 / 2) / (1 + z2)
    half = sqrt(z2 * (fraction * (1 - fraction) + z2 / 4)) / (1 + z2)
    return max(0.0, middle - half), min(1.0, middle + half)


def normal_interval(mean: float, deviation: float, images: int) -> Interval:
    """The interval of a mean over many images, which is normal whatever the images are.

    Args:
        mean: over images.
        deviation: of the images, that of a sample (divided by N - 1).
        images: how many.
    """
    half = _Z * deviation / sqrt(images)
    return mean - half, mean + half


def mcnemar(lost: int, gained: int) -> float:
    """The exact p-value of McNemar's test: whether one of two is right more often (McNemar 1947).

    Only images on which the two differ count; if neither is better, each of them falls to either
    side like a coin.

    Args:
        lost: images that only the first has right, >= 0.
        gained: images that only the second has right, >= 0.

    Returns:
        Two-sided, in (0, 1].

    Raises:
        ValueError: if a number is negative.
    """
    if min(lost, gained) < 0:
        raise ValueError(f"numbers of images >= 0 were expected: {lost} and {gained}")
    differing = lost + gained
    tail = fsum(
        exp(lgamma(differing + 1) - lgamma(k + 1) - lgamma(differing - k + 1) - differing * log(2))
        for k in range(min(lost, gained) + 1)
    )
    return min(1.0, 2 * tail)


def newcombe(both: int, lost: int, gained: int, neither: int) -> Interval:
    """The interval of a difference of two shares of the same images (Newcombe 1998, method 10).

    It is made of the intervals of both shares (:func:`wilson`) and of how far they go together.

    Args:
        both: images that are right in both.
        lost: images that only the first has right.
        gained: images that only the second has right.
        neither: images that are wrong in both.

    Returns:
        Ends of the second share less the first, in [-1, 1].

    Raises:
        ValueError: if there is no image.
    """
    images = both + lost + gained + neither
    first, second = (both + lost) / max(images, 1), (both + gained) / max(images, 1)
    (low_1, high_1), (low_2, high_2) = wilson(first, images), wilson(second, images)
    margins = (both + lost) * (gained + neither) * (both + gained) * (lost + neither)
    together = float(both * neither - lost * gained)
    if together > 0:  # corrected for continuity
        together = max(together - images / 2, 0)
    phi = together / sqrt(margins) if margins else 0.0
    down_1, up_1 = first - low_1, high_1 - first
    down_2, up_2 = second - low_2, high_2 - second
    down = sqrt(max(0.0, down_2**2 - 2 * phi * down_2 * up_1 + up_1**2))
    up = sqrt(max(0.0, up_2**2 - 2 * phi * up_2 * down_1 + down_1**2))
    return max(-1.0, second - first - down), min(1.0, second - first + up)
