"""What it is worth to keep freed memory: an attack in processes that do, and that do not, by turns.

python -m benchmarks.memory zoo/tf_efficientnet_lite0-mshp-beta0.08-joint.safetensors

Each way runs in processes of its own, with one thread. Times are the processor's, those of the
system among them; the memory is the most that the process ever held.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time

import torch

from benchmarks.timing import add_student, machine, peak_mib
from entres import load_student
from entres.attacks import PGDE, StudentVictim
from entres.memory import keep_freed_memory

WAYS = {"given back": {"MALLOC_ARENA_MAX": "8"}, "kept": {}}
"""One thread has one arena; a variable that is set says that somebody has seen to the memory."""


def measured(file: str, images: int, side: int, steps: int) -> dict[str, float]:
    """Milliseconds of one step on one image, the system's share of them, and MiB at most."""
    keep_freed_memory()
    torch.set_num_threads(1)
    student, _ = load_student(file)
    student.to(memory_format=torch.channels_last)
    victim, attack = StudentVictim(student), PGDE(8.0, steps=steps)
    generator = torch.Generator().manual_seed(0)
    photos = torch.rand(images, 3, side, side, generator=generator)
    attack(victim, photos)  # the first one is slower
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_stime, time.process_time()
    attack(victim, photos)
    system = resource.getrusage(resource.RUSAGE_SELF).ru_stime - before
    each = 1000 / steps / images
    ms = each * (time.process_time() - started)
    return {"ms": ms, "system": each * system, "mib": peak_mib()}


def main() -> None:
    """Run both ways by turns, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_student(parser)
    for name, value in (("repeats", 5), ("images", 8), ("side", 224), ("steps", 8)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        print(json.dumps(measured(given.student, given.images, given.side, given.steps)))
        return
    torch.set_num_threads(1)  # what it says of itself in the end
    line = [sys.executable, "-W", "ignore", "-m", "benchmarks.memory", *sys.argv[1:], "--measure"]
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    plain = {key: value for key, value in os.environ.items() if not key.startswith("MALLOC_")}
    for _ in range(given.repeats):
        for way, variables in WAYS.items():
            environment = {**plain, **variables}
            ended = subprocess.run(
                line, env=environment, stdout=subprocess.PIPE, text=True, check=True
            )
            found[way].append(json.loads(ended.stdout.splitlines()[-1]))
    print(f"{machine()}; {given.repeats} processes each\n")
    print("| freed memory is | ms a step and image | of these in the system | MiB at most |")
    print("|---|---|---|---|")
    for way, runs in found.items():
        ms, system, mib = (statistics.median(r[f] for r in runs) for f in ("ms", "system", "mib"))
        print(f"| {way} | {ms:.1f} | {system:.1f} | {mib:.0f} |")


if __name__ == "__main__":
    main()
