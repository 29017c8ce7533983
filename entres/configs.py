"""What travels with the package beside its code: configurations, and a trained student."""

from __future__ import annotations

import inspect
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from entres.errors import EntresError

_PACKAGE = Path(__file__).parent
_CHECKOUT = _PACKAGE.parent
_IN_CHECKOUT = (_CHECKOUT / "pyproject.toml").is_file() and (_CHECKOUT / "configs").is_dir()
# In a wheel they lie inside of the package, in a checkout beside it too.
FOLDER = (_CHECKOUT if _IN_CHECKOUT else _PACKAGE) / "configs"
EXAMPLE_STUDENT = _PACKAGE / "zoo" / "tf_efficientnet_lite0-mshp-beta0.08-joint.safetensors"
"""A trained student that travels with the package."""
# The same as safe_load, in C where that was built.
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
SUFFIXES = (".yaml", ".yml")


def names(kind: str) -> list[str]:
    """Names of the files of a kind: ``names("attack")``."""
    return sorted(path.stem for path in (FOLDER / kind).glob("*.yaml"))


def find(kind: str, name: str) -> Path:
    """The file of a name, or a file of one's own.

    Args:
        kind: folder of ``configs``, such as ``attack``.
        name: stem of a file there, or a path that ends in ``.yaml``.

    Raises:
        EntresError: if there is none; the sentence names the nearest.
    """
    if name.endswith(SUFFIXES):
        if not Path(name).is_file():
            raise EntresError(f"{kind}: no such file: {name}")
        return Path(name)
    path = FOLDER / kind / f"{name}.yaml"
    if not path.is_file():
        raise EntresError(unknown(kind, name, names(kind)))
    return path


def shown(path: Path) -> str:
    """A path as it is typed: from the working directory, where it lies below that."""
    here = Path.cwd()
    absolute = path.absolute()
    return str(absolute.relative_to(here) if absolute.is_relative_to(here) else absolute)


def read(path: Path) -> dict[str, Any]:
    """The mapping of a YAML file; an empty file is an empty one.

    Raises:
        EntresError: if it is no readable YAML, or something else than a mapping.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), LOADER)
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        reason = str(error).splitlines()[0]
        raise EntresError(f"{path} is no readable YAML in UTF-8: {reason}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise EntresError(f"{path} holds no mapping: `name: value` lines were expected")
    return content


def unknown(what: str, given: str, known: list[str]) -> str:
    """The sentence for a word that is none of those that there are."""
    near = get_close_matches(given, known, 1, 0.5)
    guess = f": did you mean {near[0]}?" if near else "."
    return f"no {what} {given!r}{guess} There is: {', '.join(known)}"


def settings_of(kind: type) -> list[str]:
    """Names of what a class and those that it is made of can be given."""
    makers: list[Any] = [
        vars(base)["__init__"] for base in kind.__mro__[:-1] if "__init__" in vars(base)
    ]
    names = [name for maker in makers for name in inspect.signature(maker).parameters]
    return [name for name in dict.fromkeys(names) if name not in ("self", "args", "kwargs")]
