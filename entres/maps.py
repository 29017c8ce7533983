"""Where the bits are, beside total variation (Fig. 5), and where attacks add them (Fig. 6).

Nothing is drawn here: :class:`entres.callbacks.Maps` measures these on the images of an evaluation,
and :mod:`entres.report.maps` makes pictures and a table of what it wrote.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from entres.attacks import PGDE, PGDAcc, StudentVictim
from entres.bitstream import KIB
from entres.functional import bit_rate_map, total_variation_map
from entres.models import EntropicStudent, NoisePerImage

PATCH = 4
"""Side in px of what one position of the latent y sees most of: the head's stride."""
OBJECT = 0.5
"""Share of the saliency's maximum from which a position belongs to the object."""


class ImageMaps(NamedTuple):
    """Maps of a batch, all on the latent's grid (h, w).

    Attributes:
        bits: of y at each position, shape (N, h, w).
        variation: total variation of the patch under each position, shape (N, h, w).
        added_e: bits that PGD-E adds, shape (N, h, w).
        added_acc: bits that PGD-Acc adds, shape (N, h, w).
        saliency: Grad-CAM of the student's own prediction, in [0, 1], shape (N, h, w).
    """

    bits: Tensor
    variation: Tensor
    added_e: Tensor
    added_acc: Tensor
    saliency: Tensor


def image_maps(
    student: EntropicStudent,
    images: Tensor,
    labels: Tensor,
    epsilon_255: float,
    steps: int,
    seed: int,
    indices: Tensor,
) -> ImageMaps:
    """Attack a batch twice and map its bits.

    Args:
        student: whose entropy model and classifier are asked.
        images: in [0, 1], shape (N, 3, H, W).
        labels: true classes, shape (N,).
        epsilon_255: radius of both attacks in units of 1/255.
        steps: of both attacks.
        seed: of the attacks' noise, see :class:`entres.models.NoisePerImage`.
        indices: of the images in their data, shape (N,): an image's maps do not depend on the batch
            it stands in.

    Raises:
        ValueError: if a value is out of range.
    """
    bits = _bits(student, images)
    victim = StudentVictim(student)
    added_e, added_acc = (
        _bits(student, attack(victim, images, labels, NoisePerImage(seed, indices))) - bits
        for attack in (PGDE(epsilon_255, steps), PGDAcc(epsilon_255, steps))
    )
    rows, columns = bits.shape[-2:]
    # Position i sees the pixels round 4 i + 2 most, so that the grids begin together.
    variation = total_variation_map(images, PATCH)[:, :rows, :columns]
    saliency = grad_cam(student, images, (rows, columns))
    return ImageMaps(bits, variation, added_e, added_acc, saliency)


@torch.no_grad()
def _bits(student: EntropicStudent, images: Tensor) -> Tensor:
    return bit_rate_map(student(images, "round").likelihoods["y"].float())


def grad_cam(student: EntropicStudent, images: Tensor, size: tuple[int, int]) -> Tensor:
    """Where a student looks: Grad-CAM of its prediction at the deepest features [Selvaraju2017].

    [Selvaraju2017] Selvaraju et al.: Grad-CAM: visual explanations from deep networks, ICCV.

    Returns:
        In [0, 1], maximum 1 (0 where nothing speaks for the prediction), shape (N, height, width).
    """
    # As in an attack: under inference_mode there would be no gradient.
    with torch.inference_mode(False), torch.enable_grad():
        output = student(images.clone().requires_grad_(), "straight_through")
        features = output.features[-1]
        (gradient,) = torch.autograd.grad(output.logits.amax(1).sum(), features)
    weights = gradient.mean((-2, -1), keepdim=True)
    evidence = (weights * features.detach()).sum(1, keepdim=True).relu()
    evidence = F.interpolate(evidence, size=size, mode="bilinear")[:, 0]
    return evidence / evidence.amax((-2, -1), keepdim=True).clamp(min=1e-12)


