"""Memory is kept where glibc is, and left alone where the environment says how."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, torch
from entres.memory import keep_freed_memory
kept = keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def step():
    torch.ones(16 << 20).sum()  # 64 MiB
for _ in range(20):  # until every block has found its place
    step()
before = faults()
for _ in range(20):
    step()
print(kept, faults() - before)
"""


def run(**more: str) -> tuple[str, int]:
    """Whether memory was kept, and how often the system was asked for a page."""
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "LD_PRELOAD"))}
    environment = {**plain, **more, "OMP_NUM_THREADS": "1"}
    line = [sys.executable, "-c", PROGRAM]
    said = subprocess.run(line, env=environment, capture_output=True, text=True, check=True).stdout
    kept, faults = said.split()
    return kept, int(faults)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_what_a_step_freed_is_there_for_the_next() -> None:
    kept, few = run()
    told_otherwise, many = run(MALLOC_ARENA_MAX="4")
    assert (kept, told_otherwise) == ("True", "False")
    assert few < many / 4
