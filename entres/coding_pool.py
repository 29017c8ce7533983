"""Worker processes that entropy-code images while the network goes on.

A worker imports :mod:`entres.coding` alone, and no torch.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from entres.coding import Coder, IntArray, encode_image

_worker_coders: tuple[Coder, ...] = ()


def _start_worker(file: str) -> None:
    global _worker_coders
    # A pool's worker waits for work, and would do so for ever if its parent was killed.
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _worker_coders = pickle.loads(Path(file).read_bytes())


def _end_with_parent() -> None:
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
        os._exit(0)


@contextmanager
def _ctrl_c_held() -> Iterator[None]:
    """Holds Ctrl-C back until the end; a process that is started meanwhile never gets it.

    The terminal sends it to all processes, and each worker would print a traceback. The parent
    ends them.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _encode(symbols: list[IntArray], tables: list[IntArray]) -> list[bytes]:
    return encode_image(_worker_coders, symbols, tables)


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
        """Start coding one image, one string per coder."""
        if self._executor is not None:
            with _ctrl_c_held():  # the first ones start the workers
                return self._executor.submit(_encode, symbols, tables)
        future: Future[list[bytes]] = Future()
        try:
            future.set_result(encode_image(self.coders, symbols, tables))
        except Exception as error:  # delivered where the result is asked for, as by a real pool
            future.set_exception(error)
        return future

    def close(self) -> None:
        """Stop the workers."""
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)
        if self._folder is not None:
            self._folder.cleanup()
