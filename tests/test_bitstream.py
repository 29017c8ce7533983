"""The container: what is written is read, and nothing else is."""

from __future__ import annotations

import random
import struct
import zlib

import pytest

from entres.bitstream import (
    MAX_BYTES,
    MAX_LATENT_SIDE,
    Bitstream,
    BitstreamError,
    CodecId,
    hyper_latent_side,
)


def stream(codec: CodecId = CodecId.MEAN_SCALE_HYPERPRIOR, seed: int = 0) -> Bitstream:
    draw = random.Random(seed)
    return Bitstream(
        codec,
        (draw.randint(1, 300), draw.randint(1, 300)),
        draw.getrandbits(32),
        tuple(draw.randbytes(4 * draw.randint(0, 20)) for _ in range(codec.strings)),
    )


def with_header(data: bytes, offset: int, layout: str, *values: int) -> bytes:
    """The stream with a header field replaced and a CRC that fits again."""
    changed = bytearray(data)
    struct.pack_into(layout, changed, offset, *values)
    crc = zlib.crc32(bytes(changed[18:]), zlib.crc32(bytes(changed[:14])))
    struct.pack_into(">I", changed, 14, crc)
    return bytes(changed)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("codec", CodecId)
def test_round_trip(codec: CodecId, seed: int) -> None:
    written = stream(codec, seed)
    data = written.to_bytes()
    assert Bitstream.from_bytes(data) == written
    assert len(written) == len(data)
    assert len(data) == 18 + 4 * codec.strings + written.payload_bytes


def test_the_layout_does_not_change_by_accident() -> None:
    written = Bitstream(CodecId.MEAN_SCALE_HYPERPRIOR, (55, 300), 0x01020304, (b"abcd", b"ef"))
    data = written.to_bytes()
    assert data[:14] == b"ENTR\x01\x02\x00\x37\x01\x2c\x01\x02\x03\x04"
    assert data[18:] == b"\x00\x00\x00\x04\x00\x00\x00\x02abcdef"
    assert data[14:18] == zlib.crc32(data[:14] + data[18:]).to_bytes(4, "big")


@pytest.mark.parametrize("codec", CodecId)
def test_every_truncation_is_refused(codec: CodecId) -> None:
    data = stream(codec, 3).to_bytes()
    for length in range(len(data)):
        with pytest.raises(BitstreamError, match=f"truncated stream: {length} bytes"):
            Bitstream.from_bytes(data[:length])


@pytest.mark.parametrize("codec", CodecId)
def test_every_altered_byte_is_refused(codec: CodecId) -> None:
    data = stream(codec, 4).to_bytes()
    for position in range(len(data)):
        for flip in (0x01, 0x80, 0xFF):
            altered = bytearray(data)
            altered[position] ^= flip
            with pytest.raises(BitstreamError):
                Bitstream.from_bytes(bytes(altered))


def test_appended_bytes_are_refused() -> None:
    data = stream().to_bytes()
    for extra in (b"\x00", data):
        with pytest.raises(BitstreamError, match="oversized stream"):
            Bitstream.from_bytes(data + extra)


@pytest.mark.parametrize(
    ("offset", "layout", "values", "message"),
    [
        (0, ">4s", (b"RIFF",), "not an entres stream: it starts with b'RIFF'"),
        (4, ">B", (2,), "stream of version 2; this entres reads 1"),
        (5, ">B", (0,), "unknown codec 0"),
        (5, ">B", (9,), "unknown codec 9"),
        (6, ">HH", (0, 5), "latent of 0 x 5 elements"),
        (6, ">HH", (5, MAX_LATENT_SIDE + 1), "latent of 5 x 4097 elements"),
        (6, ">HH", (4096, 4096), "latent of 4096 x 4096 elements; up to 1048576"),
        (18, ">II", (0xFFFFFFFF, 0xFFFFFFFF), "truncated stream: .* announces 8589934616"),
        (18, ">II", (0, 0), "oversized stream"),
    ],
)
def test_a_foreign_header_is_refused_though_its_crc_fits(
    offset: int, layout: str, values: tuple[int, ...], message: str
) -> None:
    data = stream().to_bytes()
    assert Bitstream.from_bytes(with_header(data, 9, ">B", data[9])) == stream()
    with pytest.raises(BitstreamError, match=message):
        Bitstream.from_bytes(with_header(data, offset, layout, *values))


def test_too_many_bytes_are_refused_before_they_are_read() -> None:
    with pytest.raises(BitstreamError, match=f"exceeds the limit of {MAX_BYTES}"):
        Bitstream.from_bytes(bytes(MAX_BYTES + 1))


def test_random_bytes_are_refused() -> None:
    draw = random.Random(0)
    for _ in range(500):
        with pytest.raises(BitstreamError):
            Bitstream.from_bytes(b"ENTR\x01" + draw.randbytes(draw.randint(0, 200)))


@pytest.mark.parametrize(
    ("codec", "overhead"), [(CodecId.MEAN_SCALE_HYPERPRIOR, 116), (CodecId.FACTORIZED_PRIOR, 106)]
)
def test_published_bytes_of_a_224_px_image(codec: CodecId, overhead: int) -> None:
    lengths = (9000, 700)[: codec.strings]
    written = Bitstream(codec, (55, 55), 0, tuple(bytes(n) for n in lengths))
    assert written.published_bytes == sum(lengths) + overhead


def test_the_hyper_latent_is_the_smallest_that_covers() -> None:
    for side in range(1, 200):
        assert hyper_latent_side(side) == min(m for m in range(1, 60) if 4 * m - 1 >= side)
