"""Speed of the head, the receiver and the exact sizes, beside the published way and their floors.

python -m benchmarks.coding zoo/tf_efficientnet_lite0-mshp-beta0.08-joint.safetensors
python -m benchmarks.coding zoo/tf_efficientnet_lite0-fp-beta0.08-joint.safetensors --photos FOLDER

The published way is compressai's own layers, ``compress`` and ``decompress`` in the order in which
sc2bench calls them; its strings are compared with ours first. The floor of the head is ``g_a``
alone, that of the receiver ``g_s``. With photos, the exact sizes are compared with those of coded
streams too.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from benchmarks.attacks import SIDE, photo
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
from entres.attacks import PGDE, StudentVictim
from entres.coding import encode_image
from entres.models import Codec, EntropicStudent, MeanScaleHyperprior, load_student

RESNET50 = 256
"""Channels that ResNet-50's tail takes: the published synthesis has 24, 512, 256, 256."""


def published_encode(codec: Any, x: Tensor) -> list[list[bytes]]:
    """The strings of a batch as the published code makes them, y first."""
    y = codec.g_a(x)
    if not isinstance(codec, MeanScaleHyperprior):
        return [codec.entropy_bottleneck.compress(y)]
    z = codec.h_a(y)
    z_strings = codec.entropy_bottleneck.compress(z)
    z_hat = codec.entropy_bottleneck.decompress(z_strings, z.shape[-2:])
    scales, means = codec.h_s(z_hat).chunk(2, 1)
    indexes = codec.gaussian_conditional.build_indexes(scales)
    return [codec.gaussian_conditional.compress(y, indexes, means=means), z_strings]


def published_decode(codec: Any, strings: list[list[bytes]], side: int) -> Tensor:
    """Their features."""
    if not isinstance(codec, MeanScaleHyperprior):
        features: Tensor = codec.g_s(codec.entropy_bottleneck.decompress(strings[0], (side, side)))
        return features
    z_side = (side + 4) // 4
    z_hat = codec.entropy_bottleneck.decompress(strings[1], (z_side, z_side))
    scales, means = codec.h_s(z_hat).chunk(2, 1)
    indexes = codec.gaussian_conditional.build_indexes(scales)
    y_hat = codec.gaussian_conditional.decompress(strings[0], indexes, means=means)
    features = codec.g_s(y_hat)
    return features


def with_wide_synthesis(codec: Codec) -> Codec:
    """The same head before a synthesis of ResNet-50's width, its weights random."""
    wide = type(codec)(RESNET50, codec.analysis_widths)  # type: ignore[call-arg, arg-type]
    state = {k: v for k, v in codec.state_dict().items() if not k.startswith(("g_s", "output_"))}
    wide.load_state_dict(state, strict=False)
    wide.accept_tables()
    return wide.eval()


