"""What data are called in results, checkpoints and W&B."""

from __future__ import annotations

from lightning.pytorch import LightningDataModule


def dataset_name(data: LightningDataModule) -> str:
    """The name of a data module's images; that of its class where it has none."""
    return data.name or type(data).__name__
