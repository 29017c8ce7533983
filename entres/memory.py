"""Memory that a program gives back and takes again in every step."""

from __future__ import annotations

import ctypes
import os
import platform

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Of glibc's ``mallopt``."""
LARGEST_BLOCK = 1 << 30
MOST_KEPT = (1 << 31) - 1


def keep_freed_memory() -> bool:
    """Let the C library keep what tensors of a step have freed, for those of the next.

    glibc asks the system for every block above some size and gives it back at once; the system
    hands it out again page by page, each of them zeroed. A network on a processor frees and takes
    blocks of the same sizes in every step: a fifth of the time of an attack went into that
    (docs/benchmarks.md). The price: up to all that the program held at its peak may stay with it
    until it ends.

    Returns:
        Whether it was done: not where there is another C library, nor where the environment says
        how memory is to be handled (``MALLOC_...``, ``GLIBC_TUNABLES``, ``LD_PRELOAD``).
    """
    told = any(name.startswith(("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD")) for name in os.environ)
    if told or platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL("libc.so.6").mallopt
    return bool(mallopt(MMAP_THRESHOLD, LARGEST_BLOCK)) and bool(mallopt(TRIM_THRESHOLD, MOST_KEPT))
