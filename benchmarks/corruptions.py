r"""Times all 75 variants of a 224 px photo, ours and those of public packages, side by side.

Packages go into folders of their own, without what they depend on:

    pip install --no-deps --target /tmp/p/imagecorruptions imagecorruptions   # and others likewise
    pip install --no-deps --target /tmp/p/common \
        opencv-python-headless numba llvmlite Wand "setuptools<81"  # Wand wants ImageMagick
    OMP_NUM_THREADS=1 python benchmarks/corruptions.py --common /tmp/p/common \
        imagecorruptions=/tmp/p/imagecorruptions imagenet_c=/tmp/p/imagenet-c

Figures are milliseconds of processor time of one thread for one image, summed over the five
severities, the best of several runs each. Ours takes and gives float tensors in batches of one; the
packages take an image of Pillow's, and what they give is made an array of 8 bits. With --tensors
they do the same job as ours, from a float tensor to a float tensor. What libraries have renamed is
put back for the packages, or most would not run at all.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import time
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:  # a package's process knows nothing of ours
    from benchmarks.timing import Timed

SEVERITIES = range(1, 6)
RUNS = 5


def photo() -> Image.Image:
    from skimage import data

    return Image.fromarray(data.astronaut()).resize((224, 224), Image.Resampling.BICUBIC)


def best(call: Callable[[], object]) -> float:
    """Milliseconds of the fastest of several runs, after one that does not count."""
    call()
    times = []
    for _ in range(RUNS):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return 1000 * min(times)


def time_ours(severities: Sequence[int]) -> dict[str, float]:
    import torch

    from entres.corruptions import CORRUPTIONS, Corruption

    torch.set_num_threads(1)
    image = torch.from_numpy(np.asarray(photo()).copy()).permute(2, 0, 1)[None].float() / 255

    def total(kind: type[Corruption[Any]]) -> float:
        corruptions = [kind(severity) for severity in severities]
        return sum(
            best(lambda c=c: c(image, [torch.Generator().manual_seed(0)])) for c in corruptions
        )

    return {kind.name: total(kind) for kind in CORRUPTIONS}


def time_package(module: str, names: list[str], tensors: bool) -> dict[str, float | str]:
    """Times by name; what went wrong where one does not run."""
    restore_renamed()
    functions = importlib.import_module(f"{module}.corruptions")
    image = photo()
    if tensors:
        import torch

        torch.set_num_threads(1)
        tensor = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).contiguous() / 255

    def corrupt(name: str, severity: int) -> object:
        function = getattr(functions, name)
        if not tensors:
            return np.uint8(np.asarray(function(image, severity)))
        given = Image.fromarray((tensor * 255).round().byte().permute(1, 2, 0).numpy())
        levels = torch.from_numpy(np.uint8(np.asarray(function(given, severity))))
        return levels.permute(2, 0, 1).contiguous() / 255

    def total(name: str) -> float:
        return sum(best(lambda s=s: corrupt(name, s)) for s in SEVERITIES)

    found: dict[str, float | str] = {}
    for name in names:
        try:
            found[name] = total(name)
        except Exception as error:
            found[name] = f"{type(error).__name__}: {error}"
    return found


def restore_renamed() -> None:
    import cv2
    import scipy.ndimage
    import skimage.filters

    cv2.setNumThreads(1)
    smooth = skimage.filters.gaussian

    def gaussian(
        x: object, *words: object, multichannel: bool = False, **options: object
    ) -> object:
        if multichannel:
            options["channel_axis"] = -1
        return smooth(x, *words, **options)

    skimage.filters.gaussian = gaussian
    interpolation = types.ModuleType("scipy.ndimage.interpolation")
    interpolation.map_coordinates = scipy.ndimage.map_coordinates  # type: ignore[attr-defined]
    sys.modules[interpolation.__name__] = interpolation
    np.fromstring = lambda data, kind: np.frombuffer(data, kind).copy()  # type: ignore[assignment]


def in_a_process_of_its_own(
    module: str, folders: list[str], names: list[str], options: list[str]
) -> dict[str, float | str]:
    single = dict.fromkeys(("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    environment = {**os.environ, **single, "PYTHONPATH": os.pathsep.join(folders)}
    command = [sys.executable, "-W", "ignore", __file__, "--time", module, *options, *names]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{module} does not run:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def main(given: Sequence[str] | None = None) -> list[Timed]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("packages", nargs="*", help="MODULE=FOLDER, or names with --time")
    parser.add_argument("--common", default="", help="folder of what the packages depend on")
    parser.add_argument("--tensors", action="store_true", help="the packages' tensors too")
    parser.add_argument(
        "--severities", type=int, nargs="+", default=[*SEVERITIES], help="ours alone: of these"
    )
    parser.add_argument("--time", help=argparse.SUPPRESS)
    words = parser.parse_args(given)
    if words.time:
        print(json.dumps(time_package(words.time, words.packages, words.tensors)))
        return []
    if words.packages and words.severities != [*SEVERITIES]:
        parser.error("--severities is for ours alone: the packages are timed over all five")
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from benchmarks.timing import Timed

    ours = time_ours(words.severities)
    theirs = {}
    for package in words.packages:
        module, folder = package.split("=")
        folders = [folder, *([words.common] if words.common else [])]
        theirs[Path(folder).name] = in_a_process_of_its_own(
            module, folders, list(ours), ["--tensors"] if words.tensors else []
        )
    print("| corruption | ours |", *(f"{name} |" for name in theirs), "fastest / ours |")
    print("|---|" + "---:|" * (len(theirs) + 2))
    whole = {name: times for name, times in theirs.items() if all_ran(times)}
    for name, own in ours.items():
        show(name, own, [times[name] for times in theirs.values()])
    totals = [sum(t.values()) if p in whole else "not all run" for p, t in theirs.items()]
    show(f"all {len(ours) * len(words.severities)}", sum(ours.values()), totals)
    for package, times in theirs.items():
        for name, value in times.items():
            if isinstance(value, str):
                print(f"{package}, {name}: {value}")
    seconds = {
        name: total / 1000 for name, total in zip(theirs, totals, strict=True) if name in whole
    }
    return [
        Timed(
            f"{len(ours) * len(words.severities)} corruptions",
            {**seconds, "entres": sum(ours.values()) / 1000},
            "s an image",
        )
    ]


def all_ran(times: dict[str, float | str]) -> bool:
    return not any(isinstance(value, str) for value in times.values())


def show(name: str, own: float, others: list[float | str]) -> None:
    ran = [value for value in others if not isinstance(value, str)]
    cells = ["-" if isinstance(value, str) else f"{value:.1f}" for value in others]
    ratio = f"{min(ran) / own:.1f}" if ran else "-"
    print("|", " | ".join([name, f"{own:.1f}", *cells, ratio]), "|")


if __name__ == "__main__":
    main()
