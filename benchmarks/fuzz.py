"""Hostile streams: every one is refused, or decodes to finite features of the announced shape.

python -m benchmarks.fuzz --streams 10000

It ends with an error at the first stream that does anything else, and prints what became of each
kind, the slowest stream and the memory at its highest. A crash or a hang is one of the process.
"""

from __future__ import annotations

import argparse
import collections
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from benchmarks.attacks import photo
from benchmarks.timing import clear_peak, peak_mib
from entres.bitstream import Bitstream, BitstreamError, CodecId, hyper_latent_side
from entres.coding import IntArray, ans, as_array, tables_fingerprint
from entres.models import Codec, EntropicStudent, MeanScaleHyperprior, load_student

ZOO = [f"zoo/tf_efficientnet_lite0-{codec}-beta0.08-joint.safetensors" for codec in ("fp", "mshp")]
SIDES = ((32, 32), (64, 96), (224, 224))
LARGEST_LATENT = 4096
CRC_OFFSET = 14


@dataclass
class Target:
    """A student and honest streams of it to start from."""

    student: EntropicStudent
    streams: list[Bitstream]

    @property
    def codec(self) -> Codec:
        return self.student.codec


def target(student: EntropicStudent) -> Target:
    """A student with streams of photos of several sizes."""
    sizes = (torch.nn.functional.interpolate(photo(), side, mode="area") for side in SIDES)
    return Target(student, [student.encode(x)[0] for x in sizes])


@torch.no_grad()
def tables_of(codec: Codec, shape: tuple[int, int], z: IntArray | None = None) -> list[IntArray]:
    """The tables of y, and of z, that a receiver would use for a latent of that shape."""
    if not isinstance(codec, MeanScaleHyperprior):
        return [codec._channel_tables(codec.latent_channels, *shape)]
    z_shape = [hyper_latent_side(side) for side in shape]
    z_tables = codec._channel_tables(codec.hyper_channels, *z_shape)
    values = torch.zeros(1, *z_tables.shape) if z is None else torch.from_numpy(z)[None].float()
    scales, _ = codec._reference_gaussians(values + codec._medians(), shape)
    return [as_array(codec._y_tables(scales)[0]), z_tables]


def forged(codec: Codec, stream: Bitstream) -> Bitstream:
    """The same stream with the fingerprint that its receiver will compute, where it can be had."""
    if stream.codec is not codec.id:
        return stream
    try:
        z = None
        if isinstance(codec, MeanScaleHyperprior):
            shape = [hyper_latent_side(side) for side in stream.latent_shape]
            z_tables = codec._channel_tables(codec.hyper_channels, *shape)
            z = codec.coders()[1].decode(stream.strings[1], z_tables)
        tables = tables_of(codec, stream.latent_shape, z)
    except ValueError:
        return stream
    return replace(stream, fingerprint=tables_fingerprint(codec.coders(), tables[0]))


def of_symbols(codec: Codec, shape: tuple[int, int], draw: Callable[[], int]) -> Bitstream:
    """A stream of any symbols, by the coder itself and not by ours, which would refuse some."""
    tables = tables_of(codec, shape)
    strings = []
    for coder, choice in zip(codec.coders(), tables, strict=True):
        symbols = [0 if len(strings) else draw() for _ in range(choice.size)]
        strings.append(
            ans.RansEncoder().encode_with_indexes(
                symbols, choice.ravel().tolist(), coder.cdfs, coder.lengths, coder.offsets
            )
        )
    return forged(codec, Bitstream(codec.id, shape, 0, tuple(strings)))


def cheapest(codec: Codec, shape: tuple[int, int]) -> Bitstream:
    """The shortest stream that announces a latent of that shape and can be decoded."""
    strings: list[bytes] = []
    z = None
    for number, coder in reversed(list(enumerate(codec.coders()))):
        choice = tables_of(codec, shape, z)[number]
        likeliest = np.array([np.diff(cdf)[:-1].argmax() for cdf in coder.cdfs]) + coder.offsets
        z = likeliest[choice].astype(np.int32)
        strings.insert(0, coder.encode(z, choice))
    return forged(codec, Bitstream(codec.id, shape, 0, tuple(strings)))


