"""Verbs of the two ends of the link: photographs to streams, streams to classes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from entres import configs
from entres.bitstream import MAX_IMAGE_SIDE, Bitstream
from entres.errors import EntresError, reason_of
from entres.verbs.photographs import as_image, class_name, read_photograph

SUFFIX = ".entres"
"""Of a file that holds one stream."""


def encode(
    *photos: str, student: str | None = None, to: str = "streams", whole: bool = False
) -> None:
    """What the device does: a bitstream of every photograph, in a file of its own.

    Args:
        photos: files of images; turned upright, as their EXIF data say.
        student: file of a student (default: one that travels with the package).
        to: folder of the streams; each is called after its photograph.
        whole: code photographs in their full size; otherwise their shorter side becomes 256 px, and
            the centre of 224 px is coded.

    Raises:
        EntresError: if there are no photographs, two would give one file, or one cannot be coded.
    """
    from entres.files import write_whole
    from entres.models import load_student

    targets = [Path(to) / f"{Path(photo).stem}{SUFFIX}" for photo in photos]
    if not photos:
        raise EntresError("encode: name the photos to code: entres encode PHOTO ...")
    if twice := [p for p, t in zip(photos, targets, strict=True) if targets.count(t) > 1]:
        raise EntresError(
            f"{' and '.join(twice)} would give streams of one name: code them --to two folders"
        )
    network, _ = load_student(student or configs.EXAMPLE_STUDENT)

    def one(photo: str, target: Path) -> str:
        (stream,) = network.encode(as_image(read_photograph(photo), whole)[None])
        write_whole(target, bytes(stream))
        return f"{target}: {len(stream)} bytes"

    _each(photos, targets, one)


def decode(*files: str, student: str | None = None, max_side: int = MAX_IMAGE_SIDE) -> None:
    """What the server does: the class of every stream, and its probability.

    Args:
        files: of streams, as entres encode writes them.
        student: file of the student that coded them (default: one that travels with the package).
        max_side: largest side, in px, of an image that is expected.

    Raises:
        EntresError: if there are no files, or one is no stream of that student.
    """
    from entres.models import load_student

    if not files:
        raise EntresError(f"decode: name files of streams: entres decode FILE{SUFFIX} ...")
    network, card = load_student(student or configs.EXAMPLE_STUDENT)

    def one(file: str, _: Path) -> str:
        stream = Bitstream.from_bytes(Path(file).read_bytes())
        probability, label = network.decode([stream], max_side)[0].softmax(0).max(0)
        return f"{file}: {class_name(card, int(label))}, {float(probability):.1%}"

    _each(files, [Path(file) for file in files], one)


def _each(files: Sequence[str], targets: Sequence[Path], work: Callable[[str, Path], str]) -> None:
    """Print what became of every file; one that fails does not stop the others.

    Raises:
        EntresError: at the end, if any failed.
    """
    failed: list[str] = []
    for file, target in zip(files, targets, strict=True):
        try:
            print(work(file, target))
        except (OSError, ValueError, EntresError) as error:
            reason = reason_of(error)
            failed.append(reason if file in reason else f"{file}: {reason}")
            if len(files) > 1:
                print(f"entres: {failed[-1]}", file=sys.stderr)
    if len(failed) < len(files) and failed:
        raise EntresError(f"{len(failed)} of {len(files)} files failed; the others are done")
    if failed:
        raise EntresError(failed[0] if len(files) == 1 else f"all {len(files)} files failed")
