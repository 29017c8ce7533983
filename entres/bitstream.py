"""The container that travels from the head to the tail: a header and the entropy-coded strings.

Layout, big endian, one image per stream::

    offset  size  field
    0       4     magic, b"ENTR"
    4       1     version of this layout
    5       1     codec: 1 factorized prior, 2 mean-scale hyperprior
    6       2+2   height and width of the latent y, in elements
    10      4     fingerprint of the tables that coded the strings
    14      4     CRC-32 of everything but this field
    18      4*k   length of each string in bytes (k = 1 or 2, by the codec)
    ...           the strings, one after the other
"""

from __future__ import annotations

import pickle
import struct
import sys
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from entres.errors import EntresError

KIB = 1024
"""Bytes in a KiB, the unit in which every size is reported."""

MAGIC = b"ENTR"
VERSION = 1
_PREFIX = struct.Struct(">4sBBHHI")
_CRC = struct.Struct(">I")
_HEADER_BYTES = _PREFIX.size + _CRC.size

MAX_BYTES = 1 << 26
"""Largest stream that is read, 64 MiB: a hostile length field must not reserve memory."""
MAX_LATENT_SIDE = 4096
"""Largest height or width of a latent that is read: an image side of 16,384 px."""
MAX_LATENT_AREA = 1 << 20
"""Most elements per channel of a latent that is read: an image of 16 megapixels. A few bytes must
not make the decoder reserve gigabytes."""


MAX_IMAGE_SIDE = 2048
"""Largest side, in px, of an image whose stream a receiver decodes unless it expects more."""


class BitstreamError(EntresError, ValueError):
    """A stream that must not reach the entropy coder."""


class CodecId(IntEnum):
    """What coded a stream; the value travels in its header."""

    FACTORIZED_PRIOR = 1
    MEAN_SCALE_HYPERPRIOR = 2

    @property
    def strings(self) -> int:
        """How many strings a stream of this codec carries: y, and z for the hyperprior."""
        return 1 if self is CodecId.FACTORIZED_PRIOR else 2


@dataclass(frozen=True)
class Bitstream:
    """One coded image.

    Attributes:
        codec: which codec wrote it.
        latent_shape: height and width of the latent y, in elements.
        fingerprint: 32-bit fingerprint of the tables (and, for the hyperprior, of the choice of
            tables) that coded the strings. A decoder that would use others refuses the stream.
        strings: the entropy-coded strings: (y,) or (y, z).
    """

    codec: CodecId
    latent_shape: tuple[int, int]
    fingerprint: int
    strings: tuple[bytes, ...]

    def __len__(self) -> int:
        """Bytes that travel, header included: the size that entres reports."""
        return stream_size(self.codec, self.payload_bytes)

    @property
    def payload_bytes(self) -> int:
        """Bytes of the entropy-coded strings alone."""
        return sum(map(len, self.strings))

    @property
    def published_bytes(self) -> int:
        """The size by the accounting of the published code, in bytes: :func:`published_size`."""
        return published_size(self.codec, self.latent_shape, [len(s) for s in self.strings])

    def to_bytes(self) -> bytes:
        """The stream as it goes over the wire."""
        prefix = _PREFIX.pack(
            MAGIC, VERSION, self.codec, *self.latent_shape, self.fingerprint & 0xFFFFFFFF
        )
        lengths = struct.pack(f">{len(self.strings)}I", *map(len, self.strings))
        body = lengths + b"".join(self.strings)
        return prefix + _CRC.pack(zlib.crc32(body, zlib.crc32(prefix))) + body

    def __bytes__(self) -> bytes:
        """See :meth:`to_bytes`."""
        return self.to_bytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> Bitstream:
        """Parse a stream strictly: every field is checked, nothing is guessed.

        Args:
            data: exactly one stream.

        Raises:
            BitstreamError: if the data is truncated, altered, too long, or no stream of ours; the
                message says which.
        """
        if not isinstance(data, bytes | bytearray | memoryview):
            raise BitstreamError(f"a stream is made of bytes, got {type(data).__name__}")
        if len(data) > MAX_BYTES:
            raise BitstreamError(f"stream of {len(data)} bytes exceeds the limit of {MAX_BYTES}")
        if len(data) < _HEADER_BYTES:
            raise BitstreamError(
                f"truncated stream: {len(data)} bytes, the header alone has {_HEADER_BYTES}"
            )
        magic, version, codec_value, height, width, fingerprint = _PREFIX.unpack_from(data)
        if magic != MAGIC:
            raise BitstreamError(f"not an entres stream: it starts with {magic!r}, not {MAGIC!r}")
        if version != VERSION:
            raise BitstreamError(f"stream of version {version}; this entres reads {VERSION}")
        try:
            codec = CodecId(codec_value)
        except ValueError:
            raise BitstreamError(f"unknown codec {codec_value} in the stream's header") from None
        if not (0 < height <= MAX_LATENT_SIDE and 0 < width <= MAX_LATENT_SIDE):
            raise BitstreamError(
                f"latent of {height} x {width} elements; sides from 1 to {MAX_LATENT_SIDE} are read"
            )
        if height * width > MAX_LATENT_AREA:
            raise BitstreamError(
                f"latent of {height} x {width} elements; up to {MAX_LATENT_AREA} are read"
            )
        start = _HEADER_BYTES + 4 * codec.strings
        if len(data) < start:
            raise BitstreamError(
                f"truncated stream: {len(data)} bytes, its header takes {start} bytes"
            )
        lengths = struct.unpack_from(f">{codec.strings}I", data, _HEADER_BYTES)
        if start + sum(lengths) != len(data):
            kind = "truncated" if len(data) < start + sum(lengths) else "oversized"
            raise BitstreamError(
                f"{kind} stream: {len(data)} bytes, its header announces {start + sum(lengths)}"
            )
        (crc,) = _CRC.unpack_from(data, _PREFIX.size)
        if crc != zlib.crc32(data[_HEADER_BYTES:], zlib.crc32(data[: _PREFIX.size])):
            raise BitstreamError("altered stream: its CRC-32 does not match its content")
        strings = []
        for length in lengths:
            strings.append(bytes(data[start : start + length]))
            start += length
        return cls(codec, (height, width), fingerprint, tuple(strings))


