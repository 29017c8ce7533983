"""Streams made to do harm: refused, or finite features of the right shape, at a bounded cost."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from codec_samples import images

from benchmarks.fuzz import Target, cheapest, forged, hostile_streams, outcome
from entres.bitstream import Bitstream, BitstreamError
from entres.models import EntropicStudent

ROOT = Path(__file__).parents[2]
ZOO = ROOT / "zoo"
MakeStudent = Callable[..., EntropicStudent]

SOME = """
import sys
import torch
from benchmarks import fuzz
from entres.models import load_student
torch.set_num_threads(1)
fuzz.SIDES = ((32, 32), (48, 64))
targets = [fuzz.target(load_student(path)[0]) for path in fuzz.ZOO]
outcomes = [fuzz.outcome(t, data) for _, t, data in fuzz.hostile_streams(targets, 360, 7)]
print(outcomes.count("refused"), outcomes.count("decoded"))
"""


def in_a_process(code: str) -> str:
    """What a program prints; a crash, which hostile streams once caused, ends only that process."""
    command = [sys.executable, "-W", "ignore", "-c", code]
    result = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == 0, result.stderr[-2000:]
    return result.stdout


def test_hostile_streams_are_refused_or_decode_to_finite_features() -> None:
    refused, decoded = map(int, in_a_process(SOME).split())
    assert refused + decoded == 360
    assert refused > decoded > 0


def test_hostile_streams_are_the_same_for_the_same_seed(make_student: MakeStudent) -> None:
    student = make_student("fp")
    targets = [Target(student, student.encode(images(1, 64, 64, 0)))]
    first, again, other = (
        [data for _, _, data in hostile_streams(targets, 24, seed)] for seed in (1, 1, 2)
    )
    assert first == again != other


COST = """
import sys
import torch
from benchmarks.fuzz import Target, cheapest, outcome
from benchmarks.timing import clear_peak, peak_mib
from entres.models import load_student
torch.set_num_threads(1)
student, _ = load_student(sys.argv[1])
streams = [cheapest(student.codec, (side, side)) for side in (8, 16, 24, 32, 40, 48, 56, 64)]
data = [s.to_bytes() for s in streams if len(s) < 1024]
student.codec.decompress(student.encode(torch.zeros(1, 3, 32, 32)))  # what the first call loads
clear_peak()
before = peak_mib()
assert outcome(Target(student, []), data[-1]) == "decoded"
print(len(data), peak_mib() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="a peak that Linux tells")
@pytest.mark.parametrize("codec", ["fp", "mshp"])
def test_a_stream_of_less_than_a_kib_costs_little_memory(codec: str) -> None:
    (path,) = ZOO.glob(f"*-{codec}-beta0.08-joint.safetensors")
    count, mib = in_a_process(f"import sys; sys.argv = ['', {str(path)!r}]\n" + COST).split()
    assert int(count) >= 3
    assert float(mib) < 50


@pytest.mark.parametrize("codec", ["fp", "mshp"])
@pytest.mark.parametrize("side", [200, 511])
def test_a_few_bytes_that_announce_much_are_refused_before_it_is_built(
    codec: str, side: int, make_student: MakeStudent, monkeypatch: pytest.MonkeyPatch
) -> None:
    student = make_student(codec)
    small = cheapest(student.codec, (8, 8))
    stream = Bitstream(small.codec, (side, side), small.fingerprint, small.strings)

    def built(*arguments: object) -> None:
        raise AssertionError("something of the announced size was built")

    monkeypatch.setattr(student.codec, "_decode", built)
    with pytest.raises(BitstreamError, match=r"symbols has at least \d+ bytes"):
        student.decode([stream])


@pytest.mark.parametrize("codec", ["fp", "mshp"])
def test_a_receiver_says_how_large_images_are(codec: str, make_student: MakeStudent) -> None:
    student = make_student(codec)
    streams = student.encode(images(1, 64, 96, 0))
    assert torch.equal(student.decode(streams, max_side=96), student.decode(streams))
    with pytest.raises(BitstreamError, match=r"side of 93 to 96 px; .* up to 92: give a larger"):
        student.decode(streams, max_side=92)
    huge = Bitstream(streams[0].codec, (4, 512), streams[0].fingerprint, streams[0].strings)
    with pytest.raises(BitstreamError, match=r"side of 2049 to 2052 px; .* up to 2048"):
        student.decode([huge])


def test_a_large_string_of_ones_is_refused(make_student: MakeStudent) -> None:
    codec = make_student("fp").codec
    for state in (b"\xff" * 8, b"\xff" * 7 + b"\x7f"):
        string = state + b"\xff" * (31 << 20)
        stream = forged(codec, Bitstream(codec.id, (511, 511), 0, (string,)))
        with pytest.raises(BitstreamError, match="coded string"):
            codec.decompress([Bitstream.from_bytes(stream.to_bytes())])
    with pytest.raises(BitstreamError, match="exceeds the limit"):
        Bitstream.from_bytes(b"\xff" * ((64 << 20) + 1))


@pytest.mark.parametrize("codec", ["fp", "mshp"])
def test_features_that_overflow_are_refused(codec: str, make_student: MakeStudent) -> None:
    student = make_student(codec)
    streams = student.encode(images(1, 64, 64, 0))
    with torch.no_grad():
        student.codec.g_s[-1].weight.fill_(np.finfo(np.float32).max)
    with pytest.raises(BitstreamError, match="its features overflow"):
        student.decode(streams)
    assert outcome(Target(student, []), streams[0].to_bytes()) == "refused"
