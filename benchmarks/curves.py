"""How time and memory grow: nothing may grow faster than its work.

    python -m benchmarks.curves

The head, the receiver, exact sizes, an attack and an evaluation against the side of the images, the
batch, steps, draws, images and ranks. A curve's growth is the slope of log seconds over log size, a
straight line through its four largest points: 1 is twice the time for twice the size, and 2 is the
work of an image against its side. Memory is the most that a point held beyond what was held before.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from skimage import data
from torch import Tensor

from benchmarks.evaluation import evaluation
from benchmarks.timing import add_student, add_threads, clear_peak, clock_of, machine, peak_mib
from entres.attacks import PGDE, Preset, Relaxation, StudentVictim
from entres.models import EntropicStudent, load_student
from entres.results import read_summary

SIDE = 64
"""Of the images, in px, where something else grows."""
STEPS = 2
EPSILON = 8
FITTED = 4
"""Points that the growth is fitted to, the largest: small ones are all overhead."""
LEAST = 1e-3
"""MiB that are drawn of a point that took no memory of its own."""
TOLERANCE = 0.15
"""By which growth may exceed that of the work before it is named: clocks are not exact."""

Run = Callable[[], object]


@dataclass(frozen=True)
class Curve:
    """Something against a size of it.

    Attributes:
        what: is done.
        against: what grows.
        work: growth of the work: 2 for a side, 0 for ranks that share it.
        sizes: from small to large.
        prepare: gives what is timed, for a size.
    """

    what: str
    against: str
    work: float
    sizes: Sequence[int]
    prepare: Callable[[int], Run]


@dataclass(frozen=True)
class Point:
    """What one size took: seconds, and MiB of memory beyond what was held before."""

    size: int
    seconds: float
    mib: float


def pictures(side: int, count: int = 1) -> Tensor:
    """Pieces of a photograph, float32 in [0, 1], shape (count, 3, side, side)."""
    photo = torch.from_numpy(data.astronaut()).permute(2, 0, 1)[None].float() / 255
    small = torch.nn.functional.interpolate(photo, (side, side), mode="area")
    return torch.cat([small.roll(7 * number, 3) for number in range(count)])


def growth(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Slope of log values over log sizes, by least squares; NaN where a value is 0."""
    if min(values) <= 0:
        return float("nan")
    x, y = [math.log(size) for size in sizes], [math.log(value) for value in values]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    covariance = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return covariance / sum((a - mean_x) ** 2 for a in x)


# --- what is measured -----------------------------------------------------------------------------


def head(student: EntropicStudent, x: Tensor) -> Run:
    return lambda: student.encode(x)


def receiver(student: EntropicStudent, x: Tensor) -> Run:
    streams = student.encode(x)
    return lambda: student.decode(streams)


def exact_sizes(student: EntropicStudent, x: Tensor) -> Run:
    plan = student.codec.plan(student.normalize(x))
    return lambda: student.codec.stream_sizes(plan)


def attack(student: EntropicStudent, x: Tensor, steps: int = STEPS, draws: int = 1) -> Run:
    preset = replace(Preset(), rate=Relaxation(samples=draws))
    pgd, victim = PGDE(EPSILON, steps, preset), StudentVictim(student)

    def run() -> object:
        with torch.enable_grad():
            return pgd(victim, x, None)

    return run


def curves(student: EntropicStudent, file: str, folder: Path, quick: bool) -> Iterator[Curve]:
    """Every curve, with fewer points if quick."""
    sides = [64, 96, 128] if quick else [64, 128, 192, 256, 384, 512]
    batches = [1, 4, 8] if quick else [1, 2, 4, 8, 16, 32]
    counts = [1, 2, 4] if quick else [1, 2, 4, 8, 16]
    parts = {"encode": head, "decode": receiver, "exact sizes": exact_sizes, "PGD-E": attack}
    for name, part in parts.items():
        yield Curve(name, "side, px", 2, sides, lambda n, p=part: p(student, pictures(n)))
        yield Curve(name, "batch", 1, batches, lambda n, p=part: p(student, pictures(SIDE, n)))
    one = pictures(SIDE)
    yield Curve("PGD-E", "steps", 1, counts, lambda n: attack(student, one, n))
    yield Curve("PGD-E", "draws", 1, counts, lambda n: attack(student, one, draws=n))
    yield Curve(
        "evaluation", "images a class", 1, counts, lambda n: evaluation(file, folder, n, SIDE)
    )


