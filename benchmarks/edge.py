"""The head with onnxruntime and numpy beside the head with torch: streams, start, memory, time.

python -m benchmarks.edge zoo/tf_efficientnet_lite0-mshp-beta0.08-joint.safetensors --photos FOLDER

Each way runs in processes of its own, with one thread, in turns. Times are the processor's,
so that other work on the machine counts for less; the start is all until the first stream is there,
Python's own included; the memory is the most that the process ever held. The streams of the
photos (scikit-image's, where no folder is named) are compared, and those of the head without torch
are decoded by the student. An exported student (entres export STUDENT EDGE --onnx true) is named
with --edge; the head is exported where none is.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.coding import images_of
from benchmarks.timing import machine
from entres.bitstream import BitstreamError
from entres.edge import EdgeHead
from entres.models import EntropicStudent, load_student
from entres.models.codecs import MeanScaleHyperprior
from entres.models.onnx_export import export_onnx
from entres.report.intervals import wilson
from entres.verbs.photographs import photographs

_PROGRAM = """
import re, statistics, sys, time
import numpy
images = numpy.load(sys.argv[2])
{make}
encode(images[:1])
start = time.process_time()
times = []
for number in range({repeats}):
    image = images[number % len(images)][None]
    clock = time.process_time()
    encode(image)
    times.append(time.process_time() - clock)
import json
# Not getrusage, which begins with what the parent held.
memory = int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read()).group(1)) / 1024
print(json.dumps(dict(start=start, memory=memory, ms=1000 * statistics.median(times))))
"""
WAYS = {
    "torch": "import torch; torch.set_num_threads(1)\n"
    "from entres.models import load_student\n"
    "encode = load_student(sys.argv[1])[0].encode",
    "onnxruntime": "from entres.edge import EdgeHead\nencode = EdgeHead(sys.argv[1], 1).encode",
}
FIGURES = {"start": "s to the first stream", "memory": "MiB at most", "ms": "ms an image"}


def measured(way: str, student: Path, images: Path, repeats: int) -> dict[str, float]:
    """Start in s, peak memory in MiB and time of an image in ms, of a new process."""
    program = _PROGRAM.format(make=WAYS[way], repeats=repeats)
    ended = subprocess.run(
        [sys.executable, "-c", program, str(student), str(images)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    found: dict[str, float] = json.loads(ended.stdout)
    return found


def compare_costs(student: Path, edge: Path, images: Tensor, processes: int, repeats: int) -> None:
    """Print what both ways take; each figure is a median of the processes, and their range."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "images.npy"
        np.save(file, images.numpy())
        found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
        for _ in range(processes):
            for way in WAYS:
                path = student if way == "torch" else edge
                found[way].append(measured(way, path, file, repeats))
    print(f"\n| head | {' | '.join(FIGURES.values())} |\n|---|{'---|' * len(FIGURES)}")
    for way, runs in found.items():
        cells = []
        for figure in FIGURES:
            values = [run[figure] for run in runs]
            middle = statistics.median(values)
            cells.append(f"{middle:.3g} [{min(values):.3g}, {max(values):.3g}]")
        print(f"| {way} | {' | '.join(cells)} |")


@torch.no_grad()
def compare_streams(student: EntropicStudent, head: EdgeHead, images: list[Tensor]) -> None:
    """Print how many streams are equal, differ, needed the receiver's search, or were refused."""
    counts = dict.fromkeys(("equal", "another, decoded", "tables found", "refused"), 0)
    searched = 0
    if isinstance(student.codec, MeanScaleHyperprior):
        search = student.codec._tables_of_sender

        def watched(*arguments: object) -> object:
            nonlocal searched
            searched += 1
            return search(*arguments)  # type: ignore[arg-type]

        student.codec._tables_of_sender = watched  # type: ignore[method-assign, assignment]
    apart = total = 0
    for image in images:
        (ours,), (theirs,) = head.encode(image.numpy()), student.encode(image)
        searched = 0
        try:
            latents = student.codec.decode_latents([ours])
        except BitstreamError:
            counts["refused"] += 1
            continue
        difference = latents - student.codec.decode_latents([theirs])
        apart += int((difference.abs() > 0.5).sum())
        total += difference.numel()
        counts["equal" if ours == theirs else "another, decoded"] += 1
        counts["tables found"] += searched > 0
    print("\n| streams without torch | images | share, 95% interval |\n|---|---|---|")
    for name, count in counts.items():
        low, high = wilson(count / len(images), len(images))
        print(f"| {name} | {count} of {len(images)} | {low:.1%} to {high:.1%} |")
    print(f"\n{apart} of {total} latents came out one higher or lower")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("student", type=Path, help="file of a student")
    parser.add_argument("--edge", type=Path, help="folder of the exported student")
    parser.add_argument("--photos", type=Path, help="folder of photos whose streams are compared")
    parser.add_argument("--count", type=int, default=200, help="photos that are compared")
    parser.add_argument("--processes", type=int, default=5, help="processes of each way")
    parser.add_argument("--repeats", type=int, default=20, help="images that each one codes")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    student, card = load_student(arguments.student)
    with tempfile.TemporaryDirectory() as folder:
        edge = arguments.edge or Path(folder)
        if arguments.edge is None:
            export_onnx(student, card, edge, tail=False)
        examples = photographs(())[1]
        given = arguments.photos
        images = images_of(given, arguments.count) if given else list(examples.split(1))
        print(f"{card.name}, photos of {examples.shape[-1]} px, {machine()}")
        compare_costs(arguments.student, edge, examples, arguments.processes, arguments.repeats)
        compare_streams(student, EdgeHead(edge, 1), images)


if __name__ == "__main__":
    main()
