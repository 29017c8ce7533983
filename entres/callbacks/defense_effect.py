"""What a defense did to the images, and what it cost."""

from __future__ import annotations

import math
from typing import Any

from entres.callbacks.base import Columns, Measurement
from entres.data import Batch
from entres.stages.evaluation import EvaluationOutput


class DefenseEffect(Measurement):
    """Records what was measured while a batch was defended.

    Columns: ``defended`` (1 if the image was touched at all; an automatic defense may not),
    ``defense_seconds`` (per image, mask included) and ``defense_mse`` (mean squared change of a
    pixel value); where one mask is made for all images of a batch, ``mask_seconds`` of the seconds
    and ``mask_mean``. Figures: the means of these; for ``defense_mse`` that as ``defense_psnr``, in
    dB to the received image.
    """

    def columns(self, batch: Batch, output: EvaluationOutput) -> Columns:
        return output.notes

    def summary(self, columns: Columns) -> dict[str, Any]:
        names = ("defended", "defense_seconds", "mask_seconds", "mask_mean")
        figures: dict[str, Any] = {
            name: columns[name].mean().item() for name in names if name in columns
        }
        if "defense_mse" in columns:
            error = columns["defense_mse"].mean().item()
            figures["defense_psnr"] = -10 * math.log10(error) if error else None
        return figures
