"""The terms of the objectives."""

from __future__ import annotations

import math

import pytest
import torch

from entres.losses import feature_distillation, knowledge_distillation


def test_feature_distillation_is_the_published_sum_with_unit_weights() -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = ((2, 3, 4, 4), (2, 5, 2, 2))
    student = [torch.randn(s, generator=generator) for s in shapes]
    teacher = [torch.randn(s, generator=generator) for s in shapes]
    loss = feature_distillation(student, teacher, torch.ones(2))
    for i in range(2):
        expected = sum(((s[i] - t[i]) ** 2).sum() for s, t in zip(student, teacher, strict=True))
        torch.testing.assert_close(loss[i], expected)


def test_feature_distillation_weighs_each_point() -> None:
    student = [torch.ones(1, 4), torch.ones(1, 2)]
    teacher = [torch.zeros(1, 4), torch.zeros(1, 2)]
    assert feature_distillation(student, teacher, torch.tensor([0.5, 10.0])).tolist() == [22.0]


def test_feature_distillation_refuses_points_that_do_not_belong_together() -> None:
    one = [torch.zeros(1, 4)]
    with pytest.raises(ValueError, match="1 student features, 2 teacher features and 1 weights"):
        feature_distillation(one, one * 2, torch.ones(1))
    with pytest.raises(ValueError, match="2 weights"):
        feature_distillation(one, one, torch.ones(2))


def test_knowledge_distillation_from_oneself_is_half_the_cross_entropy() -> None:
    logits = torch.tensor([[2.0, 0.0, -1.0], [0.0, 0.0, 0.0]])
    loss = knowledge_distillation(logits, logits.clone(), torch.tensor([0, 2]))
    first = math.log(sum(math.exp(v - 2.0) for v in (2.0, 0.0, -1.0)))
    torch.testing.assert_close(loss, torch.tensor([first / 2, math.log(3) / 2]))


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_knowledge_distillation_adds_the_divergence_from_the_teacher(temperature: float) -> None:
    generator = torch.Generator().manual_seed(0)
    logits, teacher = (torch.randn(5, 7, generator=generator) for _ in range(2))
    labels = torch.arange(5)
    p = (teacher / temperature).softmax(1)
    q = (logits / temperature).softmax(1)
    divergence = (p * (p / q).log()).sum(1)
    cross_entropy = -logits.softmax(1)[torch.arange(5), labels].log()
    torch.testing.assert_close(
        knowledge_distillation(logits, teacher, labels, temperature),
        0.5 * cross_entropy + 0.5 * temperature**2 * divergence,
    )


def test_the_size_of_the_gradient_survives_the_temperature() -> None:
    generator = torch.Generator().manual_seed(0)
    teacher = torch.randn(64, 10, generator=generator)
    labels = torch.zeros(64, dtype=torch.long)
    norms = []
    for temperature in (8.0, 16.0):
        logits = torch.zeros(64, 10, requires_grad=True)
        soft = knowledge_distillation(logits, teacher, labels, temperature)
        hard = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
        (gradient,) = torch.autograd.grad((soft - 0.5 * hard).sum(), logits)
        norms.append(gradient.norm().item())
    assert norms[1] == pytest.approx(norms[0], rel=0.1)
