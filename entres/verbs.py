"""The verbs of the command line that are not training; each is a function with typed arguments."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from entres.report.results import read_summary
from entres.report.table import show_results


def results(out: str = "runs") -> None:
    """Print every result under a folder as one table.

    Args:
        out: folder of all runs, or one of them.

    Raises:
        SystemExit: if there is none.
    """
    files = sorted(Path(out).glob("**/eval/*/summary.json"))
    if not files:
        raise SystemExit(f"no results under {out}: make eval-clean writes some")
    rows = [row for file in files for row in read_summary(file)]
    show_results(sorted(rows, key=lambda r: (r.backbone, r.codec or "", r.beta or 0)), files)


VERBS: dict[str, Callable[..., None]] = {"results": results}
