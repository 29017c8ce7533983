"""What symbols cost in a string of compressai's rANS coder, and so how long the string is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

WORD_BYTES = 4
"""The rANS coder reads and writes words of 32 bits."""
STATE_BYTES = 8
"""Of the last state of the coder, with which a string begins: two words."""
_PRECISION = 16  # bits of a cumulative distribution
_DIGIT_BITS = 4  # of what stands behind an escape
_DRIFT = 2.0**-14
"""Most that the coder's divisions add to or take from a string, per bit of it: a step changes a
state of 2**31 or more by less than its own cost times 2**16."""


class Law(NamedTuple):
    """What every symbol costs, as arrays that :func:`coded_bits` looks up.

    Attributes:
        starts: where the entries of each table begin in ``bits``.
        last: the entry of each table's escape.
        offsets: the symbol that stands at the first entry of each table.
        bits: 16 - log2(frequency) of every entry of every table, one after the other.
    """

    starts: Any
    last: Any
    offsets: Any
    bits: Any

    @classmethod
    def of_tables(cls, cdfs: Sequence[Sequence[int]], offsets: Sequence[int]) -> Law:
        """That of the quantized cumulative distributions of a coder, as numpy arrays.

        Args:
            cdfs: one per table, the escape symbol's entry included, without padding.
            offsets: the symbol that stands at the first entry of each.
        """
        entries = [np.diff(cdf) for cdf in cdfs]
        lengths = [len(of_table) for of_table in entries]
        return cls(
            np.cumsum([0, *lengths[:-1]]).astype(np.int64),
            np.array(lengths, dtype=np.int64) - 1,
            np.array(offsets, dtype=np.int64),
            _PRECISION - np.log2(np.concatenate(entries)),
        )


def coded_bits(law: Law, symbols: Any, tables: Any) -> Any:
    """What every symbol takes in its string, escapes included.

    compressai's coder writes 16 - log2(frequency) bits for a symbol, with the quantized frequencies
    of its table. One outside of its table takes those of the table's last entry, then the number of
    its hexadecimal digits n in unary steps of 15, and the digits, 4 bits each.

    Args:
        law: of the coder, as numpy arrays or as tensors of one device.
        symbols: integers of 64 bits, of the same library, any shape.
        tables: their tables, integers of 64 bits; their shape broadcasts to that of the symbols.

    Returns:
        Bits, float64, the shape of ``symbols``.
    """
    last = law.last[tables]
    values = symbols - law.offsets[tables]
    escaped = (values < 0) | (values >= last)
    # Without a where: the same line for both libraries.
    bits = law.bits[law.starts[tables] + (last * escaped + values * ~escaped)]
    if escaped.any():
        beyond = (values - last)[escaped]
        below = values[escaped]
        raw = (below < 0) * (-2 * below - 1) + (below >= 0) * (2 * beyond)
        digits = sum((raw >= 16**n) * 1 for n in range(16))
        bits[escaped] += escape_bits(digits)
    return bits


def escape_bits(digits: Any) -> Any:
    """Bits that stand behind an escape: the number of hexadecimal digits, and the digits."""
    return _DIGIT_BITS * (1 + digits // 15 + digits)


def string_bytes(bits: float, slack: float = 0.0) -> int:
    """Length in bytes of a string of so many bits: a state, and the words that were full."""
    return STATE_BYTES + WORD_BYTES * int((bits + slack) // 32)


def doubtful_bytes(bits: float) -> bool:
    """Whether the coder's own rounding may move the length of a string of so many bits.

    It adds up at random to less than 0.001 bit over an image; one in 500 strings is within this.
    """
    return string_bytes(bits, -1 / 32) != string_bytes(bits, 1 / 32)


def shortest_bytes(bits: float) -> int:
    """The least that :func:`string_bytes` can be, however the coder rounds at every step."""
    return string_bytes(bits, -_drift(bits))


def longest_bytes(bits: float) -> int:
    """The most that :func:`string_bytes` can be, however the coder rounds at every step."""
    return string_bytes(bits, _drift(bits))


def _drift(bits: float) -> float:
    return 1 / 32 + bits * _DRIFT
