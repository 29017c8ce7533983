"""Every benchmark in order, and one table of ratios in the end.

    python -m benchmarks            # make bench
    python -m benchmarks --quick    # make bench-quick

Each can be called by itself, with more flags: ``python -m benchmarks.coding --help``. Streams that
are hostile (``make fuzz``) and kills (``make kill-test``) are tests of their own.
"""

from __future__ import annotations

import argparse
import logging
import time
import warnings
from collections.abc import Iterator, Sequence

from benchmarks import attacks, coding, corruptions, curves, defenses, evaluation, training
from benchmarks.timing import Timed, add_student
from entres.errors import EntresError
from entres.experiment.stamps import duration, machine, versions

QUICK = {
    "coding": ["--repeats", "3"],
    "attacks": ["--repeats", "1", "--side", "96"],
    "defenses": ["--images", "2", "--size", "96", "--batch", "2", "--repeats", "1"],
    "corruptions": ["--severities", "3"],
    "evaluation": ["--per_class", "1", "--repeats", "1"],
    "training": ["--batch", "2", "--side", "64", "--steps", "2", "--repeats", "1"],
    "curves": ["--repeats", "1", "--quick"],
}
NORMAL = {
    "coding": [],
    "attacks": ["--repeats", "2", "--published"],
    "defenses": ["--images", "8", "--repeats", "2"],
    "corruptions": [],
    "evaluation": [],
    "training": [],
    "curves": [],
}
MODULES = (coding, attacks, defenses, corruptions, evaluation, training)
OF_A_STUDENT = {"coding", "attacks", "evaluation", "training"}


def ratios(tables: Sequence[Timed]) -> Iterator[str]:
    """The lines of one table in Markdown of all that was timed."""
    yield "| what | way | s | unit | times as fast as the first | times the floor's seconds |"
    yield "|---|---|---|---|---|---|"
    for table in tables:
        first = next(iter(table.seconds.values()))
        for name, seconds in table.seconds.items():
            floor = "-" if table.floor is None else f"{seconds / table.floor:.2f}"
            cells = (table.title, name, f"{seconds:.3g}", table.unit)
            yield f"| {' | '.join(cells)} | {first / seconds:.2f} | {floor} |"


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_student(parser)
    parser.add_argument("--quick", action="store_true", help="small and few: that all of it runs")
    arguments = parser.parse_args(words)
    # Lightning's counsel on loaders and logs is no result.
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    flags = QUICK if arguments.quick else NORMAL
    tables: list[Timed] = []
    started = time.monotonic()
    for module in MODULES:
        name = module.__name__.rpartition(".")[2]
        print(f"\n## {name}\n", flush=True)
        given = [arguments.student] if name in OF_A_STUDENT else []
        tables += module.main([*given, *flags[name]])
    print("\n## curves\n", flush=True)
    lines = curves.main([arguments.student, *flags["curves"]])
    print("\n## all ratios\n")
    print(*ratios(tables), sep="\n")
    faster = sum("**" in line for line in lines)
    print(f"\n{len(lines)} curves, {faster} of them grow faster than their work")
    known = ", ".join(f"{name} {version}" for name, version in versions().items())
    print(f"{machine()}; {known}; {duration(time.monotonic() - started)}")


if __name__ == "__main__":
    try:
        main()
    except EntresError as error:
        raise SystemExit(f"benchmarks: {error}") from error
