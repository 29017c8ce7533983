"""What the parser of ``fit`` and ``test`` says of a mistake, in one sentence."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Sequence
from contextvars import ContextVar
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import yaml
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.cli import LightningArgumentParser

from entres import configs
from entres.attacks import Attack
from entres.defenses import Defense
from entres.errors import EntresError
from entres.verbs.parser import UsageError

WRAPPER = "Does not validate against any"
"""What jsonargparse says before it comes to the point."""

PARSERS_OWN = (
    r"(Expected an? |Unexpected import path format|Not a valid subclass of |Problem with given cl)"
)


_line: ContextVar[tuple[str, ...]] = ContextVar("_line", default=())
"""The words that are being parsed."""


class OneSentenceParser(LightningArgumentParser):
    """A parser that names the mistake and the nearest right word, and no usage of sixty lines."""

    def parse_args(self, args: Any = None, *further: Any, **options: Any) -> Any:
        """Parse the words of a line, and keep them for the parsers of its parts.

        What these say of a setting does not name the part that it is of.
        """
        if _line.get():
            return super().parse_args(args, *further, **options)
        before = _line.set(tuple(word for word in args or () if isinstance(word, str)))
        try:
            return super().parse_args(args, *further, **options)
        finally:
            _line.reset(before)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise what is wrong.

        Raises:
            EntresError: what a class of ours said, where that is the cause.
            UsageError: for all else.
        """
        if ex is not None and (sentence := sentence_of(ex)) is not None:
            raise EntresError(sentence) from ex
        raise UsageError(in_one_sentence(message, self._flags(), _line.get())) from ex

    def _flags(self) -> list[str]:
        """Every flag of this parser and of those of its subcommands."""
        parsers: list[Any] = [self]
        if action := getattr(self, "_subcommands_action", None):
            parsers += action._name_parser_map.values()
        return [flag for parser in parsers for flag in parser._option_string_actions]


def in_one_sentence(message: str, flags: Iterable[str], words: Sequence[str] = ()) -> str:
    """The point of a message of jsonargparse's.

    Args:
        message: all of it.
        flags: that there are, with their dashes.
        words: of the line.
    """
    if found := re.search(
        r"(?:unrecognized arguments: |does not accept option ')([^\s'=]+)", message, re.I
    ):
        name = found.group(1)
        dashes = name if name.startswith("--") else f"--{name}"
        listed = f"; entres {words[0]} --help lists them" if words else ""
        return f"no flag {dashes}{_nearest_flag(dashes, flags) or listed}"
    if found := re.search(r"Option '([^']+)' is not accepted", message):
        name = found.group(1)
        part = _part_with(name, words)
        if part is not None and not _is_given(part, words):
            return f"--{part}.{name}: {_what_to_give(part, words)}"
        owner = _last_class(message) or _class_of(part, words)
        return f"{owner or 'it'} has no setting {name!r}{_nearest(name, _settings(owner))}"
    if found := re.search(r"arguments are required: (?:\w+\.)?(\w+)$", message):
        name = found.group(1)
        if name in PARTS:
            return _what_to_give(name, words)
        owners = [part for part in PARTS if name in _settings(_class_of(part, words))]
        flag = ".".join((*owners[:1], name))
        return f"{flag} must be given: --{flag}"
    keys = re.findall(r'Parser key "([^"]+)"', message)
    wanted = re.findall(r"Expected an? <class '([\w.]+)'>", message)
    got = re.search(r"(?:Got value|Given value): (.*?)\s*$", message, re.MULTILINE)
    found = re.search(r"Problem with given class_path '([^']+)':\s*(.+)", message)
    if found and not found.group(1).endswith((".yaml", ".yml")):
        return f"{'.'.join(keys)}: {found.group(1)} cannot be made: {found.group(2)}"
    if found := re.search(
        r"(?:Expected a path but|dot import path string:|Unexpected import path format:) (\S+)",
        message,
    ):
        return f"{'.'.join(keys)}: no such file, and no class: {found.group(1)}"
    if found := re.search(r"Not a valid subclass of (\w+)", message):
        value = "" if got is None else f", got {got.group(1)}"
        wanted_class = f"of the class {found.group(1)}, or a file of configs/ with one"
        return f"{'.'.join(keys)} must be {wanted_class}{value}"
    if keys and wanted and got and wanted[0] != "NoneType":
        value = re.sub(r"^NestedArg\(key='.*?', val='(.*)'\)$", r"\1", got.group(1))
        kind = {
            "int": "a whole number",
            "float": "a number",
            "bool": "true or false",
            "str": "text",
            "list": "a list, such as [1, 2]",
        }
        return f"{'.'.join(keys)} must be {kind.get(wanted[0], wanted[0])}, got {value!r}"
    if found := re.search(
        r"Not of type Seed: (?:.*: '(.+)'|(-\d+|\d+) does|.*'(NoneType)')", message
    ):
        value = next(group for group in found.groups() if group).replace("NoneType", "null")
        return f"{'.'.join(keys)} must be a whole number >= 0 and < 2**32, got {value}"
    if found := re.search(r"Expected a path but (\S+) either", message):
        return f"{'.'.join(keys)}: no such file, and no class: {found.group(1)}"
    if found := re.search(r"[Kk]ey \"([\w.]+)\" is required", message):
        return f"{found.group(1)} must be given: --{found.group(1)}"
    return " ".join(message.split())


