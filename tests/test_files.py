"""Files are written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from entres.files import write_whole


def test_text_and_bytes_arrive_as_they_are(tmp_path: Path) -> None:
    path = write_whole(tmp_path / "new" / "a.txt", "é\n")
    assert path.read_bytes() == "é\n".encode()
    assert write_whole(path, b"\0\r\n").read_bytes() == b"\0\r\n"
    assert list(path.parent.iterdir()) == [path]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_whole(tmp_path / "a.txt", "old")

    def full(partial: Path, content: bytes) -> int:
        with partial.open("wb") as file:
            file.write(content[:1])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_two_processes_do_not_share_the_file_on_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr(Path, "replace", lambda partial, _: seen.append(partial.name))
    for process in (1, 2):
        monkeypatch.setattr(os, "getpid", lambda number=process: number)
        write_whole(tmp_path / "a.txt", "x")
    assert len(set(seen)) == 2
