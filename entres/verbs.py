"""The verbs of the command line that are not training; each is a function with typed arguments."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from entres.data import Batch, DataError, ImageDataModule, PhotosDataModule
from entres.functional import KIB
from entres.models import load_student
from entres.models.sc2bench import import_sc2bench
from entres.models.student import read_card
from entres.report import maps as drawing
from entres.report.figures import write_figures
from entres.report.results import Row, evaluation_folder, read_records, read_summary
from entres.report.strongest import strongest as strongest_of
from entres.report.table import show_corruptions, show_maps, show_results, show_strongest
from entres.report.tradeoff import curves, draw_tradeoff, knee


def results(out: str = "runs") -> None:
    """Print every result under a folder as one table.

    Args:
        out: folder of all runs, or one of them.

    Raises:
        SystemExit: if there is none.
    """
    files, rows = _results(out)
    show_results(sorted(rows, key=lambda r: (r.backbone, r.codec, r.beta, r.recipe)), files)


def corruptions(out: str = "runs", markdown: bool = False) -> None:
    """Print size and accuracy under every corruption and severity, and their means.

    Args:
        out: folder of all runs, or one of them.
        markdown: whether to draw the tables in Markdown.

    Raises:
        SystemExit: if there are none.
    """
    _, rows = _results(out)
    if not any(row.corruption for row in rows):
        raise SystemExit(f"no results of corruptions under {out}: make eval-corruptions")
    show_corruptions(sorted(rows, key=lambda r: (r.backbone, r.codec, r.beta, r.recipe)), markdown)


def figures(out: str = "runs", to: str | None = None) -> None:
    """Draw the paper's figures from every result under a folder, as PNG and PDF.

    Args:
        out: folder of all runs, or one of them.
        to: folder to write to; ``<out>/figures`` if None.

    Raises:
        SystemExit: if there are no results that any figure shows.
    """
    _, rows = _results(out)
    written = write_figures(rows, to or Path(out) / "figures")
    if not written:
        raise SystemExit(f"no figure shows the results under {out}: make eval-attacks writes some")
    print(*written, sep="\n")


def _results(out: str) -> tuple[list[Path], list[Row]]:
    """Every file of results under a folder, and the rows in them."""
    files = sorted(Path(out).glob("**/eval/*/summary.json"))
    if not files:
        raise SystemExit(f"no results under {out}: make eval-clean writes some")
    return files, [row for file in files for row in read_summary(file)]


def export(student: str, to: str, tail: bool = True) -> None:
    """Write a student for sharing: convolutions in half precision, everything in one file.

    Args:
        student: file of a student.
        to: file to write, ending in .safetensors.
        tail: false leaves the tail out, for a distilled student: its tail is its teacher's.

    Raises:
        WeightsError: if there is no such student.
    """
    loaded, card = load_student(student)
    loaded.save(to, card, half=True, tail=tail)
    print(f"{card.name}: {Path(to).stat().st_size / 2**20:.1f} MiB in {to}")


def import_published(
    checkpoint: str,
    to: str | None = None,
    beta: float | None = None,
    backbone: str | None = None,
    out: str = "runs",
) -> None:
    """Turn a published sc2-benchmark student into one of ours; its streams stay the same.

    Args:
        checkpoint: a torch file, such as
            ilsvrc2012-splittable_resnet50-mshp-beta0.08_from_resnet50.pt.
        to: file to write, ending in .safetensors; in the student's folder under ``out`` if None.
        beta: weight of the rate in its training, where the file's name does not say it.
        backbone: timm name, where the tensors are of none of the published three.
        out: folder of all runs.

    Raises:
        WeightsError: if it is no such student.
    """
    student, card = import_sc2bench(checkpoint, beta, backbone)
    path = to or Path(out) / card.name / "student.safetensors"
    student.save(path, card)
    print(f"{card.name}: {path}")


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


def tradeoff(student: str, evaluation: str, out: str = "runs") -> None:
    """Draw size against accuracy over the strengths of a defense, and name the knee.

    Args:
        student: file of a student.
        evaluation: name of one of its evaluations, with --defense_strengths (make sweep-lambda).
        out: folder of all runs.

    Raises:
        SystemExit: if there is no such evaluation.
    """
    path = _evaluated(student, evaluation, out, "summary.json")
    try:
        found = curves(read_summary(path))
    except ValueError as error:
        raise SystemExit(f"entres: {error}") from error
    for name, of_name in found.items():
        best = knee(of_name)
        picture = path.with_name(f"tradeoff-{name}.png")
        draw_tradeoff(picture, of_name)
        strength = "no defense" if best.defense_strength is None else f"{best.defense_strength:g}"
        print(f"{name}: knee at {strength}, {best.kib_mean:.2f} KiB under {of_name[-1].label}")
        print(picture)


def threshold(
    student: str, evaluation: str = "clean", out: str = "runs", false_alarms: float = 0.05
) -> None:
    """Print the size in KiB that only a share of clean images pass, for an automatic defense.

    Args:
        student: file of a student.
        evaluation: name of one of its evaluations that holds clean images.
        out: folder of all runs.
        false_alarms: share of clean images that may pass it, in [0, 1).

    Raises:
        SystemExit: if there are no clean images, or the share is out of range.
    """
    if not 0 <= false_alarms < 1:
        raise SystemExit(f"entres: false_alarms is a share in [0, 1), got {false_alarms}")
    records = read_records(_evaluated(student, evaluation, out, "records.csv"))
    clean = [r for r in records if r["condition"] == "clean" and not r["defense"]]
    if not clean:
        raise SystemExit(f"entres: no clean images in the evaluation {evaluation!r}")
    sizes = torch.tensor([float(record["bits"]) for record in clean]).div(8 * KIB)
    print(f"{torch.quantile(sizes, 1 - false_alarms).item():.4f}")


def strongest(student: str, evaluation: str, out: str = "runs") -> None:
    """Print the worst of all attacks for each image, by defense and epsilon.

    Args:
        student: file of a student.
        evaluation: name of one of its evaluations, under several attacks or ways to attack.
        out: folder of all runs.

    Raises:
        SystemExit: if there are no attacks among them.
    """
    try:
        show_strongest(strongest_of(_evaluated(student, evaluation, out, "records.csv")))
    except ValueError as error:
        raise SystemExit(f"entres: {error}") from error


def _evaluated(student: str, evaluation: str, out: str, file: str) -> Path:
    """A file that an evaluation left."""
    path = evaluation_folder(out, read_card(student).name, evaluation) / file
    if not path.is_file():
        raise SystemExit(f"entres: no such evaluation, {path} is not there: entres test writes it")
    return path


VERBS: dict[str, Callable[..., None]] = {
    "results": results,
    "corruptions": corruptions,
    "figures": figures,
    "export": export,
    "import-sc2bench": import_published,
    "maps": maps,
    "strongest": strongest,
    "threshold": threshold,
    "tradeoff": tradeoff,
}
