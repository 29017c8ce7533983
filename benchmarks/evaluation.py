"""Images a second of a clean evaluation: every stream coded, one of sixteen, or sizes alone.

    python -m benchmarks.evaluation

The published way is that of sc2bench: one image at a time through compressai's own layers, coded,
its size the length of its pickled strings, decoded, classified; images in memory, nothing written.
Where sc2bench is installed, its own code stands first: the same student, the same images, loaded,
coded, sized, decoded and classified in batches of one. Ours is all of that, and files of results.
The floor is the student's network in batches, without codes or sizes.
"""

from __future__ import annotations

import argparse
import logging
import pickle
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from benchmarks.coding import published_decode, published_encode
from benchmarks.sc2bench_package import (
    MISSING,
    Found,
    evaluate,
    is_installed,
    sc2bench_student,
)
from benchmarks.timing import (
    Timed,
    add_student,
    add_threads,
    clock_of,
    machine,
    memory_of,
    print_table,
    published_layers,
    seconds_of,
)
from entres.bitstream import KIB
from entres.callbacks import Accuracy, BitSize, ResultsStore
from entres.data import PhotosDataModule
from entres.models import EntropicStudent, load_student
from entres.records import read_records
from entres.stages import Evaluation

SIDE = 224
CLASSES = 8
BATCH = 8
PACKAGE = "sc2bench's package, batches of one"
VERIFY = {"every stream coded": 1, "one of 16 coded": 16, "sizes alone": 10**9}


def photos(per_class: int, side: int) -> PhotosDataModule:
    """So many photographs of each of eight classes."""
    return PhotosDataModule(
        image_size=side, eval_limit_per_class=per_class, eval_batch_size=BATCH, num_workers=0
    )


def evaluation(
    file: str, folder: Path, per_class: int, side: int, verify: int = 16, ranks: int = 1
) -> Callable[[], object]:
    """An evaluation of a student on so many photographs of a class, its results in a folder."""
    module = Evaluation(file, coding_workers=0, verify_every=verify)
    data = photos(per_class, side)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

    def run() -> None:
        trainer = pl.Trainer(
            accelerator="cpu",
            devices=ranks,
            strategy="auto" if ranks == 1 else "ddp_spawn",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[BitSize(), Accuracy(), ResultsStore(folder)],
        )
        trainer.test(module, datamodule=data, verbose=False)

    return run


def images_of(data: PhotosDataModule) -> Tensor:
    """The photographs that an evaluation takes, float32 in [0, 1], shape (N, 3, H, W)."""
    data.setup("test")
    whole: Any = data.test_dataset
    return torch.stack([whole[index][0] for index in range(len(whole))]).float() / 255


def published(student: EntropicStudent, images: Tensor) -> Callable[[], object]:
    """One image at a time: coded, its size taken, decoded, classified."""
    codec: Any = published_layers(student.codec)
    side = codec.g_a(student.normalize(images[:1])).shape[-1]
    scale, shift = (x[:, None, None] for x in (codec.output_scale, codec.output_shift))

    def run() -> list[tuple[int, int]]:
        found = []
        for image in images:
            strings = published_encode(codec, student.normalize(image[None]))
            features = published_decode(codec, strings, side) * scale + shift
            label = student.tail(features).logits.argmax()
            found.append((sys.getsizeof(pickle.dumps(strings)), int(label)))
        return found

    return run


def agreement(theirs: Found, folder: Path) -> str:
    """In a sentence, whether sc2bench has found what our evaluation in a folder has."""
    records = read_records(folder / "records.csv")
    kib = sum(float(record["published_bytes"]) for record in records) / len(records) / KIB
    pairs = zip(theirs.predictions, records, strict=True)
    same = sum(label == int(record["prediction"]) for label, record in pairs)
    return (
        f"sc2bench finds {theirs.kib:.4f} KiB, entres by the same accounting {kib:.4f} KiB, and "
        f"both the same label for {same} of {len(records)} images"
    )


def network(student: EntropicStudent, images: Tensor) -> Callable[[], object]:
    """The floor: analysis, synthesis and tail."""
    return lambda: [
        student.tail(student.codec.synthesise(student.codec.analyse(student.normalize(x)))).logits
        for x in images.split(BATCH)
    ]


@torch.no_grad()
def main(words: Sequence[str] | None = None) -> list[Timed]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_student(parser)
    parser.add_argument("--per_class", type=int, default=8, help="images of each of 8 classes")
    parser.add_argument("--side", type=int, default=SIDE, help="of the photos, in px")
    parser.add_argument("--repeats", type=int, default=3, help="runs of which the median counts")
    add_threads(parser)
    arguments = parser.parse_args(words)
    clock = clock_of(arguments.threads)
    student, card = load_student(arguments.student)
    side = arguments.side
    data = photos(arguments.per_class, side)
    images = images_of(data)
    print(f"{card.name}, {len(images)} photos of {side} px, {machine()}")
    with tempfile.TemporaryDirectory() as name:
        ways: dict[str, Callable[[], object]] = {}
        if is_installed():
            package = sc2bench_student(student)
            dataset: Any = data.test_dataset
            ways[PACKAGE] = lambda: evaluate(package, dataset)
        else:
            print(MISSING)
        ways["published way, one image at a time"] = published(student, images)
        for way, verify in VERIFY.items():
            folder = Path(name) / str(verify)
            ways[way] = evaluation(arguments.student, folder, arguments.per_class, side, verify)
        ways["floor: the network alone"] = network(student, images)
        mib = memory_of(ways)
        seconds = seconds_of(ways, arguments.repeats, clock)
        if PACKAGE in ways:
            print(agreement(evaluate(package, dataset), Path(name) / str(min(VERIFY.values()))))
    each = {way: value / len(images) for way, value in seconds.items()}
    return [print_table("clean evaluation", each, "s an image", mib)]


if __name__ == "__main__":
    main()
