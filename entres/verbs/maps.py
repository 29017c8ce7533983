"""The verb that draws maps."""

from __future__ import annotations

import torch

from entres.data import Batch, DataError, ImageDataModule, PhotosDataModule
from entres.models import load_student
from entres.report import maps as drawing
from entres.report.results import evaluation_folder
from entres.report.table import show_maps


def maps(
    student: str,
    data: ImageDataModule | None = None,
    out: str = "runs",
    epsilon_255: float = 8.0,
    steps: int = 20,
    shown: int = 4,
    seed: int = 0,
) -> None:
    """Draw where the bits are (Fig. 5) and where attacks add them (Fig. 6), with their numbers.

    Args:
        student: file of a student.
        data: a file of configs/data, the embedded photos if None;
            ``--data.eval_limit_per_class`` says how many images.
        out: folder of all runs.
        epsilon_255: radius of PGD-E and PGD-Acc in units of 1/255.
        steps: of both.
        shown: images in the panels; the numbers are of all.
        seed: of the attacks' noise.

    Raises:
        WeightsError: if there is no such student.
        DataError: if the data cannot be had, or are not what the student knows.
    """
    network, card = load_student(student)
    network.requires_grad_(False)
    data = data or PhotosDataModule()
    if data.num_classes != card.num_classes:
        raise DataError(
            f"{card.name} knows {card.num_classes} classes, the data have {data.num_classes}"
        )
    data.prepare_data()
    data.setup("test")
    folder = evaluation_folder(out, card.name, "maps")
    rows: list[dict[str, object]] = []
    parts: list[drawing.ImageMaps] = []
    for batch in map(Batch._make, data.test_dataloader()):
        made = drawing.image_maps(network, batch.images, batch.labels, epsilon_255, steps, seed)
        found = drawing.numbers(made)
        rows += [{"index": i, **r} for i, r in zip(batch.indices.tolist(), found, strict=True)]
        parts.append(made)
    whole = drawing.ImageMaps(*map(torch.cat, zip(*parts, strict=True)))
    # Evenly spaced: the first images of a data set are often of one class.
    chosen = torch.linspace(0, len(rows) - 1, min(shown, len(rows))).round().long()
    some = drawing.ImageMaps(*(part[chosen] for part in whole))
    files = drawing.write_numbers(folder, rows)
    drawing.draw_bits(folder / "bits.png", some)
    drawing.draw_attacks(folder / "attacks.png", some)
    show_maps(card.name, files[0])
    for path in (*files, folder / "bits.png", folder / "attacks.png"):
        print(path)
