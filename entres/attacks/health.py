"""How attacks fare: what several of them measure in the same way."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from entres.attacks.runs import Run


def late_gain(curve: Tensor, reached: Tensor | None = None) -> Tensor:
    """What the last quarter of an attack's steps still gained, shape (N,).

    Args:
        curve: the objective at the beginning and after every step, shape (N, steps + 1).
        reached: of an objective that can be reached, whether it was by then, the same shape.

    Returns:
        Relative to the objective before it; with ``reached``, 1 for an image that was lost only
        then, else 0.
    """
    late = (curve.shape[1] - 1) * 3 // 4
    if reached is not None:
        return (reached[:, -1] & ~reached[:, late]).float()
    return (curve[:, -1] - curve[:, late]) / curve[:, late].abs().clamp(min=1e-12)


def health_of(
    runs: Sequence[Run], chosen: Tensor, keeps_worst: bool, can_be_reached: bool
) -> tuple[dict[str, Tensor], Tensor]:
    """How an attack fared, per image, and the objective over its steps, shape (N, steps + 1).

    Args:
        runs: all of them.
        chosen: number of the run that each image is kept from, shape (N,): its figures are of that
            one, since what another gained says nothing of it.
        keeps_worst: whether the worst image of a run is kept, or its last.
        can_be_reached: whether the objective can be.
    """

    def of_chosen(of_runs: list[Tensor]) -> Tensor:
        return torch.stack(of_runs, 1)[torch.arange(len(chosen), device=chosen.device), chosen]

    curves, reached = [], []
    for run in runs:
        measured = [m for m in (*(step.measured for step in run.steps), run.end) if m is not None]
        curve = torch.stack([m.value for m in measured], 1)
        was_reached = torch.stack([m.reached for m in measured], 1)
        if keeps_worst:
            curve, was_reached = _kept(curve, was_reached)
        curves.append(curve)
        reached.append(was_reached)
    curve = of_chosen(curves)
    zeros = of_chosen([torch.stack([s.zero for s in run.steps]).float().mean(0) for run in runs])
    return {
        "zero_gradient": zeros,
        "masked_gradient": torch.full_like(zeros, bool(runs[-1].steps[-1].rounded)),
        "objective_end": curve[:, -1],
        "objective_middle": of_chosen([run.steps[len(run.steps) // 2].value for run in runs]),
        "objective_last": of_chosen([run.steps[-1].value for run in runs]),
        "late_gain": late_gain(curve, of_chosen(reached) if can_be_reached else None),
    }, curve


def _kept(values: Tensor, reached: Tensor) -> tuple[Tensor, Tensor]:
    """Of the objective after every step that of the worst image so far; each (N, steps + 1)."""
    ever = reached.cummax(1).values
    of_lost = values.masked_fill(~reached, -torch.inf).cummax(1).values
    return torch.where(ever, of_lost, values.cummax(1).values), ever
