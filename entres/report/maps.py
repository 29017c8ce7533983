"""Where the bits are, beside total variation (Fig. 5), and where attacks add them (Fig. 6)."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from entres.attacks import PGDE, PGDAcc, StudentVictim
from entres.bitstream import KIB
from entres.files import write_whole
from entres.functional import bit_rate_map, total_variation_map
from entres.models import EntropicStudent
from entres.report.formats import Number, Table
from entres.results import ResultsError

PATCH = 4
"""Side in px of what one position of the latent y sees most of: the head's stride."""
OBJECT = 0.5
"""Share of the saliency's maximum from which a position belongs to the object."""


class ImageMaps(NamedTuple):
    """Maps of a batch, all on the latent's grid (h, w).

    Attributes:
        images: clean, shape (N, 3, H, W).
        bits: of y at each position, shape (N, h, w).
        variation: total variation of the patch under each position, shape (N, h, w).
        added_e, added_acc: bits that PGD-E and PGD-Acc add, shape (N, h, w).
        saliency: Grad-CAM of the student's own prediction, in [0, 1], shape (N, h, w).
    """

    images: Tensor
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
    seed: int = 0,
) -> ImageMaps:
    """Attack a batch twice and map its bits.

    Args:
        student: whose entropy model and classifier are asked.
        images: in [0, 1], shape (N, 3, H, W).
        labels: true classes, shape (N,).
        epsilon_255: radius of both attacks in units of 1/255.
        steps: of both attacks.
        seed: of their noise.
    """
    bits = _bits(student, images)
    victim = StudentVictim(student)
    added_e, added_acc = (
        _bits(student, attack(victim, images, labels, _noise(images, seed))) - bits
        for attack in (PGDE(epsilon_255, steps), PGDAcc(epsilon_255, steps))
    )
    rows, columns = bits.shape[-2:]
    return ImageMaps(
        images,
        bits,
        # Position i sees the pixels round 4 i + 2 most, so that the grids begin together.
        total_variation_map(images, PATCH)[:, :rows, :columns],
        added_e,
        added_acc,
        grad_cam(student, images, (rows, columns)),
    )


def _noise(images: Tensor, seed: int) -> torch.Generator:
    return torch.Generator(images.device).manual_seed(seed)


@torch.no_grad()
def _bits(student: EntropicStudent, images: Tensor) -> Tensor:
    return bit_rate_map(student(images, "round").likelihoods["y"])


def grad_cam(student: EntropicStudent, images: Tensor, size: tuple[int, int]) -> Tensor:
    """Where a student looks: Grad-CAM of its prediction at the deepest features [Selvaraju2017].

    [Selvaraju2017] Selvaraju et al.: Grad-CAM: visual explanations from deep networks, ICCV.

    Returns:
        In [0, 1], maximum 1 (0 where nothing speaks for the prediction), shape (N, *size).
    """
    with torch.enable_grad():
        output = student(images.clone().requires_grad_(), "straight_through")
        features = output.features[-1]
        (gradient,) = torch.autograd.grad(output.logits.amax(1).sum(), features)
    weights = gradient.mean((-2, -1), keepdim=True)
    evidence = (weights * features.detach()).sum(1, keepdim=True).relu()
    evidence = F.interpolate(evidence, size=size, mode="bilinear")[:, 0]
    return evidence / evidence.amax((-2, -1), keepdim=True).clamp(min=1e-12)


# --- numbers ------------------------------------------------------------------------------------


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
    values: Sequence[float],
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


def numbers(maps: ImageMaps) -> list[dict[str, float]]:
    """Figures of every image.

    ``rank_correlation`` (of bits and total variation over positions); ``background_area`` (share of
    positions whose saliency is below half of the largest); ``background_clean`` (share of the clean
    image's bits there), ``background_pgd_e`` and ``background_pgd_acc`` (share of the added bits,
    rises alone); ``kib_clean`` and ``kib_pgd_e``, ``kib_pgd_acc`` (bits of y that an attack adds).
    """
    rows = []
    for bits, variation, added_e, added_acc, saliency in zip(*maps[1:], strict=True):
        background = saliency < OBJECT
        rows.append(
            {
                "rank_correlation": rank_correlation(bits, variation),
                "background_area": background.double().mean().item(),
                "background_clean": _share(bits, background),
                "background_pgd_e": _share(added_e.relu(), background),
                "background_pgd_acc": _share(added_acc.relu(), background),
                **{
                    f"kib_{name}": part.sum().item() / (8 * KIB)
                    for name, part in (("clean", bits), ("pgd_e", added_e), ("pgd_acc", added_acc))
                },
            }
        )
    return rows


def _share(bits: Tensor, where: Tensor) -> float:
    return (bits[where].sum() / bits.sum().clamp(min=1e-12)).item()


