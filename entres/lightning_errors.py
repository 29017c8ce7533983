"""What the parser of ``fit`` and ``test`` says of a mistake, in one sentence."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Sequence
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


class OneSentenceParser(LightningArgumentParser):
    """A parser that names the mistake and the nearest right word, and no usage of sixty lines."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise what is wrong.

        Raises:
            EntresError: what a class of ours said, where that is the cause.
            UsageError: for all else.
        """
        if ex is not None and (sentence := sentence_of(ex)) is not None:
            raise EntresError(sentence) from ex
        raise UsageError(in_one_sentence(message, self._flags())) from ex

    def _flags(self) -> list[str]:
        """Every flag of this parser and of those of its subcommands."""
        parsers: list[Any] = [self]
        if action := getattr(self, "_subcommands_action", None):
            parsers += action._name_parser_map.values()
        return [flag for parser in parsers for flag in parser._option_string_actions]


def in_one_sentence(message: str, flags: Iterable[str]) -> str:
    """The point of a message of jsonargparse's.

    Args:
        message: all of it.
        flags: that there are, with their dashes.
    """
    if found := re.search(
        r"(?:unrecognized arguments: |does not accept option ')([^\s'=]+)", message, re.I
    ):
        name = found.group(1)
        dashes = name if name.startswith("--") else f"--{name}"
        return f"no flag {dashes}{_nearest(dashes, flags)}"
    if found := re.search(r"Option '([^']+)' is not accepted", message):
        name = found.group(1)
        owner = _last_class(message)
        return f"{owner or 'it'} has no setting {name!r}{_nearest(name, _settings(owner))}"
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
