"""Attacks against what is known to be right: every corner tried, and another package."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from entres.attacks import (
    PGDE,
    ClassifierVictim,
    ConstantStep,
    CosineStep,
    LogitsModule,
    PGDAcc,
    Preset,
    Relaxation,
    StudentVictim,
)
from entres.functional import bits_from_likelihoods
from entres.models import EntropicStudent, NoisePerImage

PIXELS = 10


class FewPixels(PGDE):
    """PGD-E that may change ten values of each image only."""

    def transform(self, gradient: Tensor) -> Tensor:
        return gradient * self.mask

    mask: Tensor


@pytest.mark.parametrize("codec", ["fp", "mshp"])
def test_pgd_e_finds_the_best_corner_of_the_ball(
    codec: str, make_student: Callable[..., EntropicStudent]
) -> None:
    # 2 ** 10 corners can be tried one by one.
    student = make_student(codec)
    with torch.no_grad():
        student.codec.g_a[-1].weight.mul_(4)
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 0.8 + 0.1
    epsilon_255 = 16.0
    places = torch.randperm(3 * 12 * 12, generator=torch.Generator().manual_seed(1))[:PIXELS]
    channel, row, column = places // 144, 10 + places % 144 // 12, 10 + places % 12
    mask = torch.zeros(3, 32, 32)
    mask[channel, row, column] = 1

    @torch.no_grad()
    def expected_bits(images: Tensor) -> Tensor:
        """The rate over the same draws of the noise for all images."""
        y = student.codec.analyse(student.normalize(images))
        bits = torch.zeros(len(images))
        for draw in range(32):
            noise = NoisePerImage(draw, torch.zeros(len(images)))
            _, likelihoods = student.codec.latents(y, "noise", noise)
            bits += bits_from_likelihoods(likelihoods.values()) / 32
        return bits

    number = torch.arange(2**PIXELS)[:, None]
    signs = (number & 2 ** torch.arange(PIXELS) > 0).float() * 2 - 1
    corners = image.repeat(2**PIXELS, 1, 1, 1)
    corners[:, channel, row, column] += signs * epsilon_255 / 255
    bits = expected_bits(corners)

    # A rounded rate would find its own best: what is kept is the last, what rises the expectation.
    preset = Preset(rate=Relaxation(samples=4), rate_step_rule=CosineStep(), keep="last")
    attack = FewPixels(epsilon_255, steps=20, preset=preset)
    attack.mask = mask
    attacked = attack(StudentVictim(student), image)
    assert ((attacked - image).abs() * (1 - mask)).max() == 0
    found, clean = expected_bits(attacked), expected_bits(image)
    assert (found - clean) / (bits.max() - clean) > 0.95
    assert (bits < found).float().mean() > 0.99


@pytest.mark.foolbox
def test_pgd_acc_equals_foolbox(make_student: Callable[..., EntropicStudent]) -> None:
    foolbox = pytest.importorskip("foolbox")
    student = make_student("mshp")
    model = LogitsModule(student)
    images = torch.rand(16, 3, 48, 48, generator=torch.Generator().manual_seed(2))
    labels = model(images).argmax(1)
    epsilon_255, steps, size = 2.0, 10, 0.25
    preset = Preset(accuracy_step_rule=ConstantStep(size), keep="last")
    ours = PGDAcc(epsilon_255, steps=steps, preset=preset)
    attack = foolbox.attacks.LinfProjectedGradientDescentAttack(
        rel_stepsize=size, steps=steps, random_start=False
    )
    theirs, _, _ = attack(
        foolbox.PyTorchModel(model, bounds=(0, 1)), images, labels, epsilons=epsilon_255 / 255
    )
    for victim in (StudentVictim(student), ClassifierVictim(model)):
        attacked = ours(victim, images, labels)
        lost = [(model(x).argmax(1) != labels).float().mean().item() for x in (attacked, theirs)]
        assert lost[0] > 0.2
        assert lost[0] == pytest.approx(lost[1], abs=1 / 16)
        assert ((attacked - theirs).abs() < 1e-5).float().mean() > 0.9