def measure(curve: Curve, repeats: int, clock: Callable[[], float]) -> list[Point]:
    """The fastest of a few runs of each size, after one that does not count but for its memory."""
    points = []
    curve.prepare(curve.sizes[0])()  # what is loaded once is of no size
    for size in curve.sizes:
        run = curve.prepare(size)
        clear_peak()
        before = peak_mib()
        run()
        mib = peak_mib() - before
        times = []
        for _ in range(repeats):
            started = clock()
            run()
            times.append(clock() - started)
        points.append(Point(size, min(times), mib))
    return points


def of_ranks(file: str, folder: Path, per_class: int) -> str:
    """Seconds of one evaluation on one rank and on two, as it notes them itself, in a sentence."""
    seconds = []
    for ranks in (1, 2):
        there = folder / f"ranks{ranks}"
        evaluation(file, there, per_class, SIDE, ranks=ranks)()
        (row,) = read_summary(there / "summary.json")
        seconds.append(row.seconds or float("nan"))
    return (
        f"evaluation of {8 * per_class} images: {seconds[0]:.2f} s on one rank, {seconds[1]:.2f} s "
        f"on two (the processes' start apart), {seconds[0] / seconds[1]:.2f} times as fast"
    )


def line(curve: Curve, points: Sequence[Point]) -> str:
    """A curve as a line of the table."""
    largest = points[-FITTED:]
    sizes = [point.size for point in largest]
    slope = growth(sizes, [point.seconds for point in largest])
    memory = growth(sizes, [point.mib for point in largest])
    verdict = "**faster than its work**" if slope > curve.work + TOLERANCE else "no faster"
    cells = [
        curve.what,
        curve.against,
        f"{points[0].size} to {points[-1].size}",
        f"{points[0].seconds:.3g} to {points[-1].seconds:.3g}",
        f"{slope:.2f}",
        f"{curve.work:g}",
        verdict,
        f"{points[0].mib:.0f} to {points[-1].mib:.0f}",
        "-" if math.isnan(memory) else f"{memory:.2f}",
    ]
    return f"| {' | '.join(cells)} |"


def draw(measured: Sequence[tuple[Curve, Sequence[Point]]], path: Path) -> None:
    """Seconds and memory against size, one panel for each thing that grows."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    axes_of = list(dict.fromkeys(curve.against for curve, _ in measured))
    figure, axes = pyplot.subplots(
        2, len(axes_of), figsize=(3 * len(axes_of), 5.5), layout="constrained", squeeze=False
    )
    for curve, points in measured:
        column = axes_of.index(curve.against)
        sizes = [point.size for point in points]
        for row, values in enumerate(
            ([p.seconds for p in points], [max(p.mib, LEAST) for p in points])
        ):
            axes[row][column].loglog(sizes, values, "o-", markersize=3, label=curve.what)
            axes[row][column].set_xticks(sizes, [str(size) for size in sizes], minor=False)
    for column, name in enumerate(axes_of):
        for axis in (axes[0][column], axes[1][column]):
            axis.xaxis.set_minor_formatter("")
            lowest, highest = axis.get_ylim()  # whole decades: others have no number
            decades = math.floor(math.log10(lowest)), math.ceil(math.log10(highest))
            axis.set_ylim(10.0 ** decades[0], 10.0 ** decades[1])
        axes[1][column].set_xlabel(name)
        axes[0][column].legend(fontsize="small")
    axes[0][0].set_ylabel("seconds")
    axes[1][0].set_ylabel("MiB")
    figure.savefig(path, dpi=150)


def main(words: Sequence[str] | None = None) -> list[str]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_student(parser)
    parser.add_argument("--quick", action="store_true", help="few and small points, no ranks")
    parser.add_argument("--repeats", type=int, default=3, help="runs of which the fastest counts")
    add_threads(parser)
    parser.add_argument("--figure", type=Path, help="file to draw the curves into")
    arguments = parser.parse_args(words)
    clock = clock_of(arguments.threads)
    student, card = load_student(arguments.student)
    print(f"{card.name}, {machine()}")
    print("\n| what | against | sizes | seconds | growth | of the work | grows", end="")
    print(" | MiB | growth |\n|---|---|---|---|---|---|---|---|---|")
    measured, lines = [], []
    with torch.no_grad(), tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for curve in curves(student, arguments.student, folder, arguments.quick):
            points = measure(curve, arguments.repeats, clock)
            measured.append((curve, points))
            lines.append(line(curve, points))
            print(lines[-1], flush=True)
        if not arguments.quick:
            print(f"\n{of_ranks(arguments.student, folder, 16)}")
    if arguments.figure:
        draw(measured, arguments.figure)
        print(arguments.figure)
    return lines


if __name__ == "__main__":
    main()
