"""How far an attack goes: schedules, and steps that adapt, on objectives whose optimum is known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from entres.attacks import (
    AbsoluteStep,
    AdaptiveStep,
    ConstantStep,
    CosineStep,
    MomentumStep,
    StepRule,
)
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
        gradient = -(x - optimum) * steepness
        x = walk.move(x, walk.follow(gradient).sign(), objective(x))
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


def test_a_walk_with_momentum_follows_what_noisy_gradients_have_in_common() -> None:
    generator = torch.Generator().manual_seed(0)
    slope = torch.randn(5, 3, 8, 8, generator=generator)
    noise = 3 * torch.randn(40, *slope.shape, generator=generator)

    def gained(rule: StepRule) -> Tensor:
        """Share of the way to the corner that the slope points to, shape (N,)."""
        walk = rule.walk(EPSILON, len(noise), lambda x: x.clamp(-EPSILON, EPSILON))
        x = torch.zeros_like(slope)
        for at_step in noise:
            x = walk.move(x, walk.follow(slope + at_step).sign(), None)
        return (slope * x).flatten(1).sum(1) / (EPSILON * slope.abs().flatten(1).sum(1))

    assert (gained(MomentumStep()) > gained(CosineStep())).all()


def test_without_momentum_it_is_the_schedule_alone(optimum: Tensor) -> None:
    torch.testing.assert_close(
        climb(MomentumStep(0.3, 0), optimum, 20), climb(CosineStep(0.3), optimum, 20)
    )


def test_a_gradient_counts_by_its_direction_and_fades() -> None:
    walk = MomentumStep(momentum=0.5).walk(EPSILON, 4, lambda x: x)
    gradient = torch.tensor([1.0, -3.0, 2.0]).view(1, 3, 1, 1).repeat(2, 1, 1, 1)
    gradient[1] *= 1000  # a steeper objective is not followed longer
    first = walk.follow(gradient).clone()
    torch.testing.assert_close(first[0], first[1])
    torch.testing.assert_close(first.abs().mean((1, 2, 3)), torch.ones(2))
    torch.testing.assert_close(walk.follow(torch.zeros_like(gradient)), first / 2)
    walk.keep(torch.tensor([1]))
    torch.testing.assert_close(walk.follow(gradient[1:]), 1.25 * first[1:])


@pytest.mark.parametrize("momentum", [-0.1, 1.0])
def test_a_momentum_that_never_fades_is_refused(momentum: float) -> None:
    with pytest.raises(ValueError, match="momentum must be in"):
        MomentumStep(momentum=momentum)


def test_a_walk_that_goes_backwards_is_refused() -> None:
    with pytest.raises(ValueError, match="peak must be > 0, got -1"):
        MomentumStep(peak=-1)


@pytest.mark.parametrize("rule", [AdaptiveStep(), MomentumStep()])
def test_every_image_goes_its_own_way(rule: StepRule, optimum: Tensor) -> None:
    together = climb(rule, optimum, 50)
    alone = torch.cat([climb(rule, one[None], 50) for one in optimum])
    torch.testing.assert_close(together, alone)
