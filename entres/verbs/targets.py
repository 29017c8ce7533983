"""Verbs that train and evaluate: an experiment and a target, run step by step."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from entres.experiment import TARGETS, Experiment, steps
from entres.experiment.runner import run_steps


def run_target(target: str, experiment: Experiment, dry_run: bool = False) -> None:
    """Run what a target comes to, each line in a process of its own.

    Args:
        target: see :data:`entres.experiment.TARGETS`.
        experiment: what is asked for.
        dry_run: print every line that would run, and run none.

    Raises:
        SystemExit: with the exit code of a line that failed.
    """
    planned = steps(experiment, target)
    if dry_run:
        for step in planned:
            # What is there already is not made again.
            print(step.line if step.is_needed else f"# there already: {step.makes}")
        return
    if code := run_steps(planned, partial(print, flush=True)):
        raise SystemExit(code)


def verb_of(target: str) -> Callable[..., None]:
    """The verb of a target, with its help."""

    def verb(experiment: Experiment, dry_run: bool = False) -> None:
        run_target(target, experiment, dry_run)

    first = (TARGETS[target].__doc__ or "").strip().splitlines()[0]
    verb.__doc__ = f"""{first}

Every line is a process of its own and is printed before it runs. A flag with a dot, such as
--trainer.precision bf16-mixed, is handed on to all of them.

Args:
    dry_run: print every line that would run, and run none.
"""
    return verb