def _flipped(data: bytes, rng: random.Random, count: int) -> bytes:
    changed = bytearray(data)
    for _ in range(count):
        if changed:
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def hostile_streams(
    targets: list[Target], count: int, seed: int
) -> Iterator[tuple[str, Target, bytes]]:
    """Kind, receiver and bytes of hostile streams, the same for the same seed."""
    rng = random.Random(seed)

    def words(longest: int) -> bytes:
        head = rng.choice((b"", rng.randbytes(7) + b"\x7f"))  # the second is a state like others
        body = rng.choice((rng.randbytes, lambda n: b"\xff" * n, bytes))(
            4 * rng.randint(0, longest)
        )
        return head + body

    def side() -> int:
        return rng.choice((1, 2, 7, 8, 55, 511, 512, 1024, 4095, LARGEST_LATENT, 65535))

    kinds: dict[str, Callable[[Target], bytes]] = {}

    def kind(make: Callable[[Target], bytes]) -> Callable[[Target], bytes]:
        kinds[make.__name__.replace("_", " ")] = make
        return make

    @kind
    def truncated(t: Target) -> bytes:
        data = rng.choice(t.streams).to_bytes()
        return data[: rng.randrange(len(data))]

    @kind
    def random_bytes(t: Target) -> bytes:
        return rng.choice((b"", b"ENTR\x01\x01", b"ENTR\x01\x02")) + rng.randbytes(
            rng.randint(0, 999)
        )

    @kind
    def bit_flips(t: Target) -> bytes:
        return _flipped(rng.choice(t.streams).to_bytes(), rng, rng.randint(1, 9))

    @kind
    def flips_with_a_checksum(t: Target) -> bytes:
        good = rng.choice(t.streams)
        strings = [_flipped(s, rng, rng.choice((0, 1, 9))) for s in good.strings]
        return forged(t.codec, replace(good, strings=tuple(strings))).to_bytes()

    @kind
    def cut_strings(t: Target) -> bytes:
        good = rng.choice(t.streams)
        strings = [s[: 4 * rng.randint(0, len(s) // 4)] for s in good.strings]
        return forged(t.codec, replace(good, strings=tuple(strings))).to_bytes()

    @kind
    def oversized(t: Target) -> bytes:
        good = rng.choice(t.streams)
        strings = [s + words(5000) for s in good.strings]
        return forged(t.codec, replace(good, strings=tuple(strings))).to_bytes()

    @kind
    def random_strings(t: Target) -> bytes:
        good = rng.choice(t.streams)
        strings = tuple(words(len(s) // 2) for s in good.strings)
        if rng.random() < 0.5:  # a good hyper-latent, so that y is reached
            strings = (strings[0], *good.strings[1:])
        return forged(t.codec, replace(good, strings=strings)).to_bytes()

    @kind
    def other_codec(t: Target) -> bytes:
        good = rng.choice(rng.choice(targets).streams)
        codec = rng.choice(list(CodecId))
        strings = (good.strings * 2)[: codec.strings]
        return forged(t.codec, replace(good, codec=codec, strings=strings)).to_bytes()

    @kind
    def extreme_shapes(t: Target) -> bytes:
        good = rng.choice(t.streams)
        shaped = replace(good, latent_shape=(side(), side()))
        return shaped.to_bytes()

    @kind
    def other_shapes(t: Target) -> bytes:
        good = rng.choice(t.streams)
        height, width = (max(1, side + rng.randint(-8, 8)) for side in good.latent_shape)
        return forged(t.codec, replace(good, latent_shape=(height, width))).to_bytes()

    @kind
    def extreme_symbols(t: Target) -> bytes:
        reach = 1 << rng.choice((10, 20, 20, 21, 26))
        share = rng.choice((0.01, 1.0))
        draw = lambda: rng.choice((-reach, reach)) if rng.random() < share else 0  # noqa: E731
        return of_symbols(t.codec, rng.choice(((7, 7), (8, 9))), draw).to_bytes()

    @kind
    def cheapest_symbols(t: Target) -> bytes:
        return cheapest(t.codec, (rng.randint(1, 60), rng.randint(1, 60))).to_bytes()

    names = list(kinds)
    for number in range(count):
        name = names[number % len(names)]
        receiver = rng.choice(targets)
        yield name, receiver, kinds[name](receiver)


def outcome(receiver: Target, data: bytes) -> str:
    """``refused``, or ``decoded`` to finite features of the announced shape.

    Raises:
        AssertionError: if it was anything else.
    """
    try:
        stream = Bitstream.from_bytes(data)
        features = receiver.codec.decompress([stream])
    except BitstreamError:
        return "refused"
    height, width = stream.latent_shape
    assert features.shape == (1, len(receiver.codec.output_scale), height + 1, width + 1)
    assert torch.isfinite(features).all()
    return "decoded"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--streams", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--students", nargs="+", default=ZOO, help="files of students")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    targets = [target(load_student(path)[0]) for path in arguments.students]
    results: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    slowest = (0.0, "", 0)
    clear_peak()
    before = peak_mib()
    for name, receiver, data in hostile_streams(targets, arguments.streams, arguments.seed):
        started = time.perf_counter()
        results[name][outcome(receiver, data)] += 1
        slowest = max(slowest, (time.perf_counter() - started, name, len(data)))
    print("| kind | refused | decoded to finite features |\n|---|---|---|")
    for name, counts in results.items():
        print(f"| {name} | {counts['refused']} | {counts['decoded']} |")
    total = sum(counts.total() for counts in results.values())
    print(f"{total} streams, none lost; {peak_mib() - before:.0f} MiB more at most")
    print(f"slowest: {slowest[0]:.2f} s, {slowest[1]}, {slowest[2]} bytes")


if __name__ == "__main__":
    main()
