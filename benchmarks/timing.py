"""What all benchmarks share: alternating runs, medians, ratios, memory, and the machine."""

from __future__ import annotations

import argparse
import copy
import ctypes
import gc
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import compressai.layers
import torch

from entres import configs
from entres.models import Codec
from entres.models.layers import GDN1


def machine() -> str:
    """Processor and threads of this machine, in words."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        models = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        name = models[0].split(":", 1)[1].strip() if models else name
    return f"{name}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def seconds_of(
    ways: Mapping[str, Callable[[], object]],
    repeats: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Median time of each way, in seconds; wall-clock time if no other clock is given.

    The ways take turns, so that a machine that slows down does so for all of them.
    """
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, run in ways.items():
            start = clock()
            run()
            times[name].append(clock() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def add_threads(parser: argparse.ArgumentParser) -> None:
    """Let a benchmark be asked for a number of threads."""
    parser.add_argument("--threads", type=int, default=1, help="threads of the network")


def clock_of(threads: int) -> Callable[[], float]:
    """Give the network so many threads; what to time it with.

    With one, its processor time: other work on the machine then counts for less.
    """
    torch.set_num_threads(threads)
    return time.process_time if threads == 1 else time.perf_counter


def memory_of(ways: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """The most memory that a first run of each way held beyond what was held before, in MiB."""
    held = {}
    for name, run in ways.items():
        gc.collect()
        clear_peak()
        before = peak_mib()
        run()
        held[name] = peak_mib() - before
    return held


class Timed(NamedTuple):
    """Ways to do one thing, timed side by side.

    Attributes:
        title: what is done.
        seconds: of each way; every ratio is to the first. One whose name begins with ``floor`` is
            what no way can go below.
        unit: seconds of what.
    """

    title: str
    seconds: Mapping[str, float]
    unit: str

    @property
    def floor(self) -> float | None:
        """Seconds of the floor, where there is one."""
        found = (value for name, value in self.seconds.items() if name.startswith("floor"))
        return next(found, None)


def print_table(
    title: str, seconds: Mapping[str, float], unit: str, mib: Mapping[str, float] | None = None
) -> Timed:
    """Print a table in Markdown; every ratio is to the first line.

    Args:
        title: what is done.
        seconds: of each way.
        unit: seconds of what.
        mib: memory of each way, see :func:`memory_of`, where it was measured.
    """
    first = next(iter(seconds.values()))
    print(f"\n| {title} | {unit} | times as fast |{' MiB |' if mib else ''}")
    print(f"|---|---|---|{'---|' if mib else ''}")
    for name, value in seconds.items():
        held = f" {mib[name]:.0f} |" if mib else ""
        print(f"| {name} | {value:.3g} | {first / value:.1f} |{held}", flush=True)
    return Timed(title, seconds, unit)


def add_student(parser: argparse.ArgumentParser) -> None:
    """Let a command line name a student."""
    about = "file of a student (default: the one that travels with the package)"
    parser.add_argument("student", nargs="?", default=str(configs.EXAMPLE_STUDENT), help=about)


def peak_mib() -> float:
    """The most memory that this process has held since its peak was last cleared, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def clear_peak() -> None:
    """Let the peak begin again at what is held now, what is free given back to the system."""
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")


def published_layers(codec: Codec) -> Codec:
    """A copy whose normalizations are compressai's own, in the memory layout that torch gives."""
    copied = copy.deepcopy(codec).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    for module in copied.modules():
        if isinstance(module, GDN1):
            module.__class__ = compressai.layers.GDN1
    return copied
