"""Errors whose sentence says what to do about them."""

from __future__ import annotations


class EntresError(Exception):
    """Something that a user can mend: the message is one sentence that says how.

    The command line prints it without a traceback. Each room has a class of its own, which derives
    from this one and from the built-in error that a program expects there.
    """


class WeightsError(EntresError, RuntimeError):
    """Weights that cannot be had, read or used."""
