"""The gradient through a mask, against finite differences in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from entres.defenses import (
    BitsMask,
    Defense,
    LikelihoodMask,
    MaskedChambolle,
    MaskedTV,
    PublishedDenoising,
)


class SmoothStudent:
    """A student of which nothing is rounded, so that a difference is what a gradient says."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        options: dict[str, Any] = {"generator": generator, "dtype": torch.float64}
        self.filters = 3 * torch.randn(4, 3, 3, 3, **options)
        self.codec = self

    def normalize(self, images: Tensor) -> Tensor:
        return images

    def analyse(self, images: Tensor) -> Tensor:
        return torch.nn.functional.conv2d(images, self.filters, stride=2)

    def latents(self, latent: Tensor, quantization: str) -> tuple[Tensor, dict[str, Tensor]]:
        return latent, {"y": torch.sigmoid(latent)}


DEFENSES = {
    "masked_chambolle": MaskedChambolle(steps=8),
    "blurred first": MaskedChambolle(
        mask=LikelihoodMask(0.7, 1.0, 0.1, 0.1, "bilinear"), steps=8, isotropic=True
    ),
    "bits": MaskedChambolle(mask=BitsMask(), steps=8),
    "published": PublishedDenoising(steps=5),
}


@pytest.mark.parametrize("name", list(DEFENSES))
def test_it_is_that_of_finite_differences(name: str) -> None:
    defense: Defense = DEFENSES[name]
    student: Any = SmoothStudent()
    generator = torch.Generator().manual_seed(1)
    images = 0.2 + 0.6 * torch.rand(2, 3, 14, 14, generator=generator, dtype=torch.float64)
    weights = torch.randn(2, 3, 14, 14, generator=generator, dtype=torch.float64)

    def value(x: Tensor, mask_of: Tensor | None = None) -> Tensor:
        mask = None if mask_of is None else defense.mask.make(student, mask_of, "straight_through")
        return (defense.protect(student, x, "straight_through", mask).images * weights).sum()

    x = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(value(x), x)
    # The part that goes through the mask alone: what is denoised stays as it is.
    x = images.clone().requires_grad_()
    (through_mask,) = torch.autograd.grad(value(images, x), x)
    assert through_mask.abs().amax() > 0.02 * gradient.abs().amax()
    for _ in range(6):
        direction = torch.randn(images.shape, generator=generator, dtype=torch.float64)
        step = 1e-7 * direction
        whole = (value(images + step) - value(images - step)) / 2e-7
        part = (value(images, images + step) - value(images, images - step)) / 2e-7
        torch.testing.assert_close((gradient * direction).sum(), whole, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close((through_mask * direction).sum(), part, rtol=1e-5, atol=1e-6)


def test_where_the_iteration_is_made_of_signs_the_mask_is_still_right() -> None:
    # Its images' gradient is that of smooth signs on purpose; the mask multiplies what is exact.
    defense, student = MaskedTV(steps=1), SmoothStudent()
    generator = torch.Generator().manual_seed(1)
    images = 0.2 + 0.6 * torch.rand(1, 3, 14, 14, generator=generator, dtype=torch.float64)
    x = images.clone().requires_grad_()

    def value(mask_of: Tensor) -> Tensor:
        mask = defense.mask.make(student, mask_of, "straight_through")  # type: ignore[arg-type]
        return defense.denoise(images, mask).square().sum()

    (gradient,) = torch.autograd.grad(value(x), x)
    direction = torch.randn(images.shape, generator=generator, dtype=torch.float64)
    found = (value(images + 1e-6 * direction) - value(images - 1e-6 * direction)) / 2e-6
    torch.testing.assert_close((gradient * direction).sum(), found, rtol=1e-5, atol=1e-7)