def summary(rows: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """Means over images with bootstrap intervals, and the excess over the background's area."""
    found: dict[str, Any] = {"images": len(rows)}
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    area = np.asarray(columns["background_area"])
    for name in ("background_clean", "background_pgd_e", "background_pgd_acc"):
        columns[f"{name}_over_area"] = list(np.asarray(columns[name]) - area)
    for name, values in columns.items():
        found[name] = {"mean": float(np.mean(values)), "interval": bootstrap_interval(values)}
    return found


def write_numbers(folder: Path, rows: Sequence[Mapping[str, Any]]) -> list[Path]:
    """Write ``maps.csv`` (one line per image) and ``maps.json`` (means and intervals)."""
    folder.mkdir(parents=True, exist_ok=True)
    table, text = folder / "maps.csv", folder / "maps.json"
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    numeric = [{k: v for k, v in row.items() if isinstance(v, float)} for row in rows]
    write_whole(text, json.dumps(summary(numeric), indent=2) + "\n")
    return [text, table]


MEANINGS = {
    "rank_correlation": "rank correlation of bits and total variation",
    "background_area": "background: area, share of the positions",
    "background_clean": "background: share of the clean image's bits",
    "background_pgd_e": "background: share of the bits that PGD-E adds",
    "background_pgd_acc": "background: share of the bits that PGD-Acc adds",
    "kib_clean": "KiB of y, clean",
    "kib_pgd_e": "KiB of y that PGD-E adds",
    "kib_pgd_acc": "KiB of y that PGD-Acc adds",
    "background_clean_over_area": "background: clean bits, share minus the area's",
    "background_pgd_e_over_area": "background: bits of PGD-E, share minus the area's",
    "background_pgd_acc_over_area": "background: bits of PGD-Acc, share minus the area's",
}
"""What a person reads for the names in ``maps.json``."""


def numbers_table(file: Path) -> Table:
    """The figures of a ``maps.json``, each with its interval.

    Raises:
        ResultsError: if it is none.
    """
    try:
        figures = json.loads(file.read_text())
        images = figures.pop("images")
        rows = [
            (
                MEANINGS.get(name, name),
                Number(value["mean"], ".3f"),
                "{:.3f} to {:.3f}".format(*value["interval"]),
            )
            for name, value in figures.items()
        ]
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        raise ResultsError(f"{file} holds no maps ({error}): make maps writes it anew") from error
    header = ("figure", "mean", "95% interval")
    return Table("maps", f"What the maps show, {images} images", header, rows)


Column = tuple[str, NDArray[Any], Mapping[str, Any]]
"""Title of a column of panels, what each of its rows shows, and how."""


# --- pictures -----------------------------------------------------------------------------------


def draw_bits(path: Path, maps: ImageMaps) -> None:
    """Fig. 5: image, bit-rate map and total variation, a row per image."""
    columns: list[Column] = [
        ("image", _pictures(maps.images), {}),
        ("bits per position", maps.bits.cpu().numpy(), {"cmap": "magma"}),
        ("total variation", maps.variation.cpu().numpy(), {"cmap": "magma"}),
    ]
    _panels(path, columns)


def draw_attacks(path: Path, maps: ImageMaps) -> None:
    """Fig. 6: image, saliency, and bits under PGD-E minus bits under PGD-Acc (red: PGD-E more)."""
    difference = (maps.added_e - maps.added_acc).cpu().numpy()
    limit = float(np.quantile(np.abs(difference), 0.99)) or 1.0
    columns: list[Column] = [
        ("image", _pictures(maps.images), {}),
        ("saliency of the student", maps.saliency.cpu().numpy(), {"cmap": "gray"}),
        (
            "bits, PGD-E minus PGD-Acc",
            difference,
            {"cmap": "bwr", "vmin": -limit, "vmax": limit},
        ),
    ]
    _panels(path, columns)


PICTURES = {"bits": draw_bits, "attacks": draw_attacks}
"""What draws the pictures, by the name of the file."""


def _pictures(images: Tensor) -> NDArray[np.float32]:
    pictures: NDArray[np.float32] = images.permute(0, 2, 3, 1).cpu().numpy()
    return pictures


def _panels(path: Path, columns: Sequence[Column]) -> None:
    number = len(columns[0][1])
    figure = Figure(figsize=(2.6 * len(columns), 2.3 * number))
    axes = figure.subplots(number, len(columns), squeeze=False)
    for column, (title, values, options) in enumerate(columns):
        axes[0, column].set_title(title, fontsize=9)
        for row in range(number):
            axis = axes[row, column]
            drawn = axis.imshow(values[row], interpolation="nearest", **options)
            axis.set_axis_off()
            if options:
                figure.colorbar(drawn, ax=axis, fraction=0.046).ax.tick_params(labelsize=6)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
