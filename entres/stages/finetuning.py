"""Stage 2: a distilled student is tuned for the task, by one of two recipes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from entres.models import StudentOutput, TailOutput
from entres.stages.student import StudentStage


class JointFinetuning(StudentStage):
    """Rate-distortion fine-tuning of codec and tail at this beta.

    Minimizes, per image::

        task_weight * (0.5 CE + 0.5 KL) + feature_weight * distortion + beta * bits

    with the distortion of stage 1. The sum of the first two stands for stage 1's distortion: the
    task takes over what the features give up. So beta keeps its unit, but not exactly its force.

    Args:
        task_weight: weight of the task's distillation, in the unit of the distortion. The default
            is the energy of one distillation point under a relative weighting; it was tried with
            that alone, and other teachers may want another.
        feature_weight: weight of the feature distillation.
        kwargs: see :class:`StudentStage`.
    """

    recipe = "joint"

    def __init__(
        self, *args: Any, task_weight: float = 2e4, feature_weight: float = 0.25, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.task_weight = task_weight
        self.feature_weight = feature_weight

    def objective(
        self, output: StudentOutput, teacher: TailOutput, labels: Tensor
    ) -> dict[str, Tensor]:
        distortion = self.distortion(output, teacher)
        task = self.task(output, teacher, labels)
        return {
            "loss": self.task_weight * task
            + self.feature_weight * distortion
            + self.warm_beta() * self.rate(output),
            "distortion": distortion,
            "task": task,
        }


class FrozenEncoderFinetuning(StudentStage):
    """The published recipe: only the synthesis and the tail are tuned, the rate cannot move.

    Minimizes 0.5 CE + 0.5 KL behind latents that are rounded as the coder rounds them; analysis and
    entropy model are frozen, so that beta acts in stage 1 alone.

    Args:
        kwargs: see :class:`StudentStage`.
    """

    recipe = "frozen-encoder"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.student_weights is None:
            raise ValueError("frozen-encoder needs a distilled start: give student_weights")

    def frozen(self) -> Iterable[nn.Module]:
        codec = self.student.codec
        encoder = [child for name, child in codec.named_children() if name != "g_s"]
        return [self.teacher, *encoder]

    def run_student(self, images: Tensor) -> StudentOutput:
        codec = self.student.codec
        with torch.no_grad():
            y = codec.analyse(self.student.normalize(images))
            y_hat, likelihoods = codec.latents(y, "round")
        features = codec.synthesise(y_hat)
        logits, deeper = self.student.tail(features)
        return StudentOutput(logits, [features, *deeper], likelihoods)

    def objective(
        self, output: StudentOutput, teacher: TailOutput, labels: Tensor
    ) -> dict[str, Tensor]:
        task = self.task(output, teacher, labels)
        with torch.no_grad():
            distortion = self.distortion(output, teacher)
        return {"loss": task, "task": task, "distortion": distortion}
