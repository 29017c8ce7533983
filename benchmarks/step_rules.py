"""What each way to walk through the ball finds at equal steps: bytes of the streams, no clock.

    python -m benchmarks.step_rules STUDENT PHOTO [PHOTO ...] [--steps 100 400] [--epsilon 8]

All take one draw of noise for each gradient and keep the worst image, as ``strong`` does, so that
equal steps are equal cost. Choose rules on training photos, not on those that are reported.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from torch import Tensor
from torchvision.transforms.functional import to_tensor

from entres.attacks import (
    PGDE,
    AdaptiveStep,
    CosineStep,
    MomentumStep,
    Preset,
    StepRule,
    StudentVictim,
)
from entres.bitstream import KIB
from entres.data.reading import read_rgb
from entres.models import load_student

RULES: dict[str, StepRule] = {
    "Auto-PGD": AdaptiveStep(),
    "cosine": CosineStep(),
    "cosine, momentum 0.8": MomentumStep(momentum=0.8),
    "cosine, momentum 0.9 (strong)": MomentumStep(),
    "cosine, momentum 0.95": MomentumStep(momentum=0.95),
    "cosine from epsilon, momentum 0.9": MomentumStep(peak=1.0),
    "cosine from epsilon / 4, momentum 0.9": MomentumStep(peak=0.25),
}


def main(words: Sequence[str] | None = None) -> dict[tuple[str, int], list[float]]:
    """Print a table, mean KiB; the KiB of every photo by rule and steps."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("student", type=Path)
    parser.add_argument("photos", nargs="+", type=Path)
    parser.add_argument("--steps", nargs="+", type=int, default=[100])
    parser.add_argument("--epsilon", type=float, default=8.0, help="in units of 1/255")
    options = parser.parse_args(words)
    student, _ = load_student(options.student)
    victim = StudentVictim(student.eval())
    images = [to_tensor(read_rgb(path))[None] for path in options.photos]

    def kib(each: Sequence[Tensor]) -> list[float]:
        return [len(student.encode(image)[0]) / KIB for image in each]

    found: dict[tuple[str, int], list[float]] = {}
    print(f"{len(images)} photos, clean {fmean(kib(images)):.2f} KiB", flush=True)
    print("| rule | " + " | ".join(f"{steps} steps" for steps in options.steps) + " |")
    print("|---" * (1 + len(options.steps)) + "|", flush=True)
    for name, rule in RULES.items():
        print(f"| {name}", end=" ", flush=True)
        for steps in options.steps:
            attack = PGDE(options.epsilon, steps, Preset(rate_step_rule=rule))
            found[name, steps] = kib([attack(victim, image, None) for image in images])
            print(f"| {fmean(found[name, steps]):.2f}", end=" ", flush=True)
        print("|", flush=True)
    return found


if __name__ == "__main__":
    main()
