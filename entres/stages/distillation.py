"""Stage 1: the codec learns to give the teacher's features in few bits."""

from __future__ import annotations

from typing import Any

from entres.stages.rate_distortion import RateDistortion, TailParameters


class Distillation(RateDistortion):
    """The codec alone learns, before the teacher's tail.

    The points of the feature distillation are the codec's output and the deeper stages behind it;
    those are the teacher's, so their errors reach the codec through them. So do those of the task,
    which the published recipe leaves to the second stage: with them a network of few channels
    learns several times as fast (docs/recipes.md).

    Args:
        tail_parameters: ``none`` unless asked.
        args, kwargs: see :class:`RateDistortion`.
    """

    recipe = "distilled"
    has_teachers_tail = True

    def __init__(self, *args: Any, tail_parameters: TailParameters = "none", **kwargs: Any) -> None:
        super().__init__(*args, tail_parameters=tail_parameters, **kwargs)
