"""Speed of the attacks: the presets against the published way, at the same steps and draws.

python -m benchmarks.attacks zoo/tf_efficientnet_lite0-mshp-beta0.08-joint.safetensors
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import torch
from skimage import data
from skimage.transform import resize
from torch import Tensor

from benchmarks.published_attack import published_attack
from benchmarks.timing import machine, print_table, seconds_of
from entres.attacks import PGD, PGDE, AbsoluteStep, PGDAcc, Preset, Relaxation, StudentVictim
from entres.models import load_student

EPSILON = 8
STEPS = 20
SAMPLES = 16
SIDE = 224
ROUNDED = Relaxation("noise", "round", SAMPLES)
PUBLISHED = Preset(
    "published", ROUNDED, ROUNDED, "directions", AbsoluteStep(0.1), ("y",), filter_frequencies=False
)


def photo() -> Tensor:
    """A real photograph, shape (1, 3, 224, 224)."""
    picture = resize(data.astronaut(), (SIDE, SIDE), anti_aliasing=True)
    return torch.from_numpy(picture).permute(2, 0, 1).float()[None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("student", help="file of a student")
    parser.add_argument("--repeats", type=int, default=3, help="runs of which the median counts")
    arguments = parser.parse_args()
    student, card = load_student(arguments.student)
    student.eval()
    image = photo()
    with torch.no_grad():
        label = student(image).logits.argmax(1)
    victim = StudentVictim(student)
    default = Preset()
    many = replace(
        default,
        rate=replace(default.rate, samples=SAMPLES),
        accuracy=replace(default.rate, samples=SAMPLES),
    )
    presets = {
        f"published, {SAMPLES} draws": PUBLISHED,
        f"strong, {SAMPLES} draws": many,
        "strong, its own draws": default,
    }

    print(f"{card.name}, one photo of {SIDE} px, {STEPS} steps, {machine()}")
    for attack in (PGDE, PGDAcc):
        of_accuracy = attack is PGDAcc
        given = label if of_accuracy else None

        def plain(given: Tensor | None = given) -> Tensor:
            return published_attack(
                student, image, given, epsilon_255=EPSILON, steps=STEPS, samples=SAMPLES
            )

        ways = {f"published, its own loop, {SAMPLES} draws": plain}
        for name, preset in presets.items():
            pgd: PGD = attack(EPSILON, steps=STEPS, preset=preset)
            ways[name] = lambda pgd=pgd, given=given: pgd(victim, image, given)
        print_table(attack.__name__, seconds_of(ways, arguments.repeats), unit="s an image")


if __name__ == "__main__":
    main()
