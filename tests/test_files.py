"""Files are written whole or not at all."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from entres.files import WriteError, disk_trouble, write_whole
from entres.records import append_records, read_records, write_records


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file may grow beyond so many bytes: what a full disk does, for one process."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


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
    with pytest.raises(
        WriteError, match=r"cannot write \S+a.txt \(No space left on device\): what"
    ):
        write_whole(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_limit_on_the_way_leaves_the_old_file(tmp_path: Path) -> None:
    path = write_whole(tmp_path / "a.txt", "old")
    with largest_file(4096), pytest.raises(WriteError, match=r"a.txt \(File too large\)"):
        write_whole(path, memoryview(bytes(10_000)))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match=r"cannot write .*Not a directory"):
        write_whole(tmp_path / "file" / "folder" / "a.txt", "x")


def test_records_that_do_not_fit_leave_those_before_them(tmp_path: Path) -> None:
    first = [{"condition": "clean", "index": index} for index in range(100)]
    path = write_records(tmp_path, first)
    before = path.read_bytes()
    more = [{"condition": "pgd_e", "index": index} for index in range(5000)]
    with largest_file(20_000), pytest.raises(WriteError, match=r"records.csv \(File too large\)"):
        append_records(tmp_path, more)
    assert path.read_bytes() == before
    append_records(tmp_path, more)
    assert len(read_records(path)) == 5100


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "cannot write what was measured (No sp"),
        (OSError(errno.EROFS, "Read-only file system", "/a/b"), "no access to /a/b (Read-only"),
        (OSError(errno.EACCES, "Permission denied"), None),  # of what?
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "/a"), None),
        (RuntimeError("No space left on device"), None),
    ],
)
def test_trouble_with_the_disk_is_told_from_other_errors(
    error: Exception, sentence: str | None
) -> None:
    try:
        raise ValueError("what somebody made of it") from error
    except ValueError as outer:
        found = disk_trouble(outer)
    assert found is None if sentence is None else str(found).startswith(sentence)


def test_two_processes_do_not_share_the_file_on_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr(Path, "replace", lambda partial, _: seen.append(partial.name))
    for process in (1, 2):
        monkeypatch.setattr(os, "getpid", lambda number=process: number)
        write_whole(tmp_path / "a.txt", "x")
    assert len(set(seen)) == 2
