"""Entropy coding with compressai's rANS coder: symbols and table indexes in, strings out.

compressai's own wrapper turns its tables into Python lists again for every image. Here the lists
are made once per set of tables, and a :class:`Coder` is a plain, picklable object, so that worker
processes can code while the network goes on (:class:`CodingPool`).

Nothing here imports torch: a worker would take seconds and hundreds of megabytes for it.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import sys
import tempfile
import zlib
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

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

WORD_BYTES = 4
"""The rANS coder reads and writes words of 32 bits."""
MAX_SYMBOL = 1 << 26
"""Largest magnitude of a symbol that is coded. For values from 2**27 on compressai's encoder never
returns (its loop over the digits of an escape shifts by the width of the integer), and a latent
that is NaN becomes such a value."""
_STATE_BYTES = 8
_FEWEST_SYMBOLS = 3  # the encoder reserves one word per symbol, and writes a state of two
_LONGEST_SYMBOL_BITS = 16 + 4 * 9  # an escape, the number of its digits, eight digits
# What the decoder can read past the end of a string, see Coder.decode.
_BYTES_PER_STRING_BYTE = 16
_BYTES_PER_SYMBOL = 68


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
        _check_tables(cdfs, lengths, offsets)
        fingerprint = 0
        for array in (cdfs, lengths, offsets):
            fingerprint = zlib.crc32(array.tobytes(), fingerprint)
        # Without their padding: the coder copies all tables at every call.
        used = [row[:length].tolist() for row, length in zip(cdfs, lengths, strict=True)]
        return cls(used, lengths.tolist(), offsets.tolist(), fingerprint)

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
        low, high = int(symbols.min()), int(symbols.max())
        if low < -MAX_SYMBOL or high > MAX_SYMBOL:
            raise ValueError(
                f"symbols from {low} to {high} cannot be coded, only those within +-{MAX_SYMBOL}: "
                "is the image, or a weight, NaN or infinite?"
            )
        encoded: bytes = ans.RansEncoder().encode_with_indexes(
            symbols.ravel().tolist(), tables.ravel().tolist(), self.cdfs, self.lengths, self.offsets
        )
        return encoded

    def decode(self, string: bytes, tables: IntArray) -> IntArray:
        """The symbols of one image, in the shape of ``tables``.

        compressai's decoder does not know where a string ends. A string that was not made by
        :meth:`encode` with the same tables sends it beyond, into whatever memory lies there. So it
        gets zeros enough to read. How far it can go: a step (a symbol, or a digit of 4 bits) reads
        one word at most, and only when the state, 64 bits wide, has fallen below 31 bits; a symbol
        takes 16 bits off the state at most, a digit 4 bits, and nothing but a read adds any.

        - Every digit in the string announces at most 15 further ones, so what a string of n bytes
          holds and announces takes at most 16n bytes, 120 more for what the first state holds. (A
          first state below 31 bits makes each digit read a word, but then a word holds one digit.)
        - Of an escape among the zeros, at most 8 digits of its length can be 15 before the state is
          used up and zeros follow: 9 digits, which announce at most 120, 129 * 4 bits with them,
          and 16 for its symbol: 66.5 bytes.

        What comes of such a string is some array of integers, the same on every run;
        :class:`entres.bitstream.Bitstream` and the fingerprint are there to refuse it before.

        Raises:
            ValueError: if the string is no whole number of words, too short to hold a state, or
                longer than any that :meth:`encode` writes for so many symbols.
        """
        if len(string) % WORD_BYTES or len(string) < _STATE_BYTES:
            raise ValueError(
                f"a coded string has 8 bytes or more, a multiple of 4; this one has {len(string)}"
            )
        longest = _STATE_BYTES + tables.size * _LONGEST_SYMBOL_BITS // 8
        if len(string) > longest:
            raise ValueError(
                f"a coded string of {tables.size} symbols has at most {longest} bytes; this one "
                f"has {len(string)}"
            )
        symbols = ans.RansDecoder().decode_with_indexes(
            string.ljust(_readable_bytes(len(string), tables.size), b"\0"),
            tables.ravel().tolist(),
            self.cdfs,
            self.lengths,
            self.offsets,
        )
        return np.asarray(symbols, dtype=np.int64).astype(np.int32).reshape(tables.shape)


def _readable_bytes(string_bytes: int, symbols: int) -> int:
    """How far the decoder can read at most, the string included: see :meth:`Coder.decode`."""
    return (1 + _BYTES_PER_STRING_BYTE) * string_bytes + _BYTES_PER_SYMBOL * (symbols + 4)


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
    fingerprint = zlib.crc32(np.ascontiguousarray(tables).tobytes())
    for coder in coders:
        fingerprint = zlib.crc32(coder.fingerprint.to_bytes(4, "big"), fingerprint)
    return fingerprint


# --- worker processes ---------------------------------------------------------------------------

_worker_coders: tuple[Coder, ...] = ()


def _start_worker(file: str) -> None:
    global _worker_coders
    _worker_coders = pickle.loads(Path(file).read_bytes())


def _encode_and_verify(symbols: list[IntArray], tables: list[IntArray]) -> list[bytes]:
    return encode_verified(_worker_coders, symbols, tables)


def encode_verified(
    coders: Sequence[Coder], symbols: Sequence[IntArray], tables: Sequence[IntArray]
) -> list[bytes]:
    """Encode one image's symbols, one string per coder, and decode each string again.

    Raises:
        RuntimeError: if a string does not decode to what was encoded.
    """
    strings = []
    for coder, values, choice in zip(coders, symbols, tables, strict=True):
        string = coder.encode(values, choice)
        if not np.array_equal(coder.decode(string, choice), values):
            raise RuntimeError("a coded string does not decode to the symbols it was made from")
        strings.append(string)
    return strings


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on every system
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class CodingPool:
    """Worker processes that entropy-code images while the network goes on.

    The coder holds Python's global interpreter lock, so threads would give nothing.

    Args:
        coders: the coders of the strings of one image, in the order of the strings.
        workers: number of processes; 0 codes at once in this process; None takes one for every
            core but one, four at most.

    Raises:
        ValueError: if ``workers`` is negative.
    """

    def __init__(self, coders: Sequence[Coder], workers: int | None = None) -> None:
        if workers is None:
            workers = max(1, min(4, available_cores() - 1))
        if workers < 0:
            raise ValueError(f"workers must be >= 0 (0: in this process), got {workers}")
        self.coders = tuple(coders)
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._executor: ProcessPoolExecutor | None = None
        if workers:
            # Through a file: as an argument the tables would fill the pipe to a worker, and if it
            # died at its start (a script without a __main__ guard) nobody would ever read them.
            self._folder = tempfile.TemporaryDirectory(prefix="entres-")
            file = Path(self._folder.name) / "coders.pickle"
            file.write_bytes(pickle.dumps(self.coders))
            self._executor = ProcessPoolExecutor(
                workers,
                # A fork of a process with threads and a GPU may hang; a spawned one never does.
                mp_context=multiprocessing.get_context("spawn"),
                initializer=_start_worker,
                initargs=(str(file),),
            )

    def submit(self, symbols: list[IntArray], tables: list[IntArray]) -> Future[list[bytes]]:
        """Start coding one image: every string is encoded, decoded again and compared."""
        if self._executor is not None:
            return self._executor.submit(_encode_and_verify, symbols, tables)
        future: Future[list[bytes]] = Future()
        try:
            future.set_result(encode_verified(self.coders, symbols, tables))
        except Exception as error:  # delivered where the result is asked for, as by a real pool
            future.set_exception(error)
        return future

    def close(self) -> None:
        """Stop the workers."""
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)
        if self._folder is not None:
            self._folder.cleanup()
