"""How many bytes travel."""

from __future__ import annotations

from typing import Any

from entres.bitstream import KIB
from entres.callbacks.base import Columns, Measurement
from entres.data import Batch
from entres.metrics import BitstreamSize
from entres.stages.evaluation import EvaluationOutput


class BitSize(Measurement):
    """Exact bytes of every image's stream, beside three other accounts of the same stream.

    Columns: ``bytes`` (the whole stream), ``payload_bytes`` (the coded strings alone),
    ``published_bytes`` (the published accounting) and ``bits`` (the entropy model's estimate).
    """

    def columns(self, batch: Batch, output: EvaluationOutput) -> Columns:
        return {
            "bytes": output.sizes.stream,
            "payload_bytes": output.sizes.payload,
            "published_bytes": output.sizes.published,
            "bits": output.bits.cpu().double(),
        }

    def summary(self, columns: Columns) -> dict[str, Any]:
        size = BitstreamSize(sync_on_compute=False)
        size.update(columns["bytes"])
        whole = size.compute()
        return {
            "kib_mean": whole["mean"].item(),
            "kib_std": whole["std"].item(),
            "payload_kib_mean": columns["payload_bytes"].double().mean().item() / KIB,
            "published_kib_mean": columns["published_bytes"].double().mean().item() / KIB,
            "rate_kib_mean": columns["bits"].mean().item() / (8 * KIB),
        }
