"""The command line: verbs, and the single lines ``fit`` and ``test`` that they come to."""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

from entres import __version__, configs
from entres.errors import EntresError
from entres.experiment import options
from entres.files import disk_trouble
from entres.memory import keep_freed_memory
from entres.verbs import GROUPS, VERBS
from entres.verbs.parser import UsageError, read, summary

LINES = {
    "fit": "one stage of a training (LightningCLI; --help lists every setting)",
    "test": "one evaluation of a student (likewise)",
}
MATRIX_VARIABLES = ("matrix", "phase", "cell", "slurm", "sweep", "betas", "codecs", "backbones")
SOON = 0.05
"""Seconds after which a signal is raised again that came where nothing can be."""
SIGNALLED = 128
"""A program that a signal ended has this and the signal's number as its exit code, in a shell."""


class Terminated(BaseException):
    """SIGTERM: raised where the program is, so that it tidies up as after Ctrl-C."""


def main(args: Sequence[str] | None = None) -> None:
    """Entry point of ``entres``.

    Raises:
        SystemExit: with 1 and a sentence where the user can mend what is wrong.
    """
    words = list(sys.argv[1:] if args is None else args)
    if args is None:  # the process is ours; of a program that calls this, it is not
        keep_freed_memory()
        # Not formatwarning: Lightning has its own, and sets it when it is imported.
        warnings.showwarning = _warn_in_a_line
    with _signals(ends_the_process=args is None) as came:
        try:
            _main(words)
        except BrokenPipeError:  # `entres results | head` has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except BaseException as error:
            # A signal that is sent to all of its processes ends the workers, too, and what is
            # raised may be of them; Lightning makes exit code 1 of Ctrl-C.
            if came:
                code = SIGNALLED + came[0]
                if not (isinstance(error, SystemExit) and error.code == code):  # a step said it
                    print(STOPPED, file=sys.stderr)
                raise SystemExit(code) from None
            if isinstance(error, EntresError):
                raise SystemExit(f"entres: {error}") from error
            if (sentence := disk_trouble(error)) is not None:
                raise SystemExit(f"entres: {sentence}") from error
            raise


STOPPED = "entres: stopped; what is written stays, and the same command goes on from there"


@contextmanager
def _signals(ends_the_process: bool) -> Iterator[list[signal.Signals]]:
    """The numbers of Ctrl-C and SIGTERM as they come; the first of each is raised."""
    came: list[signal.Signals] = []
    lost: list[int] = []
    timers: list[threading.Timer] = []

    def stop(number: int, frame: object) -> None:
        if number in lost:
            lost.remove(number)
        elif number in came:  # it is tidying up already
            return
        else:
            came.append(signal.Signals(number))
        sys.unraisablehook = raise_later
        if hasattr(signal, "SIGCHLD"):
            # The signal may have ended loader processes, too; torch raises that anywhere.
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        raise KeyboardInterrupt if number == signal.SIGINT else Terminated

    def raise_later(unraisable: sys.UnraisableHookArgs) -> None:
        """Where it cannot be raised (in a destructor, say) Python would print it and go on."""
        if isinstance(unraisable.exc_value, KeyboardInterrupt | Terminated):
            of_ctrl_c = isinstance(unraisable.exc_value, KeyboardInterrupt)
            number = signal.SIGINT if of_ctrl_c else signal.SIGTERM
            lost.append(number)
            timers.append(threading.Timer(SOON, _send_to_main_thread, [number]))
            timers[-1].daemon = True
            timers[-1].start()

    before = {}
    # Not of a thread, nor where somebody has seen to them: nohup ignores Ctrl-C.
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    if threading.current_thread() is threading.main_thread():
        before = {n: h for n, h in usual.items() if signal.getsignal(n) == h}
    for number in before:
        signal.signal(number, stop)
    if signal.SIGTERM in before and hasattr(os, "register_at_fork"):
        # A loader's process that is forked would raise it too, and print where.
        os.register_at_fork(after_in_child=_end_silently)
    usual_hook = sys.unraisablehook
    try:
        yield came
    finally:
        for timer in timers:  # the program may have ended before
            timer.cancel()
        # What a signal left half made is taken down when its traceback goes, or at the very end,
        # and may complain: torch's loader does. Nothing comes after the sentence.
        sys.unraisablehook = _say_nothing if came and ends_the_process else usual_hook
        for number, handler in before.items():
            signal.signal(number, handler)


def _send_to_main_thread(number: signal.Signals) -> None:
    """A real signal, which wakes it up, where there are any."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, number)
    else:
        _thread.interrupt_main(number)


def _say_nothing(unraisable: sys.UnraisableHookArgs) -> None:
    """Of a destructor's error, in a program that a signal has ended."""


def _end_silently() -> None:
    """SIGTERM ends this process without a word."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _warn_in_a_line(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """What a warning says, without the place and the line of the source that Python adds."""
    print(f"warning: {' '.join(str(message).split())}", file=file or sys.stderr)


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