def images_of(folder: Path, count: int) -> list[Tensor]:
    """Photos spread evenly over a folder, each of shape (1, 3, 224, 224)."""
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png"))
    chosen = paths[:: max(1, len(paths) // count)][:count]
    pictures = (Image.open(path).convert("RGB").resize((SIDE, SIDE)) for path in chosen)
    return [F.pil_to_tensor(picture)[None].float() / 255 for picture in pictures]


def wrong_sizes(student: EntropicStudent, images: Sequence[Tensor]) -> tuple[int, int, int]:
    """(images whose exact size is not that of their stream, images, symbols out of their table)."""
    wrong = escapes = 0
    for x in images:
        plan = student.codec.plan(student.normalize(x))
        (stream,) = student.encode(x)
        wrong += student.codec.stream_sizes(plan).stream.item() != len(stream)
        symbols = plan.symbols(0)
        for coder, values, tables in zip(
            student.codec.coders(), symbols.values, symbols.tables, strict=True
        ):
            place = values - coder.law.offsets[tables]
            escapes += int(((place < 0) | (place >= coder.law.last[tables])).sum())
    return wrong, len(images), escapes


def compare_sizes(student: EntropicStudent, images: Sequence[Tensor]) -> None:
    """Print how many exact sizes are wrong, on clean, noisy and attacked images."""
    generator = torch.Generator().manual_seed(0)
    noise = [torch.randn(x.shape, generator=generator).sign() * 16 / 255 for x in images]
    noisy = [(x + n).clamp(0, 1) for x, n in zip(images, noise, strict=True)]
    attack, victim = PGDE(8, steps=5), StudentVictim(student)
    with torch.enable_grad():
        attacked = [attack(victim, x, None) for x in images[: len(images) // 4]]
    print("\n| images | wrong sizes | of | escapes |\n|---|---|---|---|")
    for name, batch in (("clean", images), ("noise 16/255", noisy), ("PGD-E 8/255", attacked)):
        print("| {} | {} | {} | {} |".format(name, *wrong_sizes(student, batch)))


def compare_tables(student: EntropicStudent, images: Sequence[Tensor]) -> None:
    """Print in how many images other arithmetic would choose another table for some symbol."""
    codec = student.codec
    if not isinstance(codec, MeanScaleHyperprior):
        return
    last = copy.deepcopy(codec.h_s).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    ways = {"float64": copy.deepcopy(codec.h_s).double(), "float32, channels_last": last}
    counts = dict.fromkeys(ways, 0)
    for x in images:
        plan = codec.plan(student.normalize(x))
        height, width = plan.latent_shape
        for name, h_s in ways.items():
            z_hat = plan.latents["z"].to(next(h_s.parameters()).dtype)
            scales = h_s(z_hat)[..., :height, :width].chunk(2, 1)[0].float()
            counts[name] += not torch.equal(codec._y_tables(scales), plan.tables[0])
    print("\n| hyper-synthesis in | images with another table | of |\n|---|---|---|")
    for name, count in counts.items():
        print(f"| {name} | {count} | {len(images)} |")


@torch.no_grad()
def main(words: Sequence[str] | None = None) -> list[Timed]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_student(parser)
    parser.add_argument("--photos", type=Path, help="folder whose photos' sizes are compared")
    parser.add_argument("--count", type=int, default=200, help="photos that are compared")
    parser.add_argument("--repeats", type=int, default=15, help="runs of which the median counts")
    add_threads(parser)
    arguments = parser.parse_args(words)
    clock = clock_of(arguments.threads)
    student, card = load_student(arguments.student)
    student.codec = with_wide_synthesis(student.codec)
    codec = student.codec
    x = student.normalize(photo())
    streams = codec.compress(x)
    plain = published_layers(codec)
    published = published_encode(plain, x)
    assert [[s] for s in streams[0].strings] == published
    side = streams[0].latent_shape[0]
    plan = codec.plan(x)
    y_hat = plan.latents["y"]

    print(f"head of {card.name}, synthesis of ResNet-50, one photo of {SIDE} px, {machine()}")
    tables = []
    head = seconds_of(
        {
            "published way": lambda: published_encode(plain, x),
            "entres": lambda: codec.compress(x),
            "floor: g_a alone": lambda: codec.g_a(x),
        },
        arguments.repeats,
        clock,
    )
    tables.append(print_table("head", head, "s an image"))
    receiver = seconds_of(
        {
            "published way": lambda: published_decode(plain, published, side),
            "entres": lambda: codec.decompress(streams),
            "floor: g_s alone": lambda: codec.g_s(y_hat),
        },
        arguments.repeats,
        clock,
    )
    tables.append(print_table("receiver", receiver, "s an image"))
    many = codec.plan(x.expand(8, -1, -1, -1))

    def coded() -> list[list[bytes]]:
        pairs = (many.symbols(index) for index in range(len(many)))
        return [encode_image(codec.coders(), s.values, s.tables) for s in pairs]

    sizes = seconds_of(
        {"coding": coded, "exact sizes": lambda: codec.stream_sizes(many)}, arguments.repeats, clock
    )
    each = {name: value / 8 for name, value in sizes.items()}
    tables.append(print_table("sizes", each, "s an image"))
    for name, seconds in (("head", head), ("receiver", receiver)):
        ratio = seconds["entres"] / seconds["published way"]
        print(f"{name}: {ratio:.2f} of the published way's time")
    print(f"exact sizes: {sizes['coding'] / sizes['exact sizes']:.1f} times as fast as coding")
    if arguments.photos:
        images = images_of(arguments.photos, arguments.count)
        compare_tables(student, images)
        compare_sizes(student, images)
    return tables


if __name__ == "__main__":
    main()
