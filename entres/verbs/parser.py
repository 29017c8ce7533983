"""A typed function as a verb: its parameters are flags, its docstring the help."""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn, get_args, get_type_hints

from entres.errors import EntresError
from entres.experiment import Experiment, options
from entres.experiment.experiment import Option, unknown_variable

EXPERIMENT = "experiment"
"""A parameter of this name takes all options of an :class:`Experiment`."""
GIVEN = "given"
"""A parameter of this name takes those options that were given, as they were typed."""


class UsageError(EntresError, ValueError):
    """Words that a verb does not take."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{self.prog}: {message} (entres {self.prog} --help)")


@dataclass
class Call:
    """A verb and what it is called with."""

    function: Callable[..., object]
    arguments: dict[str, Any] = field(default_factory=dict)

    words: tuple[Any, ...] = ()

    def __call__(self) -> object:
        return self.function(*self.words, **self.arguments)


def summary(function: Callable[..., object]) -> str:
    """The first sentence of a docstring."""
    return _docstring(function).split("\n\n")[0].replace("\n", " ").rstrip(".")


def _docstring(function: Callable[..., object]) -> str:
    """Without the marks of code, which nobody sets in a terminal."""
    return (inspect.getdoc(function) or "").replace("``", "")


def read(
    verb: str,
    function: Callable[..., object],
    words: Sequence[str],
    other_variables: Sequence[str] = (),
) -> Call:
    """A call of a function from the words that follow its verb.

    A parameter without a default is a word, any other one a flag; ``--name value``,
    ``--name=value`` and, as ``make`` writes its variables, ``--NAME=value``.

    Args:
        verb: what the function is called on the command line.
        function: typed; its docstring says what the parameters are.
        words: what follows the verb.
        other_variables: variables of ``make`` that the verb does without: they are no mistake.

    Raises:
        UsageError: if the words do not fit; the sentence names the nearest flag.
        ExperimentError: if a value of an experiment does not.
    """
    parameters = inspect.signature(function).parameters
    taken = parameters.keys() & {EXPERIMENT, GIVEN}
    own = {name: p for name, p in parameters.items() if name not in (EXPERIMENT, GIVEN)}
    parser = _parser(verb, function, own, bool(taken))
    known = [*(n for n, p in own.items() if not _is_word(p))]
    known += options() if taken else []
    _check_words(verb, own, words, known)
    flags = {}
    for position, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name.startswith("--") and name[2:].isupper():
            flags[f"--{name[2:].lower()}{equals}{value}"] = name[2:]
            words = [
                *words[:position],
                f"--{name[2:].lower()}{equals}{value}",
                *words[position + 1 :],
            ]
    found, rest = parser.parse_known_args(list(words))
    rest = [word for word in rest if flags.get(word, "").lower() not in other_variables]
    extra: list[str] = []
    if rest:
        flag = rest[0].partition("=")[0]
        if not (taken and flag.startswith("--") and "." in flag):
            raise UsageError(_unexpected(verb, rest[0], flags, known))
        extra = rest  # flags of entres fit and entres test
    values = vars(found)
    arguments = {name: values.pop(name) for name in own}
    several = [name for name, p in own.items() if p.kind is p.VAR_POSITIONAL]
    positional = tuple(arguments.pop(several[0])) if several else ()
    given = {name: value for name, value in values.items() if value not in (None, "")}
    if extra:
        given["extra"] = (*options()["extra"].parse("extra", given.get("extra", "")), *extra)
    if EXPERIMENT in taken:
        arguments[EXPERIMENT] = Experiment.of(**given)
    if GIVEN in taken:
        arguments[GIVEN] = given
    return Call(function, arguments, positional)


def _check_words(
    verb: str, own: Mapping[str, inspect.Parameter], words: Sequence[str], flags: Sequence[str]
) -> None:
    """Refuse a flag by the name of what is a word of this verb; in others it may be a flag.

    Raises:
        UsageError: showing where the word stands.
    """
    line = " ".join((f"entres {verb}", *(_placeholder(*p) for p in own.items() if _is_word(p[1]))))
    for word in words:
        name = word.partition("=")[0].lower().removeprefix("--")
        if not word.startswith("--") or name in flags:
            continue
        if any(_is_word(p) and name in (n, n.removesuffix("s")) for n, p in own.items()):
            raise UsageError(f"{verb}: {name} is a word here, without --{name}: {line}")


def _is_word(parameter: inspect.Parameter) -> bool:
    return parameter.default is parameter.empty


def _unexpected(verb: str, word: str, capitals: Mapping[str, str], known: Sequence[str]) -> str:
    if not word.startswith("-"):
        return f"{verb}: {word!r} is one word too many (entres {verb} --help)"
    typed = capitals.get(word) or word.partition("=")[0].lstrip("-")
    return unknown_variable(typed, list(known))


def _parser(
    verb: str,
    function: Callable[..., object],
    own: Mapping[str, inspect.Parameter],
    takes_experiment: bool,
) -> _Parser:
    parser = _Parser(
        prog=verb,
        usage=f"entres {verb}"
        + "".join(f" {_placeholder(n, p)}" for n, p in own.items() if _is_word(p))
        + " [--FLAG VALUE ...]",
        description=_description(function),
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=True,
    )
    hints = get_type_hints(function)
    about = _arguments(_docstring(function))
    group = parser.add_argument_group("flags") if own else parser
    for name, parameter in own.items():
        settings: dict[str, Any] = {"help": _help(about.get(name, ""), parameter.default)}
        kinds = [k for k in get_args(hints[name]) if k is not type(None)] or [hints[name]]
        is_list = getattr(kinds[0], "__origin__", kinds[0]) is list or kinds[0] in (list,)
        if getattr(hints[name], "__origin__", None) is list:
            is_list, kinds = True, list(get_args(hints[name]))
        if parameter.kind is parameter.VAR_POSITIONAL:
            parser.add_argument(name, nargs="*", type=_typed(kinds[0]), **settings)
            continue
        if parameter.default is parameter.empty:
            settings |= {"nargs": "+"} if is_list else {}
            parser.add_argument(name, type=_typed(kinds[0]), **settings)
            continue
        settings["default"] = parameter.default
        if kinds[0] is bool:
            settings |= {"nargs": "?", "const": True}
        if is_list:
            settings["nargs"] = "+"
        group.add_argument(f"--{name}", type=_typed(kinds[0]), metavar="VALUE", **settings)
    if takes_experiment:
        groups: dict[str, Any] = {}
        for name, option in options().items():
            if option.group not in groups:
                groups[option.group] = parser.add_argument_group(option.group)
            groups[option.group].add_argument(
                f"--{name}", metavar="VALUE", default=None, help=_option_help(option)
            )
    return parser


def _placeholder(name: str, parameter: inspect.Parameter) -> str:
    many = parameter.kind is parameter.VAR_POSITIONAL or "list" in str(parameter.annotation)
    return name.upper() + (" ..." if many else "")


def _typed(kind: type) -> Callable[[str], Any]:
    if kind is not bool:
        return kind

    def truth(text: str) -> bool:
        if text.lower() in ("1", "true", "yes"):
            return True
        if text.lower() in ("0", "false", "no", ""):
            return False
        raise argparse.ArgumentTypeError(f"true or false was expected, got {text!r}")

    return truth


def _description(function: Callable[..., object]) -> str:
    return re.split(r"\n\s*(?:Args|Raises|Returns):", _docstring(function))[0].strip()


def _arguments(docstring: str) -> dict[str, str]:
    """What a docstring says of each argument."""
    section = re.search(r"^Args:\n(.*?)(?=^\S|\Z)", docstring, re.DOTALL | re.MULTILINE)
    found: dict[str, str] = {}
    for name, text in re.findall(
        r"^    (\w+): (.*?)(?=^    \w+: |\Z)",
        section.group(1) if section else "",
        re.DOTALL | re.MULTILINE,
    ):
        found[name] = " ".join(text.split())
    return found


def _help(about: str, default: object) -> str:
    shown = default not in (None, inspect.Parameter.empty, "", False)
    return (about + (f" (default: {default})" if shown else "")).replace("%", "%%")


def _option_help(option: Option) -> str:
    default = option.default
    if isinstance(default, tuple):
        default = ",".join(f"{v:g}" if isinstance(v, float) else str(v) for v in default)
    elif isinstance(default, float):
        default = f"{default:g}"
    return _help(option.about, default)
