"""The smallest radius over a budget: against one that is known, and on real streams."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from entres.attacks import (
    PGDE,
    QUICK,
    Attack,
    AttackResult,
    ClassifierVictim,
    SignNoise,
    SmallestEpsilon,
    Stored,
    StudentVictim,
    StudentVictims,
)
from entres.models import EntropicStudent, NoisePerImage

WHOLE = 16.0
BUDGET = 1.5
SLOPES = torch.tensor([300.0, 47.0, 41.0, 33.1, 20.0, 1000.0])
"""Bytes of an image for each 1/255 that its values moved."""
CLEAN = torch.tensor([1000.0, 1000.0, 900.0, 1010.0, 1000.0, 1537.0])
"""Of 1536 that the budget is: the last is over it by itself, the one before it never."""


class Linear(ClassifierVictim):
    """Streams that grow with the distance from grey, each image at its own pace."""

    def __init__(self, slopes: Tensor, clean: Tensor) -> None:
        super().__init__(lambda x: x)
        self.slopes, self.clean = slopes, clean

    def stream_bytes(self, images: Tensor) -> Tensor:
        who = (images[:, 0, 0, 0] * 255).round().long()  # a value that says which image it is
        moved = (images[:, 1:] - 0.5).abs().mean((1, 2, 3)) * 255
        return (self.clean[who] + self.slopes[who] * moved).long()


class Everywhere(SignNoise):
    """Random signs, but for the channel that says which image it is."""

    def perturb(self, victim, images, labels, generator, health):  # type: ignore[no-untyped-def]
        result = super().perturb(victim, images, labels, generator, health)
        result.images[:, 0] = images[:, 0]
        if health:
            result.health = {"radius": torch.full((len(images),), self.epsilon_255)}
        return result


def numbered(count: int) -> Tensor:
    images = torch.full((count, 3, 4, 4), 0.5)
    images[:, 0] = torch.arange(count)[:, None, None] / 255
    return images


def test_it_finds_the_radius_that_is_known() -> None:
    victim, images = Linear(SLOPES, CLEAN), numbered(6)
    halvings = 9
    result = SmallestEpsilon(Everywhere(WHOLE), BUDGET, halvings).run(victim, images, health=True)
    found = result.health["smallest_epsilon_255"]
    # Over it by a byte: from where it is 1537 bytes long.
    known = ((1537 - CLEAN) / SLOPES).where(CLEAN <= 1536, torch.zeros(6))
    known[4] = torch.inf
    assert (known[:4] > 0).all()
    assert (found[:4] >= known[:4] - 1e-3).all()
    assert (found[:4] <= known[:4] + WHOLE / 2**halvings + 1e-3).all()
    assert found[4:].tolist() == [torch.inf, 0.0]
    # The images are those of that radius; of what passes nowhere, of the whole one.
    moved = (result.images - images).abs().amax((1, 2, 3)) * 255
    torch.testing.assert_close(moved, found.nan_to_num(posinf=WHOLE).float())
    torch.testing.assert_close(result.health["radius"][:4], found[:4].float())
    over = victim.stream_bytes(result.images) > BUDGET * 1024
    assert over.tolist() == [True] * 4 + [False, True]


def test_an_image_is_attacked_alike_in_any_batch() -> None:
    images = numbered(6)
    victim = Linear(SLOPES, CLEAN)
    attack = SmallestEpsilon(Everywhere(WHOLE), BUDGET, 4)

    def found(of: slice) -> Tensor:
        part = images[of]
        return attack(victim, part, generator=NoisePerImage(3, torch.arange(6)[of]))

    together = found(slice(0, 6))
    apart = torch.cat([found(slice(0, 2)), found(slice(2, 5)), found(slice(5, 6))])
    assert torch.equal(together, apart)


@pytest.mark.parametrize("codec", ["fp", "mshp"])
def test_every_image_is_just_over_the_budget_by_real_streams(
    codec: str, make_student: Callable[..., EntropicStudent]
) -> None:
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(4, 3, 5, 5, generator=generator) * 1.2 - 0.1
    images = torch.nn.functional.interpolate(coarse, size=40, mode="bicubic").clamp(0, 1)
    student = make_student(codec)
    with torch.no_grad():
        # A fresh factorized distribution is so wide that few bytes change.
        student.codec.g_a[-1].weight.mul_(40 if codec == "fp" else 4)
    victim = StudentVictim(student)

    def sizes(x: Tensor) -> Tensor:
        return torch.tensor([len(stream) for stream in student.encode(x)])

    whole = PGDE(WHOLE, steps=10)
    clean, most = sizes(images), sizes(whole(victim, images))
    # One image is over it by itself, or none.
    budget = round(float((clean.double().mean() + most.double().mean()) / 2 / 1024), 4)
    result = SmallestEpsilon(whole, budget, 4).run(victim, images, health=True)
    found = result.health["smallest_epsilon_255"]
    assert ((found > 0) & (found < torch.inf)).any()
    size = sizes(result.images)
    assert ((size > budget * 1024) == (found < torch.inf)).all()
    assert (size <= most.maximum(clean)).all()
    moved = (result.images - images).abs().amax((1, 2, 3)) * 255
    assert (moved <= found.clamp(max=WHOLE) + 1e-3).all()
    steps = found[(found > 0) & (found < torch.inf)] / (WHOLE / 2**4)
    torch.testing.assert_close(steps, steps.round())
    assert result.curve is None
    # The attack by itself, at the radius below, does not pass: the search missed nothing.
    for image in ((found > 0) & (found < torch.inf)).nonzero()[:, 0].tolist():
        below = float(found[image]) - WHOLE / 2**4
        if below:
            one = images[image : image + 1]
            assert sizes(PGDE(below, steps=10)(victim, one)) <= budget * 1024


class OnlyWhole(Everywhere):
    """Finds nothing at a smaller radius."""

    def perturb(self, victim, images, labels, generator, health):  # type: ignore[no-untyped-def]
        result = super().perturb(victim, images, labels, generator, health)
        return result if self.epsilon_255 == WHOLE else replace(result, images=images.clone())


class Late(Everywhere):
    """Finds nothing the first three times, and cannot begin where another one has ended."""

    calls: ClassVar[list[float]] = []

    def perturb(self, victim, images, labels, generator, health):  # type: ignore[no-untyped-def]
        self.calls.append(self.epsilon_255)
        moved = images.clone()
        if self.epsilon_255 == WHOLE or len(self.calls) > 4:
            moved[:, 1:] += self.epsilon
        return AttackResult(moved)

    def project(self, attacked: Tensor, images: Tensor) -> Tensor:
        return images


@pytest.mark.parametrize("attack", [OnlyWhole(WHOLE), Late(WHOLE)])
def test_what_passes_as_it_is_is_kept_and_what_failed_is_tried_again(attack: Attack) -> None:
    Late.calls.clear()
    victim, images = Linear(SLOPES, CLEAN), numbered(1)
    result = SmallestEpsilon(attack, BUDGET, 5).run(victim, images, health=True)
    known = float((1537 - CLEAN[0]) / SLOPES[0])
    found = result.health["smallest_epsilon_255"].item()
    assert known <= found <= known + WHOLE / 2**5


def test_it_is_the_attack_that_it_is_made_of() -> None:
    attack = SmallestEpsilon(Stored(PGDE(8.0, steps=3)), 5.1)
    assert attack.condition == "pgd_e_8bit_over_5.1kib"
    assert attack.at(4.0).attack.epsilon_255 == attack.at(4.0).epsilon_255 == 4.0
    assert attack.at(4.0).halvings == attack.halvings
    assert attack.with_preset(QUICK).preset == QUICK == attack.with_preset(QUICK).attack.preset
    assert attack.asked_steps == 3


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"budget_kib": 0.0}, "budget_kib must be > 0, got 0"),
        ({"budget_kib": float("nan")}, "budget_kib must be > 0, got nan"),
        ({"budget_kib": 5.1234567}, "budget_kib has six digits at most, got 5.1234567"),
        ({"budget_kib": 1.0, "halvings": 0}, "halvings must be >= 1, got 0"),
    ],
)
def test_what_cannot_be_is_a_sentence(arguments: dict[str, float], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        SmallestEpsilon(PGDE(8.0), **arguments)  # type: ignore[arg-type]


def test_what_goes_just_far_enough_is_not_stored_behind_it() -> None:
    with pytest.raises(ValueError, match="put the stored attack into SmallestEpsilon"):
        Stored(SmallestEpsilon(PGDE(8.0), 6.0))


def test_who_makes_no_streams_is_a_sentence(make_student: Callable[..., EntropicStudent]) -> None:
    several = StudentVictims([make_student("fp"), make_student("mshp")])
    for victim in (ClassifierVictim(lambda x: x), several):
        with pytest.raises(ValueError, match="attack one entropic student"):
            SmallestEpsilon(PGDE(8.0), 6.0)(victim, torch.rand(1, 3, 32, 32))
