"""Kills at random moments: what is there in the end is what an undisturbed run leaves.

    python -m benchmarks.kills --kills 20

A training, an evaluation, a matrix and a report on the embedded photos, each first undisturbed.
Then the same command is killed (SIGKILL, with all its processes) at a random moment of that time,
and called again, to be killed again or to end. Whenever one ends, its weights must be the
undisturbed run's bit for bit, and its results and tables, too; what was finished before a kill must
be there after it. Anything else ends the test with an error. What a kill costs is time: the table
says how much.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from entres.experiment.stamps import machine
from entres.results import is_whole, read_summary

ROOT = Path(__file__).parents[1]
SIZES = "--data.image_size 32 --data.eval_limit_per_class 2"
TRAINING = f"{SIZES} --data.limit_per_class 8 --data.batch_size 8"
ATTACKED = SIZES.replace("--data.", "--data.data.")
PATIENCE = 20
"""A call that takes so many times as long as the undisturbed one hangs."""
MATRIX = f"""
experiment: {{data: photos, backbone: test_resnet, epochs: 4, extra: "{TRAINING}"}}
phases:
  preparation:
    - target: prepare
  training:
    - target: train
      over: {{codec: [fp]}}
  evaluation:
    - target: eval-clean
      over: {{codec: [fp]}}
      with: {{extra: "{SIZES}"}}
    - target: eval-attacks
      over: {{codec: [fp]}}
      with: {{extra: "{ATTACKED}", attack: [noise, pgd_e], steps: 3, epsilons: 8}}