def check_types(streams: object) -> None:
    """Refuse what is no list of streams, such as a single one, or bytes that nobody has parsed.

    Raises:
        BitstreamError: saying what to give instead.
    """
    wanted = "streams must be a list of Bitstream"
    if isinstance(streams, Bitstream):
        raise BitstreamError(f"{wanted}, got one Bitstream: give [stream]")
    if isinstance(streams, Sequence) and not isinstance(streams, str | bytes):
        others = [stream for stream in streams if not isinstance(stream, Bitstream)]
        kinds = [f"a list of {type(stream).__name__}" for stream in others]
    else:
        kinds = [type(streams).__name__]
    if kinds:
        raise BitstreamError(f"{wanted}, got {kinds[0]}: Bitstream.from_bytes makes one of bytes")


def check_expected(stream: Bitstream, codec: CodecId, max_side: int) -> None:
    """Refuse a stream that a receiver does not expect, before anything of its size is made.

    Args:
        stream: well-formed, from anybody.
        codec: of the receiver.
        max_side: largest side, in px, of an image that it expects.

    Raises:
        BitstreamError: if it is of another codec, or announces a larger image.
    """
    if stream.codec is not codec:
        raise BitstreamError(
            f"the stream is of codec {stream.codec.name}, this student's is {codec.name}"
        )
    side = 4 * max(stream.latent_shape) + 1
    if side > max_side:
        raise BitstreamError(
            f"the stream announces an image with a side of {side} to {side + 3} px; this "
            f"receiver expects up to {max_side}: give a larger max_side if that is right"
        )


def hyper_latent_side(side: int) -> int:
    """Side of the hyper-latent z for a side of the latent y.

    The hyper-synthesis turns a side of m into one of 4m - 1, so the smallest m that covers y.
    """
    return (side + 4) // 4


def stream_size(codec: CodecId, payload: int) -> int:
    """Bytes of a stream whose strings have ``payload`` bytes together."""
    return _HEADER_BYTES + 4 * codec.strings + payload


def published_size(codec: CodecId, latent_shape: tuple[int, int], strings: Sequence[int]) -> int:
    """The size of an image by the accounting of the published evaluation code, in bytes.

    There it is ``sys.getsizeof`` of the pickled object ``{strings, shape}``, Python's own header
    for a bytes object included: each string in a list of its own, and the shape as ``torch.Size``,
    of z for the hyperprior and of y for the factorized prior.

    Args:
        codec: which codec wrote it.
        latent_shape: height and width of the latent y.
        strings: bytes of each string; what is in them does not matter.
    """
    import torch  # the container itself needs no torch: a phone may write it

    height, width = latent_shape
    if codec is CodecId.MEAN_SCALE_HYPERPRIOR:
        height, width = hyper_latent_side(height), hyper_latent_side(width)
    record = {"strings": [[bytes(n)] for n in strings], "shape": torch.Size((height, width))}
    return sys.getsizeof(pickle.dumps(record))
