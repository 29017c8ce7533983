"""A few images of every condition, and where in them the bits go, for W&B."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from entres.bitstream import KIB
from entres.callbacks.base import conditions_of
from entres.data import Batch
from entres.functional import bit_rate_map
from entres.stages.evaluation import Evaluation, EvaluationOutput
from entres.watch.loggers import tell

if TYPE_CHECKING:
    import wandb

IMAGES, MAPS = "examples/images", "examples/bit_rate_maps"
"""Keys in W&B; one step per row of the results."""


class ExampleImages(Callback):
    """Logs the first images of every condition, as the student saw them, and their bit-rate maps.

    With defenses: the images as they were received, and then after each defense.

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

    @torch.no_grad()
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
        condition, images = conditions_of(trainer)[dataloader_idx], batch.images[: self.count]
        for number, (defense, output) in enumerate(
            zip([None, *pl_module.defenses], outputs, strict=True)
        ):
            seen = images
            if defense is not None:
                seen = defense.defend(pl_module.student, images).images
                condition = condition.behind(defense.name, defense.strength)
            pictures = partial(self._media, pl_module, seen, batch, output, condition.label)
            for logger in loggers:
                # The step is that of the row.
                step = dataloader_idx * len(outputs) + number
                tell(logger, partial(_log, logger, pictures, step))

    def _media(
        self,
        evaluation: Evaluation,
        images: Tensor,
        batch: Batch,
        output: EvaluationOutput,
        label: str,
    ) -> dict[str, list[wandb.Image]]:
        import wandb  # only where something is logged to it

        bits = bit_rate_map(evaluation.student(images, "round").likelihoods["y"].float())
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


def _log(logger: WandbLogger, pictures: Callable[[], Any], step: int) -> None:
    logger.log_metrics(pictures(), step=step)


def map_colours(bits: Tensor, size: torch.Size) -> NDArray[np.uint8]:
    """Bit-rate maps as pictures of the images' size, on one scale from 0 to their maximum.

    Args:
        bits: shape (N, h, w), >= 0.
        size: height and width of the pictures.

    Returns:
        RGB, shape (N, height, width, 3).
    """
    import matplotlib

    large = F.interpolate(bits[:, None], size=size, mode="nearest")[:, 0]
    shares = (large / large.max().clamp(min=torch.finfo(large.dtype).tiny)).cpu().numpy()
    colours: NDArray[np.uint8] = matplotlib.colormaps["inferno"](shares, bytes=True)[..., :3]
    return colours


def _as_pixels(images: Tensor) -> NDArray[np.uint8]:
    """Images in [0, 1], (N, 3, H, W), to RGB pixels, (N, H, W, 3)."""
    pixels: Tensor = images.mul(255).round().byte().permute(0, 2, 3, 1)
    return pixels.cpu().numpy()
