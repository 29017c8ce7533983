"""Speed of a step of the attacks, beside the published way and the floor.

    python -m benchmarks.attacks zoo/tf_efficientnet_lite0-mshp-beta0.08-joint.safetensors

What is timed is one step on one image, out of runs of a few. ``plainly``: through compressai's own
normalizations, automatic differentiation of them, parameters that want a gradient, and the plain
memory layout. The floor of an attack on the rate is the analysis transform, forward and backward.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from skimage import data
from skimage.transform import resize
from torch import Tensor

from benchmarks.published_attack import published_attack
from benchmarks.timing import (
    Timed,
    add_student,
    add_threads,
    clock_of,
    machine,
    print_table,
    published_layers,
    seconds_of,
)
from entres.attacks import (
    PGDE,
    AbsoluteStep,
    PGDAcc,
    Preset,
    Relaxation,
    Response,
    StudentVictim,
)
from entres.models import EntropicStudent, load_student

EPSILON = 8
STEPS = 4
SAMPLES = 16
SIDE = 224
ROUNDED = Relaxation("noise", "round", SAMPLES)
PUBLISHED = Preset(
    "published",
    rate=ROUNDED,
    accuracy=ROUNDED,
    average="directions",
    rate_step_rule=AbsoluteStep(0.1),
    accuracy_step_rule=AbsoluteStep(0.1),
    keep="last",
    latents=("y",),
    filter_frequencies=False,
)
ONE_DRAW = Preset(
    "one draw",
    rate_step_rule=AbsoluteStep(0.01),
    accuracy_step_rule=AbsoluteStep(0.01),
    keep="last",
)
PRESETS = {
    f"preset published, {SAMPLES} draws": PUBLISHED,
    "4 draws": replace(ONE_DRAW, rate=Relaxation(samples=4)),
    "1 draw": ONE_DRAW,
    "1 draw, its step rules, worst kept (strong)": Preset(),
}


def photo(side: int = SIDE) -> Tensor:
    """A real photograph, shape (1, 3, side, side)."""
    picture = resize(data.astronaut(), (side, side), anti_aliasing=True)
    return torch.from_numpy(picture).permute(2, 0, 1).float()[None]


class PlainVictim(StudentVictim):
    """A student as it comes."""

    def __init__(self, student: EntropicStudent) -> None:
        super().__init__(copy.deepcopy(student))
        self.student.codec = published_layers(self.student.codec)

    def analyse(self, images: Tensor) -> Tensor:
        return self.student.codec.analyse(self.student.normalize(images))

    def respond(self, latents: Tensor, quantization: object, generator: object = None) -> Response:
        codec = self.student.codec
        y_hat, likelihoods = codec.latents(latents, quantization, generator)  # type: ignore[arg-type]
        return Response(likelihoods, lambda: self.student.tail(codec.synthesise(y_hat)).logits)


def floor(victim: StudentVictim, images: Tensor, of_accuracy: bool) -> Callable[[], object]:
    """Forward and backward of the networks alone."""
    parts = victim.student.requires_grad_(False)

    def run() -> object:
        x = images.clone().requires_grad_()
        y = victim.analyse(x)
        if of_accuracy:
            y = parts.tail(parts.codec.synthesise(y)).logits
        return torch.autograd.grad(y.sum(), x)

    return run


def main(words: Sequence[str] | None = None) -> list[Timed]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_student(parser)
    parser.add_argument("--repeats", type=int, default=5, help="runs of which the median counts")
    add_threads(parser)
    parser.add_argument("--side", type=int, default=SIDE, help="of the photo, in px")
    parser.add_argument("--batch", type=int, default=1, help="images in a batch")
    parser.add_argument("--published", action="store_true", help="the published loop too: slow")
    arguments = parser.parse_args(words)
    clock = clock_of(arguments.threads)
    student, card = load_student(arguments.student)
    images = photo(arguments.side).expand(arguments.batch, -1, -1, -1).contiguous()
    with torch.no_grad():
        labels = student(images).logits.argmax(1)
    plain, victim = PlainVictim(student), StudentVictim(student)
    print(f"{card.name}, {arguments.side} px, batches of {arguments.batch}, {machine()}")
    tables = []
    for make in (PGDE, PGDAcc):
        of_accuracy = make is PGDAcc
        given = labels if of_accuracy else None
        ways: dict[str, Callable[[], object]] = {}
        if arguments.published:
            ways[f"published loop, {SAMPLES} draws"] = lambda given=given: published_attack(
                student, images, given, epsilon_255=EPSILON, steps=STEPS, samples=SAMPLES
            )
        attack = make(EPSILON, STEPS, ONE_DRAW)
        ways["plainly, 1 draw"] = lambda a=attack, g=given: a(plain, images, g)
        for name, preset in PRESETS.items():
            if preset is PUBLISHED and not arguments.published:
                continue
            attack = make(EPSILON, STEPS, preset)
            ways[name] = lambda a=attack, g=given: a(victim, images, g)
        run = floor(StudentVictim(copy.deepcopy(student)), images, of_accuracy)
        ways["floor"] = lambda run=run: [run() for _ in range(STEPS)]
        seconds = seconds_of(ways, arguments.repeats, clock)
        each = {name: value / STEPS / arguments.batch for name, value in seconds.items()}
        tables.append(print_table(make.__name__, each, "s a step and image"))
    return tables


if __name__ == "__main__":
    main()
