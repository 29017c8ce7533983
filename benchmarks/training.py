"""Seconds and memory of a step of the first stage, beside sc2bench's.

    python -m benchmarks.training

Both train the same fresh student on the same batches before the same teacher: the published
objective (summed squared feature errors + beta * bits), Adam, float32. Ours is a step of
:class:`entres.stages.Distillation` in its trainer, sc2bench's one of its losses in the loop of
torchdistill. Loading is no part of either. The floor is teacher and student forward and the student
backward, without losses, likelihoods or noise. Weights are random: no time depends on them.
"""

from __future__ import annotations

import argparse
import copy
import logging
import statistics
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from itertools import cycle, islice
from typing import Any

import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader

from benchmarks.sc2bench_package import MISSING, SC2BenchTraining, is_installed
from benchmarks.timing import (
    Timed,
    add_student,
    add_threads,
    clock_of,
    machine,
    memory_of,
    print_table,
)
from entres.card import StudentCard, read_card
from entres.data import Batch, PhotosDataModule
from entres.models.student import codec_class
from entres.stages import Distillation, MultiStep

BETA = 0.08
SIDE = 128
OURS, THEIRS, FLOOR = "entres", "sc2bench's package", "floor: the networks alone"

Clock = Callable[[], float]
Steps = list[float]
"""Seconds of each step of a run."""


class Stopwatch(pl.Callback):
    """Times every step of a training, without the loading of its batch."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.seconds: Steps = []
        self._started = 0.0

    def on_train_batch_start(self, *arguments: Any) -> None:
        self._started = self.clock()

    def on_train_batch_end(self, *arguments: Any) -> None:
        self.seconds.append(self.clock() - self._started)


class Held(pl.LightningDataModule):
    """Batches that are in memory already."""

    name = "photos"

    def __init__(self, batches: Sequence[Batch]) -> None:
        super().__init__()
        self.batches = batches

    def train_dataloader(self) -> DataLoader[Any]:
        batches: Any = self.batches
        return DataLoader(batches, batch_size=None)


def batches_of(size: int, side: int, count: int) -> list[Batch]:
    """Training batches of the photographs, images in [0, 1]."""
    data = PhotosDataModule(image_size=side, batch_size=size, num_workers=0)
    data.setup("fit")
    found = islice(cycle(data.train_dataloader()), count)
    return [batch._replace(images=batch.images.float() / 255) for batch in found]


def stage(card: StudentCard) -> Distillation:
    """The published first stage of a fresh student of a card's kind."""
    widths = {"analysis_widths": card.analysis_widths, "synthesis_widths": card.synthesis_widths}
    return Distillation(
        beta=BETA,
        optimizer=partial(torch.optim.Adam, lr=1e-3),
        schedule=MultiStep([0.5, 0.8]),
        backbone=card.backbone,
        codec=partial(codec_class(card.codec), **widths),
        num_classes=card.num_classes,
        feature_weighting="summed",
    )


def ours(module: Distillation, batches: Sequence[Batch], clock: Clock) -> Callable[[], Steps]:
    """Steps of a stage in a trainer that keeps nothing."""

    def run() -> Steps:
        watch = Stopwatch(clock)
        trainer = pl.Trainer(
            accelerator="cpu",
            fast_dev_run=len(batches),
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[watch],
        )
        trainer.fit(module, datamodule=Held(batches))
        return watch.seconds

    return run


def theirs(
    training: SC2BenchTraining, batches: Sequence[Batch], clock: Clock
) -> Callable[[], Steps]:
    """As many steps of sc2bench's."""
    return lambda: [_timed(clock, training.step, batch.images, batch.labels) for batch in batches]


def networks(module: Distillation, batches: Sequence[Batch], clock: Clock) -> Callable[[], Steps]:
    """The floor."""
    module = copy.deepcopy(module).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    student, teacher = module.student, module.teacher.eval()
    student.tail.requires_grad_(False).eval()
    parameters = [*student.codec.g_a.parameters(), *student.codec.g_s.parameters()]

    def step(images: torch.Tensor) -> None:
        x = images.contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            teacher(x)
        features = student.codec.synthesise(student.codec.analyse(student.normalize(x)))
        torch.autograd.grad(student.tail(features).logits.sum(), parameters)

    return lambda: [_timed(clock, step, batch.images) for batch in batches]


def _timed(clock: Clock, run: Callable[..., object], *arguments: object) -> float:
    started = clock()
    run(*arguments)
    return clock() - started


def main(words: Sequence[str] | None = None) -> list[Timed]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_student(parser)
    parser.add_argument("--batch", type=int, default=8, help="images in a batch")
    parser.add_argument("--side", type=int, default=SIDE, help="of the images, in px")
    parser.add_argument("--steps", type=int, default=4, help="of a run; its first does not count")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each way, taking turns")
    add_threads(parser)
    arguments = parser.parse_args(words)
    if min(arguments.batch, arguments.repeats) < 1 or arguments.steps < 2:
        parser.error("batch and repeats must be >= 1, and steps >= 2: a run's first does not count")
    clock = clock_of(arguments.threads)
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    card = read_card(arguments.student)
    module = stage(card)
    batches = batches_of(arguments.batch, arguments.side, arguments.steps)
    ways: dict[str, Callable[[], Steps]] = {}
    if is_installed():
        training = SC2BenchTraining(module.student, module.teacher, BETA)
        ways[THEIRS] = theirs(training, batches, clock)
    else:
        print(MISSING)
    ways[FLOOR] = networks(module, batches, clock)
    ways[OURS] = ours(module, batches, clock)
    print(
        f"{card.backbone}, {card.codec}, {arguments.side} px, batches of {arguments.batch}, "
        f"{machine()}"
    )
    ways = {name: ways[name] for name in (THEIRS, OURS, FLOOR) if name in ways}
    mib = memory_of(ways)
    seconds: dict[str, Steps] = {name: [] for name in ways}
    for _ in range(arguments.repeats):
        for name, run in ways.items():
            seconds[name] += run()[1:]
    each = {name: statistics.median(values) for name, values in seconds.items()}
    return [print_table("step of the first stage", each, "s a step", mib)]


if __name__ == "__main__":
    main()
