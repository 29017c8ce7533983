"""Entropy coding with compressai's rANS coder: symbols and table indexes in, strings out.

compressai's own wrapper turns its tables into Python lists again for every image. Here the lists
are made once per set of tables, and a :class:`Coder` is a plain, picklable object, so that worker
processes can code while the network goes on (:mod:`entres.coding_pool`).

Nothing here imports torch: a worker would take seconds and hundreds of megabytes for it.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from entres.coding_cost import (
    STATE_BYTES,
    WORD_BYTES,
    Law,
    coded_bits,
    escape_bits,
    longest_bytes,
    shortest_bytes,
)

if TYPE_CHECKING:
    import torch
    from compressai.entropy_models import EntropyModel


def _load_ans() -> Any:
    """``compressai.ans``, its rANS coder, without the package round it, which imports torch."""
    name = "compressai.ans"
    if name not in sys.modules:
        package = find_spec("compressai")
        if package is None:
            raise ModuleNotFoundError("No module named 'compressai'", name="compressai")
        spec = PathFinder.find_spec(name, package.submodule_search_locations)
        if spec is None or spec.loader is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        # Registered, so that compressai itself finds this one: it cannot be loaded twice.
        sys.modules[name] = module_from_spec(spec)
        try:
            spec.loader.exec_module(sys.modules[name])
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]


ans = _load_ans()

IntArray = npt.NDArray[np.int32]
FloatArray = npt.NDArray[np.float64]

MAX_SYMBOL = 1 << 20
"""Largest magnitude of a symbol that is coded or taken from a string: ten thousand times what an
image gives a trained student. compressai's encoder never returns for values from 2**27 on (its loop
over the digits of an escape shifts by the width of the integer), and a latent that is NaN becomes
such a value."""
_LEAST_STATE = 1 << 31
_END_OF_STATE = 1 << 63
_FEWEST_SYMBOLS = 3  # the encoder reserves one word per symbol, and writes a state of two
# What the decoder can read past the end of a string, see Coder.decode.
_LONGEST_RUN = 8  # words
_BYTES_OF_A_RUN = 15 * (8 * (_LONGEST_RUN + 2) + 16) // 2 + 128
_BYTES_PER_SYMBOL = 68
_CHUNK = 1 << 14
"""Symbols that are decoded at a time: the zeros for more would take longer to make than that."""


@dataclass(frozen=True)
class Coder:
    """One set of quantized cumulative distributions, and the coder that uses them.

    Attributes:
        cdfs: one quantized cumulative distribution per table, the escape symbol's entry included.
        lengths: entries of each.
        offsets: the symbol that stands at the first entry of each.
        fingerprint: CRC-32 of the three.
    """

    cdfs: list[list[int]]
    lengths: list[int]
    offsets: list[int]
    fingerprint: int = field(compare=False)

    @classmethod
    def from_model(cls, model: EntropyModel) -> Coder:
        """Take over the tables of a compressai entropy model whose ``update()`` has run.

        Raises:
            ValueError: if it has none, or they are no cumulative distributions: the coder trusts
                its tables blindly, and tables may come from a file.
        """
        if model.quantized_cdf.numel() == 0:
            raise ValueError("the entropy model has no tables: call update() before coding")
        cdfs, lengths, offsets = (
            t.cpu().numpy().astype(np.int32)
            for t in (model.quantized_cdf, model.cdf_length.flatten(), model.offset.flatten())
        )
        return cls.from_tables(cdfs, lengths, offsets)

    @classmethod
    def from_tables(cls, cdfs: IntArray, lengths: IntArray, offsets: IntArray) -> Coder:
        """Take over tables as a compressai entropy model holds them.

        Args:
            cdfs: int32, one row per table, behind whose entries may stand anything.
            lengths: int32, entries of each.
            offsets: int32, the symbol that stands at the first entry of each.

        Raises:
            ValueError: if they are no cumulative distributions.
        """
        _check_tables(cdfs, lengths, offsets)
        fingerprint = 0
        for array in (cdfs, lengths, offsets):
            fingerprint = zlib.crc32(array.tobytes(), fingerprint)
        # Without their padding: the coder copies all tables at every call.
        used = [row[:length].tolist() for row, length in zip(cdfs, lengths, strict=True)]
        return cls(used, lengths.tolist(), offsets.tolist(), fingerprint)

    @cached_property
    def law(self) -> Law:
        """What every symbol costs, as numpy arrays."""
        return Law.of_tables(self.cdfs, self.offsets)

    def costs(self, reach: int) -> FloatArray:
        """Bits of every symbol within +-reach under every table, shape (tables, 2 * reach + 1)."""
        symbols = np.arange(-reach, reach + 1, dtype=np.int64)
        tables = np.arange(len(self.cdfs), dtype=np.int64)[:, None]
        every = np.broadcast_to(symbols, (len(tables), len(symbols)))
        return np.asarray(coded_bits(self.law, every, tables))

    @cached_property
    def _least_and_most(self) -> tuple[FloatArray, FloatArray]:
        """Bits that the cheapest and the dearest symbol of each table take."""
        reach = 2 * (MAX_SYMBOL + max(map(abs, self.offsets)) + max(self.lengths))
        costs = np.split(self.law.bits, self.law.starts[1:])
        escape = escape_bits(len(f"{reach:x}"))
        most = [max(cost[:-1].max(), cost[-1] + escape) for cost in costs]
        return np.array([cost.min() for cost in costs]), np.array(most)

    def check_length(self, length: int, counts: npt.NDArray[Any]) -> None:
        """Refuse a string shorter or longer than any of so many symbols of each table.

        It costs nothing but a sum over the tables, whatever size a string announces.

        Args:
            length: bytes of the string.
            counts: symbols of each table, shape (tables,).

        Raises:
            ValueError: if no encoder writes such a string; the message says what it would write.
        """
        if length % WORD_BYTES or length < STATE_BYTES:
            raise ValueError(
                f"a coded string has 8 bytes or more, a multiple of 4; this one has {length}"
            )
        least, most = (float(counts @ bits) for bits in self._least_and_most)
        shortest, longest = shortest_bytes(least), longest_bytes(most)
        if not shortest <= length <= longest:
            bound = f"at least {shortest}" if length < shortest else f"at most {longest}"
            raise ValueError(
                f"a coded string of {int(counts.sum())} symbols has {bound} bytes; this one has "
                f"{length}"
            )

    def encode(self, symbols: IntArray, tables: IntArray) -> bytes:
        """Code the symbols of one image.

        Args:
            symbols: integers, any shape.
            tables: the table of each symbol, the same shape, in ``[0, len(self.cdfs))``.

        Returns:
            The string; its length is a multiple of 4 bytes.

        Raises:
            ValueError: if there are fewer than 3 symbols, or one is beyond :data:`MAX_SYMBOL`:
                compressai's encoder would write beyond its memory, or never return.
        """
        if symbols.size < _FEWEST_SYMBOLS:
            raise ValueError(
                f"the coder needs {_FEWEST_SYMBOLS} symbols or more, got {symbols.size}"
            )
        # Not np.abs, which leaves the smallest int32, to which NaN is cast, negative.
        check_symbols(int(symbols.min()), int(symbols.max()))
        encoded: bytes = ans.RansEncoder().encode_with_indexes(
            symbols.ravel().tolist(), _as_list(tables), *self._used(tables)
        )
        return encoded

    def _used(self, tables: IntArray) -> tuple[list[list[int]], list[int], list[int]]:
        """The tables up to the last in use: the coder copies at every call what it is given."""
        end = int(tables.max()) + 1
        return self.cdfs[:end], self.lengths[:end], self.offsets[:end]

    def decode(self, string: bytes, tables: IntArray) -> IntArray:
        """The symbols of one image, in the shape of ``tables``.

        compressai's decoder does not know where a string ends, and a string that was not made by
        :meth:`encode` with the same tables would send it beyond, into whatever memory lies there.
        Five things together keep it inside, whatever the string is:

        - No string shorter or longer than any of such symbols reaches it.
        - A first state outside of [2**31, 2**63) is refused. From one inside, every later state
          is inside too, so that what is read is what is taken: a symbol takes 16 bits at most, a
          digit 4, and a word of 32 bits is read only when so many are gone.
        - A string with a long run of ones is refused. Only digits of 15, one after the other, make
          an escape announce more than 15 digits, and but for the 16 digits that the state holds at
          its ends such a run is whole words of ones. An encoder announces 8 digits at most, and
          codes no 256 ones on end but by a chance of 2**-256.
        - It gets zeros enough to read. The last escape of the string announces at most 15 digits
          for each of such a run. Of an escape among the zeros, at most 8 digits of its length can
          be 15 before the state is used up and zeros follow: 9 digits, which announce at most 120,
          129 * 4 bits with them, and 16 for its symbol: 66.5 bytes.
        - A part of the symbols is decoded at a time, and the exact cost of what came
          (:func:`entres.coding_cost.coded_bits`) says whether the string has ended: so the zeros
          need only be enough for one part.

        At the end the cost must be the string's length, or no encoder wrote it.

        Raises:
            ValueError: if no encoder wrote this string for such tables; the message says why.
        """
        flat = tables.ravel()
        self.check_length(len(string), np.bincount(flat, minlength=len(self.cdfs)))
        low, high = np.frombuffer(string, dtype=np.uint32, count=2).tolist()
        state = low | high << 32
        if not _LEAST_STATE <= state < _END_OF_STATE:
            raise ValueError(f"no coded string begins with the state {state}")
        if _longest_run_of_ones(string) > _LONGEST_RUN:
            raise ValueError(
                f"a coded string holds no more than {_LONGEST_RUN} words of ones on end; this one "
                "does"
            )
        decoder = ans.RansDecoder()
        decoder.set_stream(
            string.ljust(_readable_bytes(len(string), min(flat.size, _CHUNK)), b"\0")
        )
        symbols = np.empty(flat.size, dtype=np.int32)
        bits = 0.0
        for start in range(0, flat.size, _CHUNK):
            choice = flat[start : start + _CHUNK]
            decoded = np.array(
                decoder.decode_stream(choice.tolist(), *self._used(choice)), dtype=np.int64
            )
            if decoded.min() < -MAX_SYMBOL or decoded.max() > MAX_SYMBOL:
                raise ValueError(
                    f"the coded string holds symbols from {decoded.min()} to {decoded.max()}; an "
                    f"encoder writes those within +-{MAX_SYMBOL}"
                )
            symbols[start : start + _CHUNK] = decoded
            bits += float(coded_bits(self.law, decoded, choice.astype(np.int64)).sum())
            if shortest_bytes(bits) > len(string):
                raise ValueError("the coded string ends before its symbols do")
        if longest_bytes(bits) < len(string):
            raise ValueError("the coded string goes on after its symbols")
        return symbols.reshape(tables.shape)


def check_symbols(low: float, high: float) -> None:
    """Refuse symbols from ``low`` to ``high`` with a ValueError if they cannot be coded."""
    if not (low >= -MAX_SYMBOL and high <= MAX_SYMBOL):  # NaN is neither
        raise ValueError(
            f"symbols from {low:g} to {high:g} cannot be coded, only those within +-{MAX_SYMBOL}: "
            "is the image, or a weight, NaN or infinite?"
        )


def _as_list(tables: IntArray) -> list[int]:
    """The tables of an image as the coder wants them."""
    if tables.ndim != 3 or tables.strides[1:] != (0, 0):
        flat: list[int] = tables.ravel().tolist()
        return flat
    area = tables.shape[1] * tables.shape[2]  # one table for each channel: quicker without numpy
    return [table for channel in tables[:, 0, 0].tolist() for table in [channel] * area]


def _readable_bytes(length: int, symbols: int) -> int:
    """How far the decoder can read at most, the string included: see :meth:`Coder.decode`."""
    return length + _BYTES_OF_A_RUN + _BYTES_PER_SYMBOL * (symbols + 4)


def _longest_run_of_ones(string: bytes) -> int:
    """Most words on end of which all 32 bits are set."""
    other = np.flatnonzero(np.frombuffer(string, dtype=np.uint32) != 0xFFFFFFFF)
    ends = np.concatenate(([-1], other, [len(string) // WORD_BYTES]))
    return int(np.diff(ends).max()) - 1


def _check_tables(cdfs: IntArray, lengths: IntArray, offsets: IntArray) -> None:
    """Refuse tables with which the coder would read beyond them or divide by zero."""
    if cdfs.ndim != 2 or not len(cdfs) == len(lengths) == len(offsets):
        raise ValueError(
            f"the tables do not belong together: cumulative distributions {cdfs.shape}, "
            f"{len(lengths)} lengths, {len(offsets)} offsets"
        )
    for number, (cdf, length) in enumerate(zip(cdfs, lengths, strict=True)):
        # The last entry's symbol is the escape, so the shortest table has one symbol beside it.
        if not 3 <= length <= len(cdf):
            raise ValueError(f"table {number} announces {length} of its {len(cdf)} entries")
        used = cdf[:length]
        if used[0] != 0 or used[-1] != 1 << 16 or (np.diff(used) <= 0).any():
            raise ValueError(f"table {number} does not rise from 0 to 65536")


def as_array(tensor: torch.Tensor) -> IntArray:
    """An integer tensor of any device as a numpy array for the coder."""
    array: IntArray = tensor.detach().cpu().int().numpy()
    return array


def tables_fingerprint(coders: Sequence[Coder], tables: IntArray) -> int:
    """What a header carries: the CRC-32 of all tables in use and of the choice among them.

    For the hyperprior the choice is computed from z by a network, on both sides. If the two sides
    round differently the strings would decode to noise; this fingerprint makes that visible.
    """
    fingerprint = 0
    for part in tables:  # one channel at a time: a view of one number each takes no memory
        fingerprint = zlib.crc32(np.ascontiguousarray(part).tobytes(), fingerprint)
    for coder in coders:
        fingerprint = zlib.crc32(coder.fingerprint.to_bytes(4, "big"), fingerprint)
    return fingerprint


def subset_with_xor(changes: Sequence[int], wanted: int) -> list[int] | None:
    """Which of the changes give the wanted number, joined by exclusive or; fewest from the front.

    A CRC is linear: what altering several places does to it is the exclusive or of what altering
    each does. So the places where a sender chose otherwise can be told from its fingerprint.

    Returns:
        Positions in ``changes``; none of them if ``wanted`` is 0; None if no subset does.
    """
    rows: dict[int, tuple[int, set[int]]] = {}  # by highest bit: a number, and what it is made of

    def reduced(value: int, parts: set[int]) -> tuple[int, set[int]]:
        while value and value.bit_length() in rows:
            other, made_of = rows[value.bit_length()]
            value, parts = value ^ other, parts ^ made_of
        return value, parts

    for position in range(len(changes) + 1):
        value, parts = reduced(wanted, set())
        if not value:
            return sorted(parts)
        if position < len(changes):
            value, parts = reduced(changes[position], {position})
            if value:
                rows[value.bit_length()] = (value, parts)
    return None


def encode_image(
    coders: Sequence[Coder], symbols: Sequence[IntArray], tables: Sequence[IntArray]
) -> list[bytes]:
    """The strings of one image, one per coder."""
    return [c.encode(s, t) for c, s, t in zip(coders, symbols, tables, strict=True)]
