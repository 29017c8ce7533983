"""Verbs for W&B."""

from __future__ import annotations

import wandb

from entres.results import find_results
from entres.watch import logged_in
from entres.watch.dashboard import student_workspace
from entres.watch.loggers import PROJECT


def dashboard(
    entity: str | None = None, project: str = PROJECT, name: str = "entres", out: str = "runs"
) -> None:
    """Make a dashboard in W&B: curves, sizes and accuracies, images; every call makes a new one.

    Args:
        entity: user or team; the one that is logged in if None.
        project: whose runs it shows.
        name: what it is called.
        out: folder of all runs; each condition that was measured there gets bars of its own.

    Raises:
        SystemExit: if a package is missing, or nobody is logged in.
    """
    if not logged_in():
        raise SystemExit(
            "entres: nobody is logged in to W&B: run wandb login (or set WANDB_API_KEY) on a "
            "machine with a network; WANDB_MODE must be unset or online"
        )
    rows = find_results(out).rows
    owner = entity or wandb.Api().default_entity
    if owner is None:
        raise SystemExit("entres: W&B names no default entity: give --entity USER_OR_TEAM")
    try:
        workspace = student_workspace(owner, project, name, rows)
    except ImportError as error:
        raise SystemExit(
            "entres: a dashboard needs wandb-workspaces: pip install 'entres[dashboard]'"
        ) from error
    workspace.save()
    print(workspace.url)
