"""The objective of both stages that move the rate: features and task against bits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, get_args

from torch import Tensor, nn

from entres.losses import RELATIVE_POINT_WEIGHT
from entres.models import StudentOutput, TailOutput
from entres.stages.student import StudentStage

TailParameters = Literal["none", "normalization", "all"]
"""What of the tail learns. ``none``: it stays the teacher's. ``normalization``: the scales and
shifts of its normalizations and the biases of its classifier, one parameter in a hundred, while its
statistics stay the teacher's; a student's file then holds little more than its codec."""


class RateDistortion(StudentStage):
    """Minimize, per image::

        feature_weight * sum_k w_k ||f_k(student) - f_k(teacher)||^2
            + task_weight * (0.5 CE + 0.5 KL) + beta * bits

    The first two are the distortion. Beta keeps its unit whatever their weights are, but not its
    force: the more there is to lose, the more bits are spent.

    Args:
        task_weight: weight of the task's distillation, in the unit of the feature errors. If None:
            the energy of one distillation point where the weighting of the features is relative, 0
            where it is the published one.
        feature_weight: weight of the feature distillation.
        tail_parameters: see :data:`TailParameters`.
        args, kwargs: see :class:`StudentStage`.

    Raises:
        ValueError: if a weight is negative, or the tail's parameters are none of these.
    """

    def __init__(
        self,
        *args: Any,
        tail_parameters: TailParameters,
        task_weight: float | None = None,
        feature_weight: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        if task_weight is None:
            task_weight = RELATIVE_POINT_WEIGHT if self.feature_weighting == "relative" else 0.0
        if task_weight < 0 or feature_weight < 0:
            raise ValueError(f"weights must be >= 0, got {task_weight} and {feature_weight}")
        self.task_weight = task_weight
        self.feature_weight = feature_weight
        if tail_parameters not in get_args(TailParameters):
            raise ValueError(
                f"tail_parameters must be one of {', '.join(get_args(TailParameters))}, got "
                f"{tail_parameters!r}"
            )
        self.tail_parameters = tail_parameters

    def frozen(self) -> Iterable[nn.Module]:
        whole = self.tail_parameters == "all"
        return [self.teacher] if whole else [self.teacher, self.student.tail]

    def thawed(self) -> Iterable[nn.Parameter]:
        if self.tail_parameters != "normalization":
            return []
        # One value per channel or class: scales, shifts and biases.
        return [p for p in self.student.tail.parameters() if p.ndim == 1]

    def objective(
        self, output: StudentOutput, teacher: TailOutput, labels: Tensor
    ) -> dict[str, Tensor]:
        distortion = self.distortion(output, teacher)
        task = self.task(output, teacher, labels)
        return {
            "loss": self.feature_weight * distortion
            + self.task_weight * task
            + self.warm_beta() * self.rate(output),
            "distortion": distortion,
            "task": task,
        }
