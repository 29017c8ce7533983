"""The card in a student's file: what it is, and what it is called. Reading it needs no torch."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path

from entres.errors import WeightsError, reason_of

NAMES_SHOWN = 3
"""Of classes, where a card is printed."""


@dataclass(frozen=True)
class StudentCard:
    """What a student is: enough to build it again, and to name it.

    Attributes:
        backbone: timm name, with tag.
        codec: short name of the codec, ``fp`` or ``mshp``.
        beta: weight of the rate in its training.
        recipe: how it was trained: ``distilled``, ``joint`` or ``frozen-encoder``.
        num_classes: width of its classifier.
        analysis_widths: channel counts of ``g_a``.
        synthesis_widths: channel counts of ``g_s``.
        dataset: what it was trained on.
        teacher_weights: where the teacher's weights came from.
        train_size: side of the training images in px; with a relative weighting of the features,
            beta means the same for students of one size only.
        steps: optimizer steps of its last stage.
        seed: of its training.
        class_names: a readable name for every class, where the data had them.
    """

    backbone: str
    codec: str
    beta: float
    recipe: str
    num_classes: int
    analysis_widths: tuple[int, ...]
    synthesis_widths: tuple[int, ...]
    dataset: str | None = None
    teacher_weights: str | None = None
    train_size: int | None = None
    steps: int | None = None
    seed: int = 0
    class_names: tuple[str, ...] | None = None

    def __repr__(self) -> str:
        """All of it, but of many names of classes a few: a thousand would hide the rest."""
        shown = {field.name: repr(getattr(self, field.name)) for field in fields(self)}
        names = self.class_names or ()
        if len(names) > NAMES_SHOWN:
            first = ", ".join(map(repr, names[:NAMES_SHOWN]))
            shown["class_names"] = f"({first}, ... {len(names):,} in all)"
        return f"{type(self).__name__}({', '.join(f'{n}={text}' for n, text in shown.items())})"

    @property
    def name(self) -> str:
        """See :func:`student_name`."""
        return student_name(self.backbone, self.codec, self.beta, self.recipe, self.seed)


def short_backbone(backbone: str) -> str:
    """A timm name without the tag of its weights."""
    return backbone.partition(".")[0]


def student_name(backbone: str, codec: str, beta: float, recipe: str, seed: int = 0) -> str:
    """``<backbone>-<codec>-beta<beta>-<recipe>``, and ``-seed<seed>`` where that is not 0."""
    name = f"{short_backbone(backbone)}-{codec}-beta{beta:g}-{recipe}"
    return f"{name}-seed{seed}" if seed else name


def card_of(text: str) -> StudentCard:
    """The card that was written as JSON."""
    content = json.loads(text)
    for name in ("analysis_widths", "synthesis_widths", "class_names"):
        if content.get(name) is not None:
            content[name] = tuple(content[name])  # JSON has lists only
    known = {field.name for field in fields(StudentCard)}  # a later entres may say more
    return StudentCard(**{key: value for key, value in content.items() if key in known})


def read_metadata(path: str | Path) -> dict[str, str]:
    """What a safetensors file says of itself; nothing for a file of another name."""
    if Path(path).suffix != ".safetensors":
        return {}
    from safetensors import safe_open  # a phone has no such files, and reads cards all the same

    with safe_open(path, framework="np") as file:
        return dict(file.metadata() or {})


def read_card(path: str | Path) -> StudentCard:
    """The card of a student's file.

    Raises:
        WeightsError: if there is no such file, or it is no student.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"no student at {path}: train one (entres train) or name one of zoo/")
    try:
        metadata = read_metadata(path)
    except Exception as error:
        raise WeightsError(
            f"{path} is no entres student: it is no readable safetensors file ({reason_of(error)})"
        ) from error
    if "entres" not in metadata:
        is_ours = path.suffix == ".safetensors"
        why = "its card is missing" if is_ours else "it is a file of another kind"
        raise WeightsError(
            f"{path} is no entres student, {why}: give a .safetensors file that entres train "
            "or entres export has written"
        )
    try:
        return card_of(metadata["entres"])
    except Exception as error:
        raise WeightsError(
            f"{path} is no entres student: its card cannot be read ({reason_of(error)})"
        ) from error
