"""Attacked images as files hold them: on the levels, and inside the ball."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from entres.attacks import (
    L2,
    PGDE,
    QUICK,
    Attack,
    AttackResult,
    ClassifierVictim,
    SignNoise,
    Stored,
    StudentVictim,
)
from entres.models import EntropicStudent

VICTIM = ClassifierVictim(lambda x: x)


class Anywhere(Attack):
    """A random point of the ball, most of them far from any level."""

    condition = "anywhere"

    def perturb(self, victim, images, labels, generator, health):  # type: ignore[no-untyped-def]
        delta = self.norm.random(images, self.epsilon, generator)
        return AttackResult(self.project(images + delta, images))


def photos(number: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (number, 3, 32, 32), generator=generator).float() / 255


@pytest.mark.parametrize("epsilon_255", [0.5, 1.0, 2.0, 2.5, 8.0])
@pytest.mark.parametrize("norm", [None, L2()])
def test_it_is_on_the_levels_and_in_the_ball(norm: L2 | None, epsilon_255: float) -> None:
    images = photos()
    inner = Anywhere(epsilon_255, norm)
    free, stored = inner(VICTIM, images), Stored(inner)(VICTIM, images)
    levels = stored * 255
    assert (levels - levels.round()).abs().max() < 1e-3
    delta = (stored - images) * 255
    size = delta.abs().amax() if norm is None else delta.square().mean((1, 2, 3)).sqrt().amax()
    assert size <= epsilon_255 + 1e-3
    assert ((stored - free).abs() * 255).max() < 1 + 1e-3
    if norm is None:
        # The nearest of all levels that lie in the ball, found one by one.
        every = torch.arange(256.0)
        for value, clean, found in zip(
            free.flatten()[:500], images.flatten()[:500], levels.flatten()[:500], strict=True
        ):
            allowed = every[(every - clean * 255).abs() <= epsilon_255 + 1e-3]
            best = (allowed - value * 255).abs().min()
            assert abs(abs(found - value * 255) - best) < 1e-3


def test_it_begins_where_the_other_attack_begins(
    make_student: Callable[..., EntropicStudent],
) -> None:
    images, victim = photos(2), StudentVictim(make_student())
    ended = Stored(PGDE(8, steps=8))(victim, images)
    again = Stored(PGDE(8, steps=1)).starting_at(ended).attack(victim, images)
    bits = [victim.respond(victim.analyse(x), "round").bits for x in (images, ended, again)]
    assert (bits[1] > bits[0]).all()
    assert (bits[2] >= bits[1]).all()


def test_images_between_the_levels_leave_a_small_ball_by_half_a_level_at_most() -> None:
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    stored = Stored(Anywhere(0.2))(VICTIM, images)
    assert ((stored - images).abs() * 255).max() <= 0.5 + 1e-3
    stored = Stored(Anywhere(0.6))(VICTIM, images)
    assert ((stored - images).abs() * 255).max() <= 0.6 + 1e-3


def test_what_lies_on_the_levels_stays() -> None:
    images = photos()
    assert torch.equal(
        (Stored(SignNoise(3))(VICTIM, images) * 255).round(),
        (SignNoise(3)(VICTIM, images) * 255).round(),
    )


def test_jpeg_is_that_of_the_file() -> None:
    images = photos(2)
    stored, coded = Stored(SignNoise(3)), Stored(SignNoise(3), 60)
    before, after = stored(VICTIM, images), coded(VICTIM, images)
    for one, other in zip(before, after, strict=True):
        file = BytesIO()
        pixels = (one * 255).round().byte().permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(file, "JPEG", quality=60)
        expected = np.asarray(Image.open(file))
        assert np.array_equal((other * 255).round().byte().permute(1, 2, 0).numpy(), expected)
    assert (after - images).abs().max() > 3 / 255  # out of the ball, as is said
    assert coded.condition == "noise_jpeg60"
    with pytest.raises(ValueError, match="jpeg_quality must be from 1 to 95 or null, got 96"):
        Stored(SignNoise(3), 96)


def test_radius_and_preset_reach_the_attack_inside(
    make_student: Callable[..., EntropicStudent],
) -> None:
    attack = Stored(PGDE(8)).at(2).with_preset(QUICK)
    assert (attack.epsilon_255, attack.attack.epsilon_255) == (2, 2)
    assert attack.preset is attack.attack.preset is QUICK
    assert attack.condition == "pgd_e_8bit"
    images = photos(2)
    result = Stored(PGDE(8, 4)).run(StudentVictim(make_student()), images, health=True)
    assert result.curve is not None
    assert result.health["objective_end"].shape == (2,)
    assert ((result.images - images).abs() * 255).max() <= 8 + 1e-3
