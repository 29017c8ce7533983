"""The command line: verbs, and the single lines ``fit`` and ``test`` that they come to."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from entres import __version__, configs
from entres.errors import EntresError
from entres.experiment import options
from entres.verbs import GROUPS, VERBS
from entres.verbs.parser import UsageError, read, summary

LINES = {
    "fit": "one stage of a training (LightningCLI; --help lists every setting)",
    "test": "one evaluation of a student (likewise)",
}
MATRIX_VARIABLES = ("matrix", "phase", "cell", "slurm", "sweep", "betas", "codecs", "backbones")
INTERRUPTED = 130
"""Exit code of a program that Ctrl-C ended, in a shell."""


def main(args: Sequence[str] | None = None) -> None:
    """Entry point of ``entres``.

    Raises:
        SystemExit: with 1 and a sentence where the user can mend what is wrong.
    """
    words = list(sys.argv[1:] if args is None else args)
    try:
        _main(words)
    except EntresError as error:
        raise SystemExit(f"entres: {error}") from error
    except KeyboardInterrupt:
        print("entres: stopped; what is written stays", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None
    except BrokenPipeError:  # `entres results | head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _main(words: list[str]) -> None:
    if not words or words[0] in ("-h", "--help", "help"):
        print(_help())
        return
    if words[0] == "--version":
        print(f"entres {__version__}")
        return
    verb, *rest = words
    if verb in LINES:
        from entres.lightning_cli import run_line  # all that is heavy comes with it

        run_line(words)
        return
    if verb not in VERBS:
        raise UsageError(configs.unknown("verb", verb, [*VERBS, *LINES]))
    # Variables of make that other targets have: `make report DATA=imagenet` is no mistake.
    call = read(verb, VERBS[verb], rest, (*options(), *MATRIX_VARIABLES))
    call()


def _help() -> str:
    width = max(map(len, [*VERBS, *LINES])) + 2
    lines = [
        "usage: entres VERB [--FLAG VALUE ...]     entres VERB --help lists its flags",
        "",
        "Train, measure, attack and defend split networks whose bitstream has a variable length.",
        "`make VERB NAME=value` in a clone is `entres VERB --name value`.",
    ]
    for group, verbs in GROUPS.items():
        lines += ["", f"{group}:"]
        lines += [f"  {name:{width}}{summary(verb)}" for name, verb in verbs.items()]
    lines += ["", "single lines:"]
    lines += [f"  {name:{width}}{about}" for name, about in LINES.items()]
    return "\n".join(lines)
