"""What is asked for, what it comes to, and where it lies: no torch here, and no Lightning."""

from entres.experiment.experiment import Experiment, ExperimentError, Option, options
from entres.experiment.lines import Step
from entres.experiment.steps import TARGETS, steps

__all__ = ["TARGETS", "Experiment", "ExperimentError", "Option", "Step", "options", "steps"]
