"""Objectives against formulas written down plainly."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from entres.attacks import ClassifierVictim, Margin, PGDAcc, Response, StudentVictim
from entres.models import EntropicStudent


def of_logits(logits: Tensor) -> Response:
    return Response({}, lambda: logits)


def plain_margin(logits: list[float], label: int) -> float:
    """Eq. 6 of Croce and Hein (2020), one image."""
    others = [z for number, z in enumerate(logits) if number != label]
    ordered = sorted(logits, reverse=True)
    return -(logits[label] - max(others)) / (ordered[0] - ordered[2])


def test_the_margin_is_the_published_formula() -> None:
    logits = torch.randn(50, 6, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(50) % 6
    found = Margin()(of_logits(logits), labels, None)
    expected = [plain_margin(z, y) for z, y in zip(logits.tolist(), labels.tolist(), strict=True)]
    torch.testing.assert_close(found, torch.tensor(expected))
    assert torch.equal(found > 0, logits.argmax(1) != labels)
    assert torch.equal(Margin().reached(of_logits(logits), labels), logits.argmax(1) != labels)
    # Neither shift nor scale changes it.
    other = Margin()(of_logits(100 * logits + 7), labels, None)
    torch.testing.assert_close(other, found, rtol=1e-3, atol=1e-3)


def test_the_margin_of_equal_logits_is_finite() -> None:
    assert torch.equal(
        Margin()(of_logits(torch.ones(2, 4)), torch.tensor([0, 3]), None), torch.zeros(2)
    )


def test_the_margin_wants_three_classes() -> None:
    attack = PGDAcc(objective=Margin())
    victim = ClassifierVictim(lambda x: x.mean((2, 3))[:, :2])
    with pytest.raises(ValueError, match=r"Margin compares three classes, got logits of 2: take"):
        attack(victim, torch.rand(1, 3, 8, 8), torch.tensor([0]))


def test_it_finds_a_gradient_where_the_cross_entropy_has_none() -> None:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 5))

    def sure(x: Tensor) -> Tensor:
        return 1e5 * network(x)

    images = torch.rand(8, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    labels = sure(images).argmax(1)
    lost = {
        name: (sure(attack(ClassifierVictim(sure), images, labels)).argmax(1) != labels).sum()
        for name, attack in {
            "cross-entropy": PGDAcc(16, steps=5),
            "margin": PGDAcc(16, steps=5, objective=Margin()),
        }.items()
    }
    assert lost["margin"] > lost["cross-entropy"]
    assert lost["margin"] >= 4


def test_it_attacks_a_student(make_student: Callable[..., EntropicStudent]) -> None:
    student = make_student()
    images = torch.rand(4, 3, 40, 40, generator=torch.Generator().manual_seed(1))
    labels = student(images).logits.argmax(1)
    attack = PGDAcc(8, steps=8, objective=Margin())
    health = attack.run(StudentVictim(student), images, labels, health=True).health
    assert (health["objective_end"] > health["objective_noise"]).all()
