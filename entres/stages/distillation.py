"""Stage 1: the codec learns to give the teacher's features in few bits."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from entres.stages.rate_distortion import RateDistortion


class Distillation(RateDistortion):
    """The codec alone learns, before the teacher's tail.

    The points of the feature distillation are the codec's output and the deeper stages behind it;
    those are the teacher's, so their errors reach the codec through them. So do those of the task,
    which the published recipe leaves to the second stage: with them a network of few channels
    learns several times as fast (docs/recipes.md).

    Args:
        args, kwargs: see :class:`RateDistortion`.
    """

    recipe = "distilled"
    has_teachers_tail = True

    def frozen(self) -> Iterable[nn.Module]:
        return [self.teacher, self.student.tail]
