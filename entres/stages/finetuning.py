"""Stage 2: a distilled student is tuned for the task, by one of two recipes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from entres.losses import RELATIVE_POINT_WEIGHT
from entres.models import StudentOutput, TailOutput
from entres.stages.rate_distortion import RateDistortion, TailParameters
from entres.stages.student import StudentStage


class JointFinetuning(RateDistortion):
    """Rate-distortion fine-tuning of codec and tail at this beta.

    Args:
        task_weight: as there, but never 0 by itself: this stage is for the task. Other teachers
            may want another.
        tail_parameters: ``all`` unless asked.
        args, kwargs: see :class:`RateDistortion`.
    """

    recipe = "joint"

    def __init__(
        self,
        *args: Any,
        task_weight: float = RELATIVE_POINT_WEIGHT,
        tail_parameters: TailParameters = "all",
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, task_weight=task_weight, tail_parameters=tail_parameters, **kwargs)


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
