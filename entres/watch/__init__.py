"""Watching runs in W&B: what a run is called, what its curves mean, and a dashboard."""

from entres.watch.curves import CurveSummaries
from entres.watch.examples import ExampleImages
from entres.watch.identity import RunIdentity, evaluation_run, training_run
from entres.watch.loggers import logged_in, run_loggers, wandb_of_one_run
from entres.watch.results import ResultsWatch

__all__ = [
    "CurveSummaries",
    "ExampleImages",
    "ResultsWatch",
    "RunIdentity",
    "evaluation_run",
    "logged_in",
    "run_loggers",
    "training_run",
    "wandb_of_one_run",
]
