"""Noise per image: sound, and the same in any batch and on any device."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from entres.models import NoisePerImage
from entres.models.randomness import splitmix64, uniform

MASK = (1 << 64) - 1
SHAPE = (3, 40, 40)
LEAST_P = 1e-3
"""Below it luck is no excuse; the noise is the same in every run."""


def sequential(seed: int, count: int) -> list[int]:
    """SplitMix64 as it is published: one state that runs, in integers without end."""
    found = []
    for _ in range(count):
        seed = (seed + 0x9E3779B97F4A7C15) & MASK
        word = ((seed ^ (seed >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & MASK
        found.append(word ^ (word >> 31))
    return found


def draws(images: int, times: int, seed: int = 0) -> Tensor:
    """Shape (times, images, numbers of an image)."""
    noise = NoisePerImage(seed, torch.arange(images))
    like = torch.empty(images, *SHAPE)
    return torch.stack([uniform(like, noise).flatten(1) for _ in range(times)])


def test_the_words_are_those_of_splitmix64() -> None:
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert sequential(1234567, 3) == published
    seeds = [1234567, 0, 2**63 - 1, -1, -(2**63)]
    words = splitmix64(torch.tensor(seeds)[:, None], torch.arange(1, 8))
    for seed, row in zip(seeds, words.tolist(), strict=True):
        assert [word & MASK for word in row] == sequential(seed & MASK, 7)
    assert torch.equal(splitmix64(torch.tensor(seeds), 7), words[:, 6])


def test_a_number_is_half_a_word_of_its_image_draw_and_place() -> None:
    noise = NoisePerImage(5, torch.tensor([9, 2]))
    like = torch.empty(2, 1, 1, 5)
    found = [noise.uniform(like).flatten(1) for _ in range(2)][1]
    for index, row in zip((9, 2), found.tolist(), strict=True):
        key = sequential(sequential(5, 1)[0], index + 1)[index]
        start = sequential(key, 2)[1]
        halves = [half for word in sequential(start, 3) for half in (word & 0xFFFFFFFF, word >> 32)]
        assert row == [(half >> 8) / 2**24 for half in halves[:5]]


def test_it_is_uniform() -> None:
    found = draws(64, 4).numpy()
    assert found.min() >= 0
    assert found.max() < 1
    everything = found.ravel()
    assert stats.kstest(everything, "uniform").pvalue > LEAST_P
    counts = np.bincount((everything * 1024).astype(int), minlength=1024)
    assert LEAST_P < stats.chisquare(counts).pvalue < 1 - LEAST_P
    # Each image by itself: their tests have a uniform distribution, too.
    each = [stats.kstest(image, "uniform").pvalue for image in found[0]]
    assert stats.kstest(each, "uniform").pvalue > LEAST_P
    # To the last of the 24 bits.
    bits = (everything * 2**24).astype(int)[:, None] >> np.arange(24) & 1
    z = (bits.mean(0) - 0.5) * 2 * np.sqrt(len(bits))
    assert np.abs(z).max() < 4


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((slice(None), slice(0, 63)), (slice(None), slice(1, 64))),  # neighbouring images
        ((slice(0, 3),), (slice(1, 4),)),  # one draw and the next
        ((..., slice(0, -1)), (..., slice(1, None))),  # neighbouring places, two of a word
        ((..., slice(0, -2, 2)), (..., slice(2, None, 2))),  # words
        ((slice(0, 3), slice(1, 64)), (slice(1, 4), slice(0, 63))),  # both at once
    ],
)
def test_what_differs_is_independent(left: tuple[slice, ...], right: tuple[slice, ...]) -> None:
    found = draws(64, 4).numpy()
    a, b = found[left].ravel(), found[right].ravel()
    cells = (a * 32).astype(int) * 32 + (b * 32).astype(int)
    counts = np.bincount(cells, minlength=1024)
    assert LEAST_P < stats.chisquare(counts).pvalue < 1 - LEAST_P
    assert abs(np.corrcoef(a, b)[0, 1]) * np.sqrt(len(a)) < 4


def test_seeds_and_parts_are_as_different_as_images() -> None:
    noise = NoisePerImage(0, torch.arange(64))
    like = torch.empty(64, *SHAPE)
    places = torch.arange(64)
    ways = [noise.of(places, 0), noise.of(places, 1), noise, NoisePerImage(1, places)]
    found = torch.stack([uniform(like, way) for way in ways]).flatten(1)
    correlations = torch.corrcoef(found) - torch.eye(4)
    assert correlations.abs().max() * found.shape[1] ** 0.5 < 4
    # A part is the same, whatever was drawn before.
    assert torch.equal(uniform(like, noise.of(places, 1)).flatten(), found[1])


def test_an_image_has_the_same_noise_in_any_batch() -> None:
    like = torch.empty(6, 4, 9, 7)
    whole, some = NoisePerImage(3, torch.arange(6)), NoisePerImage(3, torch.tensor([5, 1]))
    for _ in range(3):
        expected = uniform(like, whole)
        assert torch.equal(uniform(like[:2], some), expected[[5, 1]])
    # Nor does the memory layout or the part of an attack matter.
    flat = NoisePerImage(3, torch.arange(6))
    other = like.contiguous(memory_format=torch.channels_last)
    assert torch.equal(uniform(other, flat), uniform(like, NoisePerImage(3, torch.arange(6))))
    chosen = torch.tensor([4, 0])
    assert torch.equal(
        uniform(like[:2], whole.of(chosen, 2)),
        uniform(like, whole.of(torch.arange(6), 2))[chosen],
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_in_other_types_it_stays_below_one(dtype: torch.dtype) -> None:
    noise = uniform(torch.empty(8, *SHAPE, dtype=dtype), NoisePerImage(0, torch.arange(8)))
    assert noise.dtype == dtype
    assert 0 <= noise.min() < 0.01
    assert 0.99 < noise.max() < 1
    assert abs(noise.double().mean() - 0.5) < 0.01


def test_noise_of_other_images_is_refused() -> None:
    with pytest.raises(ValueError, match="noise of 3 images for a batch of 2"):
        uniform(torch.empty(2, 1), NoisePerImage(0, torch.arange(3)))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_draws_the_same_numbers() -> None:
    like = torch.empty(5, *SHAPE)
    for dtype in (torch.float32, torch.float16):
        here = NoisePerImage(7, torch.arange(5))
        there = NoisePerImage(7, torch.arange(5, device="cuda"))
        moved = NoisePerImage(7, torch.arange(5))
        for _ in range(3):
            expected = uniform(like.to(dtype), here)
            assert torch.equal(uniform(like.to("cuda", dtype), there).cpu(), expected)
            assert torch.equal(uniform(like.to("cuda", dtype), moved).cpu(), expected)
        some = torch.tensor([3, 1], device="cuda")
        assert torch.equal(
            uniform(like[:2].cuda(), there.of(some, 1)).cpu(),
            uniform(like[:2], here.of(some.cpu(), 1)),
        )
