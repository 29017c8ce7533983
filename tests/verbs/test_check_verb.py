"""What this machine says of its own streams."""

from __future__ import annotations

import time
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

from entres.cli import main
from entres.models import Codec


def test_it_ends_well_within_a_minute(capsys: pytest.CaptureFixture[str]) -> None:
    started = time.process_time()
    main(["check"])
    assert time.process_time() - started < 60
    printed = capsys.readouterr().out
    for words in (
        version("torch"),
        "plain -> channels_last",
        "a batch -> one by one",
        "encode on cpu",
        "a step of PGD-E on cpu",
    ):
        assert words in printed
    assert "refused" not in printed


def test_a_machine_that_decodes_something_else_is_told(
    student_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    decode = Codec.decode_latents
    calls = []

    def sometimes_otherwise(codec: Codec, *arguments: object) -> torch.Tensor:
        calls.append(codec)
        latents = decode(codec, *arguments)  # type: ignore[arg-type]
        # The receiver of the second way; the calls alternate between it and the sender.
        return latents + 1 if len(calls) == 3 else latents

    monkeypatch.setattr(Codec, "decode_latents", sometimes_otherwise)
    with pytest.raises(
        SystemExit, match=r"^entres: this machine does not decode .*\(plain -> chan"
    ):
        main(["check", "--student", str(student_file)])
    assert "Milliseconds per photograph" in capsys.readouterr().out


def test_streams_that_are_refused_are_counted(
    student_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from entres.bitstream import BitstreamError

    decode = Codec.decode_latents

    def only_batches(codec: Codec, streams: list[object], *more: object) -> torch.Tensor:
        if len(streams) == 1:
            raise BitstreamError("rounds otherwise")
        return decode(codec, streams, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(Codec, "decode_latents", only_batches)
    with pytest.raises(SystemExit, match=r"\(a batch -> one by one\)"):
        main(["check", "--student", str(student_file)])
    assert "4 of 4 refused" in capsys.readouterr().out


def test_a_missing_student_is_one_sentence() -> None:
    with pytest.raises(SystemExit, match=r"^entres: .*nowhere"):
        main(["check", "--student", "nowhere.safetensors"])
