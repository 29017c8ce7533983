"""What all benchmarks share: alternating runs, medians, ratios, and the machine they ran on."""

from __future__ import annotations

import copy
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import compressai.layers
import torch

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


def print_table(title: str, seconds: Mapping[str, float], unit: str) -> None:
    """Print a table in Markdown; every ratio is to the first line."""
    first = next(iter(seconds.values()))
    print(f"\n| {title} | {unit} | times as fast |\n|---|---|---|")
    for name, value in seconds.items():
        print(f"| {name} | {value:.3g} | {first / value:.1f} |")


def published_layers(codec: Codec) -> Codec:
    """A copy whose normalizations are compressai's own."""
    copied = copy.deepcopy(codec)
    for module in copied.modules():
        if isinstance(module, GDN1):
            module.__class__ = compressai.layers.GDN1
    return copied
