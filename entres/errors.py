"""The error whose sentence a user reads."""

from __future__ import annotations


class EntresError(Exception):
    """Something that the user can mend; the message is a sentence that says how.

    The command line prints the sentence and ends with 1; a traceback would bury it.
    """
