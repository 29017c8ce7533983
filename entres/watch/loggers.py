"""Where a run's figures go: a CSV file always, and W&B."""

from __future__ import annotations

import os
from netrc import NetrcParseError, netrc
from pathlib import Path
from urllib.parse import urlparse

from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger

from entres.watch.identity import RunIdentity

PROJECT = "entres"


def run_loggers(folder: Path, run: RunIdentity) -> list[Logger]:
    """CSV always; W&B offline unless the user is logged in, never asking.

    Args:
        folder: of the run; W&B writes to its subfolder ``wandb/``.
        run: what W&B shall call it.
    """
    online = WandbLogger(
        project=PROJECT,
        save_dir=folder,
        offline=not logged_in(),
        name=run.name,
        group=run.group,
        job_type=run.job_type,
        tags=list(run.tags),
        config=run.config,
    )
    online._wandb_init.pop("anonymous", None)  # wandb warns of it, whatever its value
    # A resumed run writes a new version: what it logged before it was killed stays.
    return [CSVLogger(folder, name="logs"), online]


def logged_in() -> bool:
    """Whether the user is logged in to W&B: by the environment, or by ``wandb login`` (netrc)."""
    if os.environ.get("WANDB_MODE", "online") != "online":
        return False
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        return netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, NetrcParseError):
        return False
