"""A few images of every condition, and where in them the bits go, for W&B."""

from __future__ import annotations

from typing import Any

import matplotlib
import numpy as np
import torch
import wandb
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from entres.callbacks.results import conditions_of
from entres.data import Batch
from entres.functional import KIB, bit_rate_map
from entres.report.table import condition_label
from entres.stages.evaluation import Evaluation, EvaluationOutput

IMAGES, MAPS = "examples/images", "examples/bit_rate_maps"
"""Keys in W&B; one step per condition."""


class ExampleImages(Callback):
    """Logs the first images of every condition, as the student saw them, and their bit-rate maps.

    The maps of a condition share one colour scale, from black (no bits) to the brightest position
    among them; the caption says how many bits that is. Rank zero alone logs.

    Args:
        count: images per condition, >= 0; 0 logs none. At most those of the first batch.

    Raises:
        ValueError: if ``count`` is negative.
    """

    def __init__(self, count: int = 4) -> None:
        if count < 0:
            raise ValueError(f"count of example images must be >= 0, got {count}")
        self.count = count

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        loggers = [logger for logger in trainer.loggers if isinstance(logger, WandbLogger)]
        if batch_idx or not (loggers and self.count and trainer.is_global_zero):
            return
        assert isinstance(pl_module, Evaluation)
        label = condition_label(conditions_of(trainer)[dataloader_idx])
        media = self._media(pl_module, batch, outputs, label)
        for logger in loggers:
            logger.log_metrics(media, step=dataloader_idx)  # type: ignore[arg-type]  # W&B takes media

    @torch.no_grad()
    def _media(
        self, evaluation: Evaluation, batch: Batch, output: EvaluationOutput, label: str
    ) -> dict[str, list[wandb.Image]]:
        images = batch.images[: self.count]
        bits = bit_rate_map(evaluation.student(images).likelihoods["y"].float())
        facts = zip(
            batch.indices.tolist(),
            batch.labels.tolist(),
            output.logits.argmax(1).tolist(),
            (output.bits / (8 * KIB)).tolist(),
            strict=True,
        )
        captions = [
            f"{label}, image {index}: label {truth}, predicted {predicted}, {kib:.2f} KiB"
            for index, truth, predicted, kib in list(facts)[: self.count]
        ]
        scale = f"{label}, brightest {bits.max().item():.0f} bits"
        return {
            IMAGES: [
                wandb.Image(pixels, caption=caption)
                for pixels, caption in zip(_as_pixels(images), captions, strict=True)
            ],
            MAPS: [
                wandb.Image(pixels, caption=f"{scale}; {total:.0f} bits of y")
                for pixels, total in zip(
                    map_colours(bits, images.shape[-2:]), bits.sum((1, 2)).tolist(), strict=True
                )
            ],
        }


def map_colours(bits: Tensor, size: torch.Size) -> NDArray[np.uint8]:
    """Bit-rate maps as pictures of the images' size, on one scale from 0 to their maximum.

    Args:
        bits: shape (N, h, w), >= 0.
        size: height and width of the pictures.

    Returns:
        RGB, shape (N, height, width, 3).
    """
    large = F.interpolate(bits[:, None], size=size, mode="nearest")[:, 0]
    shares = (large / large.max().clamp(min=torch.finfo(large.dtype).tiny)).cpu().numpy()
    colours: NDArray[np.uint8] = matplotlib.colormaps["inferno"](shares, bytes=True)[..., :3]
    return colours


def _as_pixels(images: Tensor) -> NDArray[np.uint8]:
    """Images in [0, 1], (N, 3, H, W), to RGB pixels, (N, H, W, 3)."""
    pixels: Tensor = images.mul(255).round().byte().permute(0, 2, 3, 1)
    return pixels.cpu().numpy()
