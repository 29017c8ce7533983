"""Files that are written whole or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from entres.errors import EntresError

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""A disk, a quota or a limit on the size of a file that is used up."""
REFUSED = {
    *(errno.EACCES, errno.EPERM, errno.EROFS),
    *(errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.EIO),
}
"""A place where nothing can be written, or not by this user."""
GOES_ON = "what was written before stays, and the same command goes on from there"


class WriteError(EntresError, OSError):
    """A file that cannot be written, such as on a full disk."""


def write_whole(path: str | Path, content: str | bytes | memoryview) -> Path:
    """Write a file at once: a reader sees the old one or the new one, never half of one.

    Folders that are missing are made. What fails on the way, such as a full disk, leaves the old
    file as it was and nothing beside it.

    Args:
        path: of the file.
        content: bytes as they are, text as UTF-8.

    Returns:
        The path.

    Raises:
        WriteError: if it cannot be written; the sentence says why.
    """
    path = Path(path)
    # Of this process: two that write one file must not write into each other's.
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            partial.write_bytes(content.encode() if isinstance(content, str) else content)
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise WriteError(f"cannot write {path} ({error.strerror or error}): {GOES_ON}") from error
    return path


def disk_trouble(error: BaseException) -> str | None:
    """The sentence for an error that the disk is the cause of; None for any other.

    For what others write, such as loggers; :func:`write_whole` says it itself.
    """
    seen: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in seen:
        if isinstance(cause, OSError):
            if cause.errno in FULL:
                what = cause.filename or "what was measured"
                return f"cannot write {what} ({cause.strerror}): {GOES_ON}"
            if cause.errno in REFUSED and cause.filename:
                return f"no access to {cause.filename} ({cause.strerror}): {GOES_ON}"
        seen.append(cause)
        cause = cause.__cause__ or cause.__context__
    return None
