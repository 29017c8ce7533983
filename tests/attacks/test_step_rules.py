"""How far an attack goes: schedules, and steps that adapt, on objectives whose optimum is known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from entres.attacks import AbsoluteStep, AdaptiveStep, ConstantStep, CosineStep, StepRule
from entres.attacks.steps import checkpoints

EPSILON = 0.1


def test_step_sizes() -> None:
    cosine = [CosineStep(0.5)(step, 20, 0.04) for step in range(20)]
    assert cosine[0] == pytest.approx(0.02)
    assert cosine == sorted(cosine, reverse=True)
    assert cosine[10] == pytest.approx(0.01)
    assert cosine[-1] > 0
    assert ConstantStep(0.1)(7, 20, 0.04) == pytest.approx(0.004)
    assert AbsoluteStep(0.1)(7, 20, 0.04) == 0.1


def test_checkpoints_come_ever_closer() -> None:
    # The table in section 3 of the paper, for a hundred steps.
    assert sorted(checkpoints(100)) == [22, 41, 57, 70, 80, 87, 93, 99]
    assert sorted(checkpoints(1)) == [1]


def climb(rule: StepRule, optimum: Tensor, steps: int) -> Tensor:
    """How far the best image seen is from the top of a narrow ridge inside the ball, shape (N,)."""
    start = torch.full_like(optimum, 0.5)
    steepness = torch.logspace(0, 2, optimum[0].numel()).view_as(optimum[0])

    def objective(x: Tensor) -> Tensor:
        return -(steepness * (x - optimum).square()).flatten(1).sum(1)

    def project(x: Tensor) -> Tensor:
        return start + (x - start).clamp(-EPSILON, EPSILON)

    walk = rule.walk(EPSILON, steps, project)
    x = start
    best = objective(x)
    for _ in range(steps):
        direction = (-(x - optimum) * steepness).sign()
        x = walk.move(x, direction, objective(x))
        assert ((x - start).abs() <= EPSILON + 1e-6).all()
        best = torch.maximum(best, objective(x))
    return -best


@pytest.fixture
def optimum() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return 0.5 + EPSILON * (2 * torch.rand(5, 3, 4, 4, generator=generator) - 1)


def test_an_adaptive_walk_finds_the_top(optimum: Tensor) -> None:
    adaptive = climb(AdaptiveStep(), optimum, 100)
    constant = climb(ConstantStep(0.1), optimum, 100)
    assert (adaptive < 0.3 * constant).all()
    assert climb(AdaptiveStep(), optimum, 400).mean() < 0.5 * adaptive.mean()


def test_every_image_goes_its_own_way(optimum: Tensor) -> None:
    together = climb(AdaptiveStep(), optimum, 50)
    alone = torch.cat([climb(AdaptiveStep(), one[None], 50) for one in optimum])
    torch.testing.assert_close(together, alone)
