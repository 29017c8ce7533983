"""Defense images per second against the published way: one image at a time.

    python -m benchmarks.defenses [--images 32] [--size 224] [--batch 8] [--repeats 3]

Masks are random: what is timed is the denoising. Every contender runs in turn, and the whole round
is repeated, so that a busy machine slows all of them; the best round counts.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torchmetrics.functional.image import image_gradients

from benchmarks.timing import Timed
from entres.defenses import (
    JPEG,
    BitDepth,
    Defense,
    GaussianBlur,
    MaskedChambolle,
    MaskedTV,
    MedianFilter,
    PublishedDenoising,
)


def loop_as_published(images: Tensor, masks: Tensor) -> Tensor:
    """The published arithmetic in the published manner, its input kept."""
    denoised = []
    for image, mask in zip(images, masks, strict=True):
        x = image[None].clone()
        new = x
        for _ in range(100):
            down, right = image_gradients(new)
            new += 0.15 * ((x - new) + 0.1 * (down + right)) * mask[0]
        denoised.append(new)
    return torch.cat(denoised)


def batched(defense: Defense, batch: int) -> Callable[[Tensor, Tensor], Tensor]:
    def run(images: Tensor, masks: Tensor) -> Tensor:
        pairs = zip(images.split(batch), masks.split(batch), strict=True)
        return torch.cat([defense(x, m) for x, m in pairs])

    return run


def main(words: Sequence[str] | None = None) -> list[Timed]:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args(words)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    generator = torch.Generator().manual_seed(0)
    shape = (options.images, 3, options.size, options.size)
    images = torch.rand(shape, generator=generator).to(device)
    masks = torch.rand((shape[0], 1, *shape[2:]), generator=generator).to(device)
    contenders = {"published, one image at a time": loop_as_published}
    for defense in (
        PublishedDenoising(),
        MaskedTV(),
        MaskedChambolle(),
        GaussianBlur(),
        MedianFilter(),
        BitDepth(),
        JPEG(),
    ):
        contenders[defense.name] = batched(defense, options.batch)
    found = dict.fromkeys(contenders, float("inf"))
    results = {}
    with torch.no_grad():
        for _ in range(options.repeats):
            for name, run in contenders.items():
                started = time.perf_counter()
                results[name] = run(images, masks)
                if device.type == "cuda":
                    torch.cuda.synchronize()
                found[name] = min(found[name], time.perf_counter() - started)
    assert torch.equal(results["published"], results["published, one image at a time"])
    print(f"{device}, {torch.get_num_threads()} threads, {options.size} px, batch {options.batch}")
    for name, seconds in found.items():
        print(f"{name:32s} {options.images / seconds:8.1f} images/s")
    each = {name: seconds / options.images for name, seconds in found.items()}
    return [Timed("defenses", each, "s an image")]


if __name__ == "__main__":
    main()
