"""Verbs for W&B."""

from __future__ import annotations

from entres.errors import EntresError


def dashboard(
    entity: str | None = None, project: str = "entres", name: str = "entres", out: str = "runs"
) -> None:
    """Make a dashboard in W&B: curves, sizes and accuracies, images; every call makes a new one.

    Args:
        entity: user or team (default: the one that is logged in).
        project: whose runs it shows.
        name: what it is called.
        out: folder of all runs; each condition that was measured there gets bars of its own.

    Raises:
        EntresError: if a package is missing, or nobody is logged in.
    """
    import wandb

    from entres.results import find_results
    from entres.watch import logged_in
    from entres.watch.dashboard import student_workspace

    if not logged_in():
        raise EntresError(
            "nobody is logged in to W&B: run wandb login (or set WANDB_API_KEY) on a "
            "machine with a network; WANDB_MODE must be unset or online"
        )
    rows = find_results(out).rows
    owner = entity or wandb.Api().default_entity
    if owner is None:
        raise EntresError("W&B names no default entity: give --entity USER_OR_TEAM")
    try:
        workspace = student_workspace(owner, project, name, rows)
    except ImportError as error:
        raise EntresError(
            "a dashboard needs wandb-workspaces: pip install 'entres[dashboard]'"
        ) from error
    workspace.save()
    print(workspace.url)
