"""The verb that shows in half a minute what it is all about."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from entres import configs
from entres.bitstream import KIB
from entres.errors import EntresError
from entres.verbs.photographs import class_name, known_classes, photographs

if TYPE_CHECKING:
    from torch import Tensor

    from entres.card import StudentCard


class Shown(NamedTuple):
    """A batch of N images in one state, and what the student makes of it.

    Attributes:
        title: of the state.
        images: in [0, 1], shape (N, 3, H, W).
        bits: of y at each position, shape (N, h, w).
        sizes: of the streams, in bytes.
        predictions: names of the predicted classes.
    """

    title: str
    images: Tensor
    bits: Tensor
    sizes: list[int]
    predictions: list[str]


def show(
    *photos: str,
    student: str | None = None,
    epsilon_255: float = 8.0,
    out: str = "runs",
    to: str | None = None,
) -> None:
    """What a trained student makes of photographs: clean, attacked and defended.

    Real bitstreams are coded and decoded again. One picture shows where the bits go.

    Args:
        photos: files of images; some of scikit-image's where none are given.
        student: file of a student (default: one that travels with the package).
        epsilon_255: radius of the attack on the size, in units of 1/255.
        out: folder of all runs.
        to: picture to write, a .png (default: show.png in the folder of all runs).

    Raises:
        EntresError: if a file cannot be read, the radius is out of range, or the picture is to be
            written as anything else.
    """
    if to is not None and Path(to).suffix.lower() != ".png":
        raise EntresError(f"the picture is written as .png: {to} is none")
    from entres.attacks import PGDE, QUICK, StudentVictim
    from entres.defenses import MaskedChambolle
    from entres.models import load_student

    try:
        attack = PGDE(epsilon_255, preset=QUICK)
    except ValueError as error:
        raise EntresError(str(error)) from error
    network, card = load_student(student or configs.EXAMPLE_STUDENT)
    network.requires_grad_(False)
    names, images = photographs(photos)
    defense = MaskedChambolle()
    attacked = attack(StudentVictim(network), images)
    defended = defense.defend(network, attacked).images
    states = [
        _shown(network, card, title, batch)
        for title, batch in (
            ("clean", images),
            (f"PGD-E {epsilon_255:g}/255", attacked),
            (f"then {defense.name}", defended),
        )
    ]
    _print(card, names, states)
    print(_draw(Path(to or Path(out) / "show.png"), names, states))


def _shown(network: Any, card: StudentCard, title: str, images: Tensor) -> Shown:
    import torch

    from entres.functional import bit_rate_map

    with torch.no_grad():
        bits = bit_rate_map(network(images, "round").likelihoods["y"].float())
        streams = network.encode(images)
        predicted = network.decode(streams).argmax(1).tolist()
    names = [class_name(card, number) for number in predicted]
    return Shown(title, images, bits, [len(stream) for stream in streams], names)


def _print(card: StudentCard, names: list[str], states: list[Shown]) -> None:
    from entres.report.formats import Table
    from entres.report.terminal import show_table

    header = ["photo"]
    for state in states:
        header += [f"{state.title}: KiB", "prediction"]
    rows = []
    for i, name in enumerate(names):
        cells = [name]
        for state in states:
            cells += [f"{state.sizes[i] / KIB:.2f}", state.predictions[i]]
        rows.append(cells)
    show_table(Table("show", card.name, header, rows))
    print(known_classes(card))


def _draw(path: Path, names: list[str], states: list[Shown]) -> Path:
    """Every image beside its bits, a row for each photograph."""
    import io

    from matplotlib.figure import Figure

    from entres.files import write_whole

    columns = 2 * len(states)
    figure = Figure(figsize=(2.0 * columns, 2.25 * len(names)), layout="constrained")
    panels = figure.subplots(len(names), columns, squeeze=False)
    for row, name in enumerate(names):
        # One scale for a photograph: brighter is dearer in all of its maps.
        most = max(state.bits[row].max().item() for state in states)
        for place, state in enumerate(states):
            picture, bits = panels[row, 2 * place], panels[row, 2 * place + 1]
            picture.imshow(state.images[row].permute(1, 2, 0).numpy())
            picture.set_title(f"{name}, {state.title}" if place == 0 else state.title, fontsize=9)
            bits.imshow(state.bits[row].numpy(), cmap="magma", vmin=0, vmax=most)
            size = f"{state.sizes[row] / KIB:.2f} KiB"
            bits.set_title(f"{size}: {state.predictions[row]}", fontsize=9)
    for axes in figure.axes:
        axes.set_axis_off()
    file = io.BytesIO()
    figure.savefig(file, dpi=110, format="png")
    return write_whole(path, file.getvalue())
