"""A workspace in W&B with what is worth watching, made by code."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from entres.results import Row
from entres.watch.curves import STEP
from entres.watch.examples import IMAGES, MAPS
from entres.watch.results import headline

if TYPE_CHECKING:
    from wandb_workspaces.workspaces import Workspace

CURVES = ("val/kib", "val/accuracy", "val/distortion", "val/bits", "train/loss_step")
GROUPS = ("backbone", "codec", "recipe", "beta")
"""By them runs are grouped: a line or bar is one student, the mean over its seeds."""
MOST_CONDITIONS = 12
"""Conditions with bars of their own; the table of results holds all."""
CLEAN = ("kib/clean", "accuracy/clean")


def student_workspace(entity: str, project: str, name: str, rows: Iterable[Row]) -> Workspace:
    """The workspace, made without a network; its ``save()`` uploads it.

    Args:
        entity: user or team that owns it.
        project: whose runs it shows.
        name: what it is called.
        rows: results whose conditions get bars of their own, at most the first
            :data:`MOST_CONDITIONS`; the clean images always do.

    Raises:
        ImportError: if the package wandb-workspaces is not there.
    """
    # An optional extra, and its import takes a while.
    import wandb_workspaces.expr as expr
    import wandb_workspaces.reports.v2 as panels
    import wandb_workspaces.workspaces as workspaces

    conditions = dict.fromkeys([CLEAN, *(tuple(headline(row)) for row in rows)])
    bars = [
        panels.BarPlot(title=key, metrics=[key])
        for keys in list(conditions)[:MOST_CONDITIONS]
        for key in keys
    ]
    size, accuracy = (panels.SummaryMetric(key) for key in CLEAN)
    tradeoff = panels.ScatterPlot(title="clean: accuracy over KiB", x=size, y=accuracy)
    table = panels.WeavePanelSummaryTable(table_name="results")
    curves = [panels.LinePlot(title=key, x=STEP, y=[key]) for key in CURVES]
    media = [
        panels.MediaBrowser(
            title=key, media_keys=[key], mode="grid", grid_x_axis="step", grid_y_axis="run"
        )
        for key in (IMAGES, MAPS)
    ]
    return workspaces.Workspace(
        entity=entity,
        project=project,
        name=name,
        sections=[
            workspaces.Section(name="Evaluations", panels=[tradeoff, *bars, table], is_open=True),
            workspaces.Section(name="Training", panels=curves, is_open=True),
            workspaces.Section(name="What the student saw, and where its bits go", panels=media),
        ],
        runset_settings=workspaces.RunsetSettings(groupby=[expr.Config(key) for key in GROUPS]),
    )