def _last_class(message: str) -> str | None:
    """The innermost class that a message names."""
    found = re.findall(r"class_path[= ]'([\w.]+)'", message)
    return found[-1] if found else None


def _found(class_path: str) -> Any:
    """What is called so; None where there is no such thing."""
    module, _, name = class_path.rpartition(".")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError):
        return None


def _settings(class_path: str | None) -> list[str]:
    """What a class and those that it is made of can be given."""
    kind = _found(class_path or "")
    return configs.settings_of(kind) if inspect.isclass(kind) else []


PARTS = ("model", "data")
"""What a line is made of, beside the trainer: each is a class of its own, with its settings."""


def _part_with(name: str, words: Sequence[str]) -> str | None:
    """The part that a line gives a setting to."""
    flags = (word.partition("=")[0] for word in words)
    of = (found for flag in flags if (found := re.match(rf"--(\w+)\.(?:.*\.)?{name}$", flag)))
    return next((found.group(1) for found in of if found.group(1) in PARTS), None)


def _files_of(flag: str, words: Sequence[str]) -> list[str]:
    """What a line gives behind a flag."""
    pairs = zip(words, (*words[1:], ""), strict=False)
    return [
        word.partition("=")[2] or following
        for word, following in pairs
        if word.partition("=")[0] in (flag, "-c" if flag == "--config" else flag)
    ]


def _contents(files: Iterable[str]) -> Iterator[dict[str, Any]]:
    for name in files:
        if name.endswith(configs.SUFFIXES) and Path(name).is_file():
            yield configs.read(Path(name))


def _class_of(part: str | None, words: Sequence[str]) -> str | None:
    """The class of a part, by its name or in a file of settings; the last one counts."""
    if part is None:
        return None
    named = _files_of(f"--{part}", words)
    found: list[Any] = [of[part] for of in _contents(_files_of("--config", words)) if part in of]
    found += [*_contents(named), *(name for name in named if not name.endswith(configs.SUFFIXES))]
    paths = [of.get("class_path") if isinstance(of, dict) else of for of in found]
    return next((path for path in reversed(paths) if isinstance(path, str)), None)


def _is_given(part: str, words: Sequence[str]) -> bool:
    return bool(_files_of(f"--{part}", words)) or _class_of(part, words) is not None


def _what_to_give(part: str, words: Sequence[str]) -> str:
    """The sentence for a line without a class of a part."""
    if part == "data":
        names = configs.names("data")
        return f"data must be given: --data {_config('data', 'NAME')}, one of {', '.join(names)}"
    if "test" in words[:1]:
        return f"--config {_config('stage', EVALUATION)} is missing, which evaluates a student"
    stages = ", ".join(name for name in configs.names("stage") if name != EVALUATION)
    return f"--config {_config('stage', 'STAGE')} is missing, one of {stages}"


EVALUATION = "evaluation"
"""The file of ``configs/stage`` that trains nothing."""


def _config(kind: str, name: str) -> str:
    return configs.shown(configs.FOLDER / kind / f"{name}.yaml")