# --- statistics -----------------------------------------------------------------------------------


def rank_correlation(a: Tensor, b: Tensor) -> float:
    """Spearman's correlation of two maps: that of the ranks, ties sharing their mean rank."""
    ranks = torch.stack([_ranks(a.flatten()), _ranks(b.flatten())])
    return torch.corrcoef(ranks)[0, 1].item()


def _ranks(values: Tensor) -> Tensor:
    _, inverse, counts = torch.unique(values, return_inverse=True, return_counts=True)
    last: Tensor = counts.cumsum(0).double()
    middle: Tensor = last - (counts - 1) / 2
    return middle[inverse]


def bootstrap_interval(
    values: Sequence[float] | NDArray[np.float64],
    seed: int = 0,
    draws: int = 2000,
    statistic: Callable[..., Any] = np.mean,
) -> tuple[float, float]:
    """The 95% percentile interval of a statistic over images, drawn with replacement."""
    random = np.random.default_rng(seed)
    sample = np.asarray(values)
    chosen = random.integers(0, len(sample), (draws, len(sample)))
    low, high = np.quantile(statistic(sample[chosen], axis=1), (0.025, 0.975))
    return float(low), float(high)


def statistics(maps: ImageMaps) -> dict[str, Tensor]:
    """Figures of every image, by name, each of shape (N,).

    ``rank_correlation`` (of bits and total variation over positions; NaN where one of them is the
    same everywhere); ``background_area`` (share of positions whose saliency is below half of the
    largest); ``background_clean`` (share of the clean image's bits there), ``background_pgd_e`` and
    ``background_pgd_acc`` (share of the added bits, rises alone); ``kib_clean`` and ``kib_pgd_e``,
    ``kib_pgd_acc`` (KiB of y, and those that an attack adds).
    """
    bits, variation, added_e, added_acc, saliency = maps
    background = saliency < OBJECT
    correlations = [rank_correlation(b, v) for b, v in zip(bits, variation, strict=True)]
    return {
        "rank_correlation": torch.tensor(correlations, dtype=torch.float64),
        "background_area": background.double().mean((1, 2)),
        "background_clean": _share(bits, background),
        "background_pgd_e": _share(added_e.relu(), background),
        "background_pgd_acc": _share(added_acc.relu(), background),
        "kib_clean": _kib(bits),
        "kib_pgd_e": _kib(added_e),
        "kib_pgd_acc": _kib(added_acc),
    }


def _share(bits: Tensor, where: Tensor) -> Tensor:
    return (bits * where).double().sum((1, 2)) / bits.double().sum((1, 2)).clamp(min=1e-12)


def _kib(bits: Tensor) -> Tensor:
    return bits.double().sum((1, 2)) / (8 * KIB)


STATISTICS = (
    "rank_correlation",
    "background_area",
    "background_clean",
    "background_pgd_e",
    "background_pgd_acc",
    "kib_clean",
    "kib_pgd_e",
    "kib_pgd_acc",
)
"""Names of :func:`statistics`."""


def summary(columns: Mapping[str, Tensor]) -> dict[str, Any]:
    """Means over images with bootstrap intervals, and the excess over the background's area.

    Args:
        columns: :func:`statistics` of all images, each of shape (images,).

    Returns:
        ``images``, and for each name a ``mean`` and the 95% ``interval`` of it, over the images
        that have the figure; a name that none has is left out.
    """
    values = {name: columns[name].double().numpy() for name in STATISTICS}
    for name in ("background_clean", "background_pgd_e", "background_pgd_acc"):
        values[f"{name}_over_area"] = values[name] - values["background_area"]
    found: dict[str, Any] = {"images": len(values["background_area"])}
    for name, column in values.items():
        finite = column[np.isfinite(column)]
        if len(finite):
            found[name] = {"mean": float(finite.mean()), "interval": bootstrap_interval(finite)}
    return found