"""


class KillError(Exception):
    """What a kill must not do."""


@dataclass(frozen=True)
class Kind:
    """A command that is killed.

    Attributes:
        name: what it is.
        words: what follows ``entres``.
        after: name of the kind whose undisturbed run it starts from; None: from nothing.
        share: of all kills.
    """

    name: str
    words: tuple[str, ...]
    after: str | None
    share: float


KINDS = (
    Kind("training", ("train", "--epochs", "8", "--extra", TRAINING), None, 0.3),
    Kind(
        "evaluation",
        (
            *("eval-attacks", "--epochs", "8", "--attack", "noise pgd_e", "--epsilons", "4 8 16"),
            *("--steps", "20", "--extra", ATTACKED),
            *("--student", "runs/photos/test_resnet-mshp-beta0.08-joint/student.safetensors"),
        ),
        "training",
        0.25,
    ),
    Kind("matrix", ("reproduce", "--matrix", "tiny.yaml"), None, 0.25),
    Kind("report", ("report",), "evaluation", 0.2),
)


@dataclass
class Account:
    """What became of the kills of one kind.

    Attributes:
        undisturbed: seconds of the undisturbed call.
        kills: how many there were.
        runs: how many ended after kills, all of them as the undisturbed one.
        again: seconds that the calls of those runs took beyond the undisturbed one's, together.
        kept: files that were finished before a kill, together.
        litter: files on the way that kills left behind.
    """

    undisturbed: float
    kills: int = 0
    runs: int = 0
    again: float = 0.0
    kept: int = 0
    litter: int = 0


# --- what is compared -----------------------------------------------------------------------------


def content(path: Path) -> str:
    """A digest of a file; of results without the clocks."""
    data = path.read_bytes()
    if path.name == "summary.json":
        rows = [{k: v for k, v in row.items() if k != "seconds"} for row in json.loads(data)]
        data = json.dumps(rows).encode()
    return hashlib.sha256(data).hexdigest()


def finished(folder: Path) -> dict[str, str]:
    """Digests of the weights, results and tables that are finished, by path within a folder.

    Raises:
        KillError: if one of them is not whole.
    """
    found = {}
    for path in _results(folder):
        try:
            if path.name == "summary.json" and not is_whole(read_summary(path)):
                continue
            found[str(path.relative_to(folder))] = content(path)
            if path.name == "summary.json":
                records = path.with_name("records.csv")
                found[str(records.relative_to(folder))] = content(records)
        except (OSError, ValueError) as error:
            raise KillError(f"half a file: {path} ({error})") from error
    return found


def _results(folder: Path) -> Iterator[Path]:
    yield from sorted(folder.glob("**/*.safetensors"))
    yield from sorted(folder.glob("**/eval/*/summary.json"))
    for suffix in ("csv", "md", "tex"):
        yield from sorted(folder.glob(f"**/report/**/*.{suffix}"))


def differences(there: Mapping[str, str], expected: Mapping[str, str]) -> list[str]:
    """Files that are missing, other ones or not expected, each with what is wrong."""
    missing = [f"{name} is missing" for name in expected.keys() - there.keys()]
    more = [f"{name} was not expected" for name in there.keys() - expected.keys()]
    other = [
        f"{n} is another one" for n in there.keys() & expected.keys() if there[n] != expected[n]
    ]
    return sorted([*missing, *more, *other])


# --- calls ----------------------------------------------------------------------------------------


def call(kind: Kind, folder: Path, seconds: float, kill: bool) -> tuple[bool, float]:
    """Run a command in a folder.

    Args:
        kind: the command.
        folder: where it runs.
        seconds: when it is killed, or when it counts as hanging.
        kill: which of the two.

    Returns:
        Whether it was killed, and the seconds that it ran.

    Raises:
        KillError: if it failed or hung.
    """
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "CUDA_VISIBLE_DEVICES": "",  # bit for bit: on a CPU only
        "OMP_NUM_THREADS": "1",
        "WANDB_MODE": "disabled",
    }
    started = time.monotonic()
    with (folder / "said.log").open("a") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "entres", *kind.words],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if not kill:
                raise KillError(f"{kind.name} hangs: see {folder}/said.log") from None
            return True, time.monotonic() - started
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    if code:
        raise KillError(f"{kind.name} ended with exit code {code}: see {folder}/said.log")
    return False, time.monotonic() - started


def fresh(folder: Path, start: Path | None) -> Path:
    """A folder to run in, which holds what another run has left."""
    if start is None:
        folder.mkdir(parents=True)
    else:
        shutil.copytree(start, folder)
    (folder / "tiny.yaml").write_text(MATRIX)
    (folder / "said.log").write_text("")
    return folder


def with_kills(kind: Kind, work: Path, kills: int, rng: random.Random) -> Account:
    """Kill a command so many times, and compare every run that ends.

    Raises:
        KillError: if a kill has lost or changed anything.
    """
    start = None if kind.after is None else work / kind.after
    whole = fresh(work / kind.name, start)
    print(f"{kind.name}: entres {shlex.join(kind.words)}", flush=True)
    _, seconds = call(kind, whole, 3600, kill=False)
    expected = finished(whole)
    account = Account(seconds)
    print(f"{kind.name}: undisturbed in {seconds:.0f} s, {len(expected)} files", flush=True)
    while account.kills < kills:
        folder = fresh(work / f"{kind.name}-{account.runs + 1}", start)
        spent, killed = 0.0, True
        while killed:
            kill = account.kills < kills
            limit = rng.uniform(0, seconds) if kill else PATIENCE * seconds + 60
            before = finished(folder)
            killed, took = call(kind, folder, limit, kill)
            there = finished(folder)
            lost = [f"{name} was finished" for name in before if there.get(name) != before[name]]
            if lost:
                raise KillError(f"{kind.name} lost: {'; '.join(lost)}: see {folder}")
            spent += took
            account.kills += killed
            account.kept += len(there) if killed else 0
            state = f"killed after {took:.1f} s" if killed else f"ended after {took:.1f} s"
            print(f"{kind.name}: {state}, {len(there)} files finished", flush=True)
        if wrong := differences(finished(folder), expected):
            raise KillError(f"{kind.name} ended otherwise: {'; '.join(wrong)}: see {folder}")
        account.runs += 1
        account.again += spent - seconds
        account.litter += len(list(folder.glob("**/*.partial")))
    return account


def shares(kills: int) -> dict[str, int]:
    """How many of all kills each kind gets: whole numbers whose sum is that of all."""
    given = {kind.name: int(kind.share * kills) for kind in KINDS}
    for kind in KINDS[: kills - sum(given.values())]:
        given[kind.name] += 1
    return given


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--folder", type=Path, help="to work in, kept (default: one that is not)")
    arguments = parser.parse_args()
    if arguments.kills < 1:
        parser.error(f"--kills must be >= 1, got {arguments.kills}")
    if arguments.folder is not None and arguments.folder.exists():
        parser.error(f"--folder {arguments.folder} is there already: name one that is not")
    work = arguments.folder or Path(tempfile.mkdtemp(prefix="entres-kills-"))
    rng = random.Random(arguments.seed)
    try:
        accounts = {
            kind.name: with_kills(kind, work, shares(arguments.kills)[kind.name], rng)
            for kind in KINDS
        }
    except KillError as error:  # what there is to see stays
        raise SystemExit(f"kill test: {error}") from error
    if arguments.folder is None:
        shutil.rmtree(work)
    print(f"\n{machine()}\n")
    print("| killed | kills | runs that ended, each as undisturbed | undisturbed, s |", end="")
    print(" time lost a kill, s | finished files, all kept | files on the way left |")
    print("|---|---|---|---|---|---|---|")
    for name, a in accounts.items():
        lost = a.again / a.kills if a.kills else 0.0
        print(f"| {name} | {a.kills} | {a.runs} | {a.undisturbed:.0f} |", end="")
        print(f" {lost:.1f} | {a.kept} | {a.litter} |")
    print(f"\n{sum(a.kills for a in accounts.values())} kills, nothing lost but time")


if __name__ == "__main__":
    main()
