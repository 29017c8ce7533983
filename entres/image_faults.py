"""What is wrong with images, in words: the same with torch and without it."""

from __future__ import annotations

from collections.abc import Sequence

ROUNDING = 1e-6
"""How far outside of [0, 1] a value may lie and still be taken for a rounding error."""
MIN_IMAGE_SIDE = 32
"""Smallest side of an image that is coded, in px."""
WANTED = "images must be floating point in [0, 1] or uint8, shape (N, 3, H, W)"


def type_fault(kind: str, shape: Sequence[int]) -> str:
    """The sentence for images of a type that is none of images."""
    return f"{WANTED}, got {kind} {tuple(shape)}: convert them first"


def tensor_fault(kind: str) -> str:
    """The sentence for what is images elsewhere, but not where a gradient may be taken.

    Args:
        kind: ``uint8``, or what stands in the place of a tensor.
    """
    advice = "give images / 255" if kind == "uint8" else "make a tensor of them"
    return (
        "a student takes a tensor of floating point in [0, 1], shape (N, 3, H, W), got "
        f"{kind}: {advice} (encode and attacks take uint8, arrays and lists, too)"
    )


def shape_fault(kind: str, shape: Sequence[int]) -> str | None:
    """The sentence for a shape that is not (N, 3, H, W); None for one that is.

    Args:
        kind: their type, as numpy and torch call it.
        shape: of the images.
    """
    shape = tuple(shape)
    if len(shape) == 4 and shape[1] == 3:
        return None
    if len(shape) == 4 and shape[3] == 3:
        advice = "the channels stand last, put them second with permute(0, 3, 1, 2)"
    elif len(shape) == 4 and shape[1] == 1:
        advice = "gray images become three channels with expand(-1, 3, -1, -1)"
    elif len(shape) == 4 and shape[1] == 4:
        advice = "drop the fourth channel, the transparency, with images[:, :3]"
    elif len(shape) == 3 and shape[0] == 3:
        advice = "one image becomes a batch with images[None]"
    elif len(shape) == 3 and shape[2] == 3:
        advice = "one image with its channels last becomes a batch with permute(2, 0, 1)[None]"
    else:
        advice = "three channels, red, green and blue, stand second"
    return f"{WANTED}, got {kind} {shape}: {advice}"


def size_fault(shape: Sequence[int]) -> str | None:
    """The sentence for what is too small to be coded, or no batch; None for what is neither."""
    if len(shape) == 4 and shape[1] == 3 and min(shape[2:]) >= MIN_IMAGE_SIDE:
        return None
    return (
        f"images must have shape (N, 3, H, W) with sides of {MIN_IMAGE_SIDE} px or more, got "
        f"{tuple(shape)}"
    )


def not_finite(number: int, count: int) -> str:
    """The sentence for NaN or infinity in one image of so many."""
    return (
        f"images must be finite, got NaN or infinity in image {number} of a batch of {count} "
        "(counted from 0): look at how it was made"
    )


def out_of_range(low: float, high: float) -> str:
    """The sentence for values beyond [0, 1]; it guesses what they are."""
    return f"images must be in [0, 1], got values from {low:g} to {high:g}: {_guess(low, high)}"


def _guess(low: float, high: float) -> str:
    if low < -0.5 and max(-low, high) <= 10:
        return "they look normalized; the networks here normalize for themselves, so leave it out"
    if low >= 0 and 2 < high <= 255:
        return "they look like values from 0 to 255, divide by 255"
    return "clamp them if nothing is lost by it"
