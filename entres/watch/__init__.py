"""Watching runs in W&B: what a run is called, what its curves mean, and a dashboard."""

from entres.watch.curves import CurveSummaries
from entres.watch.identity import RunIdentity, evaluation_run, training_run
from entres.watch.loggers import logged_in, run_loggers

__all__ = [
    "CurveSummaries",
    "RunIdentity",
    "evaluation_run",
    "logged_in",
    "run_loggers",
    "training_run",
]
