"""Where noise comes from, for a batch as a whole or for each of its images."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def _signed(word: int) -> int:
    """A word of 64 bits as torch's integers hold it."""
    return word - (1 << 64) if word >> 63 else word


GOLDEN = _signed(0x9E3779B97F4A7C15)
FIRST, SECOND = _signed(0xBF58476D1CE4E5B9), _signed(0x94D049BB133111EB)


def splitmix64(states: Tensor, counts: Tensor | int) -> Tensor:
    """Outputs of SplitMix64 generators by their number, without running them [Steele2014].

    Integer products, shifts and exclusive ors, which every device computes alike.

    [Steele2014] Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA.

    Args:
        states: what each generator was seeded with, int64.
        counts: which outputs, from 1, int64; broadcast against the states.

    Returns:
        Words of 64 random bits, int64.
    """
    steps = _signed(counts * GOLDEN % (1 << 64)) if isinstance(counts, int) else counts * GOLDEN
    words = states + steps
    moved = torch.empty_like(words)
    for shift, factor in ((30, FIRST), (27, SECOND), (31, 1)):
        # Zeros come in from the left: torch alone would bring copies of the sign.
        torch.bitwise_right_shift(words, shift, out=moved)
        words ^= moved.bitwise_and_((1 << 64 - shift) - 1)
        if factor != 1:
            words *= factor
    return words


class NoisePerImage:
    """Noise of which every image of a batch has its own, whatever batch it stands in.

    ::

        seed, index ──► the image's key ──► start of its n-th draw ──► the number at each place

    Each arrow is a :func:`splitmix64`, taken over the whole batch at once. So a number depends on
    the seed, the image's index, how often was drawn before, and its place in the image, and is the
    same bit for bit on any device.

    Args:
        seed: from 0 to 2**63 - 1.
        indices: of the batch's images, integers >= 0, shape (N,).
    """

    def __init__(self, seed: int, indices: Tensor) -> None:
        base = splitmix64(torch.tensor(seed, device=indices.device), 1)
        self._keys = splitmix64(base, indices.long() + 1)
        self._draws = 0

    def __len__(self) -> int:
        return len(self._keys)

    def only(self, images: Tensor) -> NoisePerImage:
        """The noise that some of the images would have gone on with.

        Args:
            images: their places in the batch, int64.
        """
        other = NoisePerImage(0, images)
        other._keys = self._keys.to(images.device)[images]
        other._draws = self._draws
        return other

    def of(self, images: Tensor, part: int) -> NoisePerImage:
        """Other noise for some of the images, whatever was drawn and will be.

        Args:
            images: their places in the batch, int64.
            part: from 0; each part has noise of its own.
        """
        other = self.only(images)
        # Backwards: the starts of draws are counted upwards.
        other._keys, other._draws = splitmix64(other._keys, -1 - part), 0
        return other

    def uniform(self, like: Tensor) -> Tensor:
        """The next noise in [0, 1) of the shape, device and type of a batch of these images.

        Raises:
            ValueError: if the batch has another number of images.
        """
        if len(self) != len(like):
            raise ValueError(f"noise of {len(self)} images for a batch of {len(like)}")
        self._keys = self._keys.to(like.device)
        self._draws += 1
        starts = splitmix64(self._keys, self._draws)
        # Two numbers of each word: no more bits than the type can hold, which would round up to 1.
        places = torch.arange(1, 1 + (like[:1].numel() + 1) // 2, device=like.device)
        halves = splitmix64(starts[:, None], places).view(torch.int32)[:, : like[:1].numel()]
        bits = min(24, 1 - round(math.log2(torch.finfo(like.dtype).eps)))
        halves = (halves >> 32 - bits).bitwise_and_((1 << bits) - 1)
        return halves.to(like.dtype).mul_(2.0**-bits).view(like.shape)


Randomness = torch.Generator | NoisePerImage | None
"""Where noise comes from: a generator for the batch as a whole; noise per image, which makes that
of an image independent of the batch it stands in; or torch's global state."""


def uniform(like: Tensor, randomness: Randomness = None) -> Tensor:
    """Noise in [0, 1) of the shape, device and type of a batch.

    Raises:
        ValueError: if the noise is of another number of images.
    """
    if isinstance(randomness, NoisePerImage):
        return randomness.uniform(like)
    return torch.rand(like.shape, generator=randomness, device=like.device, dtype=like.dtype)


def part_of(randomness: Randomness, images: Tensor, part: int) -> Randomness:
    """The randomness of some images of a batch in one part of what is done to them.

    Not that of the batch itself: how often it was drawn from says who else is in it.

    Args:
        randomness: of the batch.
        images: their places in the batch, int64.
        part: from 0; each part has noise of its own.
    """
    return randomness.of(images, part) if isinstance(randomness, NoisePerImage) else randomness
