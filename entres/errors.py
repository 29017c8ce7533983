"""Errors whose sentence says what to do about them."""

from __future__ import annotations


class EntresError(Exception):
    """Something that a user can mend: the message is one sentence that says how.

    The command line prints it without a traceback. Each room has a class of its own, which derives
    from this one and from the built-in error that a program expects there.
    """


def reason_of(error: BaseException) -> str:
    """What went wrong, in a few words: those of the error without what only Python calls so."""
    if isinstance(error, FileNotFoundError):
        return "it is not there"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    if isinstance(error, KeyError):
        return f"it has no {error}"
    return " ".join(str(error).split()) or type(error).__name__


class WeightsError(EntresError, RuntimeError):
    """Weights that cannot be had, read or used."""