def _nearest_flag(typed: str, flags: Iterable[str]) -> str:
    """Of flags of the same part, if there are any, the nearest by its last word alone."""
    of_part: dict[str, list[str]] = {}
    known = [flag for flag in flags if flag.startswith("--")]
    for flag in known:
        of_part.setdefault(flag.rpartition(".")[0], []).append(flag.rpartition(".")[2].lstrip("-"))
    part, dot, name = typed.rpartition(".")
    if part not in of_part:
        return _nearest(typed, known)
    near = get_close_matches(name.lstrip("-"), of_part[part], 1, 0.6)
    return f"; did you mean {part}{dot or '--'}{near[0]}?" if near else ""


def _nearest(name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name, list(known), 1, 0.6)
    return f"; did you mean {near[0]}?" if near else ""


def check_files(words: Sequence[str]) -> None:
    """Refuse YAML files that cannot be read as settings, which the parser stumbles over.

    Args:
        words: of a line; a file stands in them alone, behind a flag or in a list.

    Raises:
        UsageError: naming the first such file.
    """
    for name in _yaml_files(words):
        try:
            content = yaml.load(Path(name).read_text("utf-8"), configs.LOADER)
        except UnicodeDecodeError as error:
            raise UsageError(f"{name} is no text in UTF-8: save it as that") from error
        except OSError as error:
            raise UsageError(f"{name} cannot be read: {error.strerror}") from error
        except yaml.YAMLError as error:
            raise UsageError(f"{name} is no YAML: {' '.join(str(error).split())}") from error
        if content is None:
            raise UsageError(f"{name} is empty: it must hold settings, one `name: value` a line")


def _yaml_files(words: Sequence[str]) -> Iterator[str]:
    """The files of settings that are there, among the words of a line."""
    for word in words:
        for name in re.findall(r"[^\s,\[\]=]+\.ya?ml", word):
            if Path(name).is_file():
                yield name


def fault_of_a_file(words: Sequence[str]) -> str | None:
    """What is wrong with the first file of an attack or a defense that cannot be made.

    In a list of such files the parser says only that one of them is none.

    Args:
        words: of a line that was refused.
    """
    for name in _yaml_files(words):
        content = yaml.load(Path(name).read_text("utf-8"), configs.LOADER)
        class_path = content.get("class_path") if isinstance(content, dict) else None
        if not isinstance(class_path, str):
            continue
        if (kind := _found(class_path)) is None:
            return f"{name}: there is no class {class_path}"
        if not (inspect.isclass(kind) and issubclass(kind, Attack | Defense)):
            continue
        parser = OneSentenceParser()
        parser.add_argument("--file", type=kind, sub_configs=True)
        try:
            parser.instantiate_classes(parser.parse_args([f"--file={name}"]))
        except (EntresError, ValueError, TypeError) as error:
            return f"{name}: {sentence_of(error) or first_sentence(error)}"
    return None


def first_sentence(error: BaseException) -> str:
    """What an error says first, in one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return re.split(r"(?<=[.!])\s+(?=[A-Z])", text)[0].rstrip(".!")


def _is_lightnings(error: BaseException) -> bool:
    """Whether it is Lightning that refuses something: a setting of its own, mostly."""
    if isinstance(error, MisconfigurationException):
        return True
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    raised_in = "" if frame is None else frame.tb_frame.f_globals.get("__name__", "")
    return isinstance(error, ValueError) and raised_in.startswith("lightning.")


def sentence_of(error: BaseException) -> str | None:
    """The sentence for an error that the user can mend; None for any other.

    jsonargparse wraps what a constructor raises in a long ValueError of its own.
    """
    causes = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) and cause not in causes:
        causes.append(cause)
    for cause in causes:
        if isinstance(cause, EntresError):
            # A loader's worker hands its error over as text, the traceback before it.
            return re.sub(r"(?s).*Original Traceback.*\n\S*Error: ", "", str(cause)).strip()
    if _is_lightnings(error):
        return first_sentence(error)
    if WRAPPER not in str(error):
        return None
    inner = (c for c in causes if isinstance(c, ValueError) and WRAPPER not in str(c))
    sentence = next((str(c) for c in inner), None)
    # The parser's own words name no setting: the whole message does.
    return None if sentence is None or re.match(PARSERS_OWN, sentence) else sentence
