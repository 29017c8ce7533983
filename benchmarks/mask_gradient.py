"""Over what distance the gradient holds that an attack through a defense follows.

    python -m benchmarks.mask_gradient STUDENT PHOTO [PHOTO ...] [--distances 0.001 0.01 0.1 1 2]

The change of the bits along the signs of a gradient, over what the gradient promises: 1 where the
bits are linear over that distance. For the way through the image with the mask held constant, and
for that through the mask alone: of latents with a noise that stays the same, so that nothing jumps,
and of rounded ones, as the defense makes it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor
from torchvision.transforms.functional import to_tensor

from entres.attacks import StudentVictim
from entres.data.reading import read_rgb
from entres.defenses import MaskedChambolle
from entres.models import EntropicStudent, Quantization, load_student

WAYS = ("image", "mask, noise", "mask, rounded")


def promised_and_found(
    value: Callable[[Tensor], Tensor], images: Tensor, distances: Sequence[float]
) -> list[float]:
    """The change of a scalar over each distance along the signs of its gradient, over the promise.

    Args:
        value: of images, differentiable.
        images: where the gradient is taken, shape (1, 3, H, W).
        distances: in units of 1/255.
    """
    x = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(value(x), x)
    promised = gradient.abs().sum().item()
    shares = []
    for distance in distances:
        step = gradient.sign() * distance / 255
        with torch.no_grad():
            change = (value(images + step) - value(images - step)).item()
        shares.append(change / (2 * distance / 255) / promised)
    return shares


def shares_of(
    student: EntropicStudent, image: Tensor, distances: Sequence[float]
) -> list[list[float]]:
    """Of one image, shape (1, 3, H, W): a list for each of :data:`WAYS`."""
    defense, victim = MaskedChambolle(), StudentVictim(student)
    mask = defense.make_mask(student, image)

    def bits(x: Tensor, mask: Tensor | None) -> Tensor:
        same_noise = torch.Generator().manual_seed(0)
        y = victim.analyse(defense.denoise(x, mask))
        return victim.respond(y, "noise", same_noise).bits.sum()

    def through_mask(quantization: Quantization) -> Callable[[Tensor], Tensor]:
        def value(x: Tensor) -> Tensor:
            torch.manual_seed(0)
            return bits(image, defense.mask.make(student, x, quantization))

        return value

    ways = [lambda x: bits(x, mask), through_mask("noise"), through_mask("straight_through")]
    return [promised_and_found(value, image, distances) for value in ways]


def main(words: Sequence[str] | None = None) -> dict[str, list[float]]:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("student", type=Path)
    parser.add_argument("photos", nargs="+", type=Path)
    parser.add_argument("--distances", nargs="+", type=float, default=[0.001, 0.01, 0.1, 1, 2])
    options = parser.parse_args(words)
    student, _ = load_student(options.student)
    student.eval()
    each = []
    for path in options.photos:
        image = to_tensor(read_rgb(path))[None]
        each.append(shares_of(student, image, options.distances))
        print(f"{path.name}: {each[-1]}", flush=True)
    print("| distance /255 | " + " | ".join(WAYS) + " |\n" + "|---" * (1 + len(WAYS)) + "|")
    for number, distance in enumerate(options.distances):
        cells = []
        for way in range(len(WAYS)):
            values = [of_photo[way][number] for of_photo in each]
            cells.append(f"{fmean(values):.2f} ({min(values):.2f} to {max(values):.2f})")
        print(f"| {distance:g} | " + " | ".join(cells) + " |")
    return {
        name: [fmean(of[way][n] for of in each) for n in range(len(options.distances))]
        for way, name in enumerate(WAYS)
    }


if __name__ == "__main__":
    main()
