"""Total variation, its denoisers, and independent references for each."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.restoration import denoise_tv_chambolle
from torch import Tensor
from torch.nn import functional as F
from torchmetrics.functional.image import image_gradients
from torchmetrics.functional.image import total_variation as reference

from entres.defenses import Defense, Everywhere, MaskedChambolle, MaskedTV, PublishedDenoising
from entres.functional import (
    bit_rate_map,
    bits_from_likelihoods,
    differences,
    differences_transposed,
    total_variation,
    total_variation_map,
    total_variation_subgradient,
)

EDGE = 24


@pytest.fixture
def images() -> Tensor:
    return torch.rand(3, 3, EDGE, EDGE + 5, generator=torch.Generator().manual_seed(0))


def test_total_variation_is_torchmetrics(images: Tensor) -> None:
    torch.testing.assert_close(total_variation(images), reference(images, reduction="none"))


def test_subgradient_is_the_gradient_away_from_kinks(images: Tensor) -> None:
    x = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(total_variation(x).sum(), x)
    torch.testing.assert_close(total_variation_subgradient(images), gradient)


def test_it_is_a_subgradient_at_kinks_too(images: Tensor) -> None:
    flat = (images * 3).round() / 3  # many neighbours are equal
    other = images.flip(-1)
    linear = (total_variation_subgradient(flat) * (other - flat)).flatten(1).sum(1)
    assert (total_variation(other) >= total_variation(flat) + linear - 1e-3).all()


def test_transposed_differences_are_the_adjoint(images: Tensor) -> None:
    down, right = differences(images.double())
    p, q = torch.rand_like(down), torch.rand_like(right)
    left = (down * p).sum() + (right * q).sum()
    torch.testing.assert_close(left, (images.double() * differences_transposed(p, q)).sum())


def test_map_sums_the_variation_inside_each_patch(images: Tensor) -> None:
    found = total_variation_map(images, 4)
    assert found.shape == (3, 6, 7)
    for row, column in ((0, 0), (5, 6), (2, 3)):
        patch = images[..., 4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
        torch.testing.assert_close(found[:, row, column], reference(patch, reduction="none"))
    with pytest.raises(ValueError, match="patch must be"):
        total_variation_map(images, EDGE + 1)


def test_bit_rate_map_sums_to_the_rate() -> None:
    likelihoods = torch.rand(2, 5, 7, 6).clamp(min=0.01)
    total = bit_rate_map(likelihoods).flatten(1).sum(1)
    torch.testing.assert_close(total, bits_from_likelihoods([likelihoods]))


def test_isotropic_minimum_is_scikit_images(images: Tensor) -> None:
    weight = 0.1
    ours = MaskedChambolle(weight, steps=600, isotropic=True)(images.double())
    for image, expected in zip(images.double(), ours, strict=True):
        theirs = denoise_tv_chambolle(
            image.permute(1, 2, 0).numpy(), weight, eps=1e-12, max_num_iter=4000, channel_axis=-1
        )
        # Theirs converges slowly: its own last steps are of this size.
        assert np.abs(theirs.transpose(2, 0, 1) - expected.numpy()).max() < 1e-3


def objective(x: Tensor, received: Tensor, strength: float) -> Tensor:
    return 0.5 * (x - received).square().flatten(1).sum(1) + strength * total_variation(x)


def test_anisotropic_minimum_has_no_duality_gap(images: Tensor) -> None:
    received, strength = images.double(), 0.1
    defense = MaskedChambolle(strength, steps=1500)
    down, right = defense.dual(received)
    assert max(down.abs().max(), right.abs().max()) <= strength
    moved = differences_transposed(down, right)
    primal = objective(received - moved, received, strength)
    dual = (moved * received).flatten(1).sum(1) - 0.5 * moved.square().flatten(1).sum(1)
    # The minimum lies between the two, whoever found them.
    assert (primal >= dual - 1e-9).all()
    assert ((primal - dual) / primal < 1e-4).all()


def test_isotropic_minimum_with_a_mask_has_no_duality_gap(images: Tensor) -> None:
    received, strength = images.double(), 0.1
    mask = torch.rand(len(images), 1, *images.shape[2:], dtype=torch.float64)
    mask[..., 3:6, 3:6] = 0
    defense = MaskedChambolle(strength, Everywhere(), steps=3000, isotropic=True)
    down, right = defense.dual(received, mask)
    moved = differences_transposed(down, right)
    found = received - moved
    # The weight of a pixel is the least mask of it and of those that its edges lead to.
    weight = mask.clone()
    weight[..., :-1, :] = weight[..., :-1, :].minimum(mask[..., 1:, :])
    weight[..., :, :-1] = weight[..., :, :-1].minimum(mask[..., :, 1:])
    lengths = []
    for vertical, horizontal in (differences(found), (down, right)):
        ends = F.pad(vertical, (0, 0, 0, 1)), F.pad(horizontal, (0, 1))
        lengths.append((ends[0].square() + ends[1].square()).sqrt())
    assert (lengths[1] <= strength * weight + 1e-12).all()
    variation = strength * (weight * lengths[0]).flatten(1).sum(1)
    primal = 0.5 * moved.square().flatten(1).sum(1) + variation
    dual = (moved * received).flatten(1).sum(1) - 0.5 * moved.square().flatten(1).sum(1)
    assert (primal >= dual - 1e-9).all()
    assert ((primal - dual) / primal < 1e-4).all()
    assert torch.equal(found[..., 4, 4], received[..., 4, 4])


def test_few_steps_come_close_and_descent_ends_near(images: Tensor) -> None:
    strength = 0.02
    best = objective(MaskedChambolle(strength, steps=1000)(images), images, strength)
    for defense in (MaskedChambolle(strength), MaskedTV(strength)):
        reached = objective(defense(images), images, strength)
        assert (reached < 1.03 * best).all()
        assert (reached < objective(images, images, strength)).all()


def published(x: Tensor, mask: Tensor, steps: int, regularization: float, step: float) -> Tensor:
    """The published iteration, for one image: x and x_new are one memory."""
    new = x
    for _ in range(steps):
        first, second = image_gradients(new)
        change = (x - new) + regularization * (first + second)
        new += step * change * mask
    return new


@pytest.mark.parametrize("steps", [1, 100])
def test_published_arithmetic_bit_for_bit(steps: int, images: Tensor) -> None:
    masks = torch.rand(3, 1, EDGE, EDGE + 5, generator=torch.Generator().manual_seed(1))
    before = images.clone()
    ours = PublishedDenoising(steps=steps)(images, masks)
    assert torch.equal(images, before)
    for image, mask, found in zip(images, masks, ours, strict=True):
        expected = published(image[None].clone(), mask[0], steps, 0.1, 0.15)
        assert torch.equal(found, expected[0])


def test_the_published_effect_is_a_shift(images: Tensor) -> None:
    # A smooth picture, so that a shift can be told from a blur.
    smooth = MaskedChambolle(0.5)(images)
    moved = PublishedDenoising()(smooth)
    rolled = torch.roll(moved, (1, 1), (-2, -1))
    inner = (..., slice(2, -2), slice(2, -2))
    assert (rolled - smooth)[inner].square().mean() < 0.8 * (moved - smooth)[inner].square().mean()


@pytest.mark.parametrize("defense", [MaskedTV(0.02), MaskedChambolle(0.02)], ids=lambda d: d.name)
def test_mask_decides_where(defense: Defense, images: Tensor) -> None:
    mask = torch.zeros(3, 1, EDGE, EDGE + 5)
    mask[..., 12:, :] = 1
    found = defense(images, mask)
    assert torch.equal(found[..., :12, :], images[..., :12, :])
    assert (found != images)[..., 13:, :].float().mean() > 0.5
    torch.testing.assert_close(defense(images, torch.ones_like(mask)), defense(images))


def test_the_mask_is_a_step_size_in_one_and_a_weight_in_the_other(images: Tensor) -> None:
    third = torch.full((3, 1, EDGE, EDGE + 5), 1 / 3)
    slow, fast = MaskedTV(0.02)(images, third), MaskedTV(0.02)(images)
    assert (slow - fast).square().mean() < 0.02 * (fast - images).square().mean()
    weak = MaskedChambolle(0.03)(images, third)
    torch.testing.assert_close(weak, MaskedChambolle(0.01)(images))


@pytest.mark.parametrize(
    "defense", [MaskedTV(), MaskedChambolle(), PublishedDenoising()], ids=lambda d: d.name
)
def test_memory_used_again_changes_nothing(defense: Defense, images: Tensor) -> None:
    masks = torch.rand(3, 1, EDGE, EDGE + 5, generator=torch.Generator().manual_seed(1))
    for mask in (None, masks):
        slow = defense(images.clone().requires_grad_(), mask).detach()
        if isinstance(defense, MaskedChambolle):  # its multiplications and additions are fused
            torch.testing.assert_close(defense(images, mask), slow, rtol=0, atol=1e-6)
        else:
            assert torch.equal(defense(images, mask), slow)


def test_the_gradient_of_the_iteration_is_no_identity(images: Tensor) -> None:
    direction = torch.randn(images.shape, generator=torch.Generator().manual_seed(2))
    for defense in (MaskedTV(0.05), MaskedChambolle(0.05, steps=60)):
        x = images.clone().requires_grad_()
        (gradient,) = torch.autograd.grad((defense(x) * direction).sum(), x)
        # Denoising takes noise out of an image, and so its adjoint out of a gradient.
        assert gradient.norm() < 0.9 * direction.norm()


def test_chambolles_gradient_is_that_of_finite_differences(images: Tensor) -> None:
    defense, x = MaskedChambolle(0.05, steps=20), images[:1].double().requires_grad_()
    direction = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(3))
    (gradient,) = torch.autograd.grad((defense(x) * direction).sum(), x)
    move = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(4))
    h = 1e-7
    ends = [(defense(x.detach() + s * h * move) * direction).sum() for s in (1, -1)]
    torch.testing.assert_close(
        (ends[0] - ends[1]) / (2 * h), (gradient * move).sum(), rtol=1e-3, atol=1e-4
    )
