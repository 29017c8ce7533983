"""Whatever arrives: any bytes, and any change to a stream, found by hypothesis and made small.

The larger run, of kinds of streams that were thought out, is ``make fuzz``.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from codec_samples import images
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.fuzz import Target, forged, outcome
from entres.bitstream import Bitstream
from entres.models import EntropicStudent

SETTINGS = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(params=["fp", "mshp"])
def receiver(
    request: pytest.FixtureRequest, make_student: Callable[..., EntropicStudent]
) -> Target:
    student = make_student(request.param)
    return Target(student, student.encode(images(1, 48, 64, 0)))


def received(receiver: Target, data: bytes) -> str:
    """``refused`` or ``decoded``; anything else is an error (see :func:`outcome`)."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return outcome(receiver, data)


@SETTINGS
@given(data=st.binary(max_size=200))
def test_any_bytes(receiver: Target, data: bytes) -> None:
    # A checksum of 32 bits stands before everything else.
    assert received(receiver, data) == "refused"


@SETTINGS
@given(
    shape=st.tuples(st.integers(1, 300), st.integers(1, 300)),
    strings=st.lists(st.binary(max_size=64).map(lambda b: b[: len(b) // 4 * 4]), max_size=3),
    fingerprint=st.integers(0, 2**32 - 1),
)
def test_any_stream_with_a_checksum(
    receiver: Target, shape: tuple[int, int], strings: list[bytes], fingerprint: int
) -> None:
    whole = receiver.student.codec.id
    wanted = len(receiver.streams[0].strings)
    padded = tuple([*strings, *([b"\0" * 8] * wanted)][:wanted])
    stream = Bitstream(whole, shape, fingerprint, padded)
    for made in (stream, forged(receiver.student.codec, stream)):
        assert received(receiver, made.to_bytes()) in ("refused", "decoded")


@SETTINGS
@given(
    place=st.floats(0, 1, exclude_max=True),
    change=st.binary(min_size=1, max_size=8),
    number=st.integers(0, 1),
)
def test_any_change_to_a_string(receiver: Target, place: float, change: bytes, number: int) -> None:
    codec, stream = receiver.student.codec, receiver.streams[0]
    strings = list(stream.strings)
    string = bytearray(strings[number % len(strings)])
    start = int(place * len(string))
    string[start : start + len(change)] = change[: len(string) - start]
    strings[number % len(strings)] = bytes(string)
    changed = Bitstream(stream.codec, stream.latent_shape, stream.fingerprint, tuple(strings))
    assert received(receiver, forged(codec, changed).to_bytes()) in ("refused", "decoded")


def test_what_was_sent_is_decoded(receiver: Target) -> None:
    assert received(receiver, receiver.streams[0].to_bytes()) == "decoded"
    assert torch.isfinite(receiver.student.decode(receiver.streams)).all()
