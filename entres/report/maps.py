"""Pictures and a table of the maps that an evaluation has left (Fig. 5 and 6)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

from entres.errors import reason_of
from entres.files import write_whole
from entres.report.formats import Number, Table
from entres.report.panels import as_bytes
from entres.results import ResultsError

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    Arrays = Mapping[str, NDArray[Any]]
    Column = tuple[str, NDArray[Any], Mapping[str, Any]]
    """Title of a column of panels, what each of its rows shows, and how."""

FILE = "maps.npz"
NUMBERS = "maps.json"

MEANINGS = {
    "rank_correlation": "rank correlation of bits and total variation",
    "background_area": "background: area, share of the positions",
    "background_clean": "background: share of the clean image's bits",
    "background_pgd_e": "background: share of the bits that PGD-E adds",
    "background_pgd_acc": "background: share of the bits that PGD-Acc adds",
    "kib_clean": "KiB of y, clean",
    "kib_pgd_e": "KiB of y that PGD-E adds",
    "kib_pgd_acc": "KiB of y that PGD-Acc adds",
    "background_clean_over_area": "background: clean bits, share minus the area's",
    "background_pgd_e_over_area": "background: bits of PGD-E, share minus the area's",
    "background_pgd_acc_over_area": "background: bits of PGD-Acc, share minus the area's",
}
"""What a person reads for the names in ``maps.json``."""


def numbers_table(file: Path) -> Table:
    """The figures of a ``maps.json``, each with its interval.

    Raises:
        ResultsError: if it is none.
    """
    try:
        figures = json.loads(file.read_text(encoding="utf-8"))
        images = figures.pop("images")
        rows = [
            (
                MEANINGS.get(name, name),
                Number(value["mean"], ".3f"),
                "{:.3f} to {:.3f}".format(*value["interval"]),
            )
            for name, value in figures.items()
        ]
    except (OSError, ValueError, TypeError, AttributeError, LookupError) as error:
        raise _no_maps(file, error) from error
    header = ("figure", "mean", "95% interval")
    return Table("maps", f"What the maps show, {images} images", header, rows)


def read_maps(folder: Path) -> Arrays:
    """Images, uint8, shape (N, 3, H, W), and their maps by name, each of shape (N, h, w).

    Raises:
        ResultsError: if the folder has none.
    """
    import numpy as np

    path = folder / FILE
    try:
        with np.load(path) as file:
            arrays = {name: file[name] for name in file.files}
        if not {"images", "bits", "variation", "added_e", "added_acc", "saliency"} <= set(arrays):
            raise ValueError(f"it has {', '.join(arrays)}")
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise _no_maps(path, error) from error
    return arrays


def _no_maps(file: Path, error: Exception) -> ResultsError:
    if isinstance(error, FileNotFoundError):
        return ResultsError(f"no maps in {file.parent}: entres maps makes some")
    return ResultsError(f"{file} holds no maps ({reason_of(error)}): entres maps writes it anew")


def draw_maps(folder: str | Path) -> list[Path]:
    """Draw the maps of an evaluation, ``bits.png`` and ``attacks.png`` beside them.

    Args:
        folder: of the evaluation, which ``entres test --maps`` has filled.

    Raises:
        ResultsError: if there are none.
    """
    folder = Path(folder)
    maps = read_maps(folder)
    return [
        write_whole(folder / f"{name}.png", as_bytes(draw(maps), "png", dpi=120))
        for name, draw in PICTURES.items()
    ]


def bits_picture(maps: Arrays) -> Figure:
    """Fig. 5: image, bit-rate map and total variation, a row per image."""
    columns: list[Column] = [
        ("image", _pictures(maps), {}),
        ("bits per position", maps["bits"], {"cmap": "magma"}),
        ("total variation", maps["variation"], {"cmap": "magma"}),
    ]
    return _panels(columns)


def attacks_picture(maps: Arrays) -> Figure:
    """Fig. 6: image, saliency, and bits under PGD-E minus bits under PGD-Acc (red: PGD-E more)."""
    import numpy as np

    difference = maps["added_e"] - maps["added_acc"]
    limit = float(np.quantile(np.abs(difference), 0.99)) or 1.0
    columns: list[Column] = [
        ("image", _pictures(maps), {}),
        ("saliency of the student", maps["saliency"], {"cmap": "gray"}),
        (
            "bits, PGD-E minus PGD-Acc",
            difference,
            {"cmap": "bwr", "vmin": -limit, "vmax": limit},
        ),
    ]
    return _panels(columns)


PICTURES: dict[str, Callable[[Arrays], Figure]] = {"bits": bits_picture, "attacks": attacks_picture}
"""What draws the pictures, by the name of the file."""


def _pictures(maps: Arrays) -> NDArray[np.uint8]:
    pictures: NDArray[np.uint8] = maps["images"].transpose(0, 2, 3, 1)
    return pictures


def _panels(columns: Sequence[Column]) -> Figure:
    from matplotlib.figure import Figure

    number = len(columns[0][1])
    figure = Figure(figsize=(2.6 * len(columns), 2.3 * number))
    axes = figure.subplots(number, len(columns), squeeze=False)
    for column, (title, values, options) in enumerate(columns):
        axes[0, column].set_title(title, fontsize=9)
        for row in range(number):
            axis = axes[row, column]
            drawn = axis.imshow(values[row], interpolation="nearest", **options)
            axis.set_axis_off()
            if options:
                figure.colorbar(drawn, ax=axis, fraction=0.046).ax.tick_params(labelsize=6)
    figure.tight_layout()
    return figure
