"""The verb that draws maps."""

from __future__ import annotations

import torch
from rich.progress import track

from entres.data import Batch, DataError, ImageDataModule, PhotosDataModule
from entres.models import load_student
from entres.report import maps as drawing
from entres.report.table import show_maps
from entres.results import evaluation_folder


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
    panels: list[drawing.ImageMaps] = []
    # Evenly spaced: the first images of a data set are often of one class.
    total = len(data.test_dataset)
    chosen = set(torch.linspace(0, total - 1, min(shown, total)).round().long().tolist())
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network.to(device)
    for batch in track(
        map(Batch._make, data.test_dataloader()),
        "attacking",
        total=-(-total // data.eval_batch_size),
    ):
        images, labels = batch.images.to(device), batch.labels.to(device)
        made = drawing.image_maps(network, images, labels, epsilon_255, steps, seed)
        made = drawing.ImageMaps(*(part.cpu() for part in made))
        first = len(rows)
        found = drawing.numbers(made)
        rows += [{"index": i, **r} for i, r in zip(batch.indices.tolist(), found, strict=True)]
        # Only these are kept: the maps of a whole data set would fill the memory.
        here = [n - first for n in range(first, len(rows)) if n in chosen]
        panels.append(drawing.ImageMaps(*(part[here] for part in made)))
    some = drawing.ImageMaps(*map(torch.cat, zip(*panels, strict=True)))
    files = drawing.write_numbers(folder, rows)
    drawing.draw_bits(folder / "bits.png", some)
    drawing.draw_attacks(folder / "attacks.png", some)
    show_maps(card.name, drawing.numbers_table(files[0]))
    for path in (*files, folder / "bits.png", folder / "attacks.png"):
        print(path)
