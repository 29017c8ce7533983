"""The images of a class folder tree: which there are, and reading them."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from entres.data.checks import DataError
from entres.data.reading import PLUG_INS, examine, read_rgb, readable_suffixes, why
from entres.data.sources import Examined, ImageSource

Transform = Callable[[Image.Image], Image.Image]

DROPPINGS = frozenset((".ds_store", "thumbs.db", "desktop.ini"))
"""Files that operating systems leave in folders: passed over without a word."""
NOT_FOLDERS_OF_IMAGES = frozenset(("__macosx", "@eadir", "#recycle", "$recycle.bin", "lost+found"))
"""Folders that archives and storage devices make: what lies in them are copies or thumbnails."""
MOST_REASONS = 8  # A folder of a project may hold files of any number of kinds.


@dataclass
class Skipped:
    """Files that are not read, counted by reason.

    Attributes:
        reasons: the reason, in words -> how many, and the path of the first by name.
    """

    reasons: dict[str, tuple[int, str]] = field(default_factory=dict)

    def add(self, reason: str, path: str, count: int = 1) -> None:
        """Counts a file.

        Args:
            reason: why it is not read.
            path: its path, for an example.
            count: how many more this stands for.
        """
        before, example = self.reasons.get(reason, (0, path))
        self.reasons[reason] = (before + count, min(example, path))

    def update(self, other: Skipped, prefix: str = "") -> None:
        """Adds those of another folder, whose paths begin with ``prefix`` from here."""
        for reason, (count, example) in other.reasons.items():
            self.add(reason, prefix + example, count)

    def __len__(self) -> int:
        return sum(count for count, _ in self.reasons.values())

    def __str__(self) -> str:
        most_first = sorted(self.reasons.items(), key=lambda item: (-item[1][0], item[0]))
        parts = [
            f"{count} {reason} ({example}{', ...' if count > 1 else ''})"
            for reason, (count, example) in most_first[:MOST_REASONS]
        ]
        if others := most_first[MOST_REASONS:]:
            parts.append(f"{sum(count for _, (count, _) in others)} others")
        return ", ".join(parts)


@dataclass(frozen=True)
class FolderIndex:
    """The images of one split. Arrays, not lists of strings: a million paths fit in some 50 MB.

    Attributes:
        root: folder of the split.
        classes: names of the class folders, sorted, in Unicode's composed form (NFC).
        folders: the same as they are stored.
        files: path of every image within its class folder as bytes, sorted within a class, shape
            (N,).
        members: number of every image's class folder, shape (N,).
        skipped: what else lies there.
    """

    root: Path
    classes: tuple[str, ...]
    folders: tuple[str, ...]
    files: NDArray[np.bytes_]
    members: NDArray[np.int64]
    skipped: Skipped = field(default_factory=Skipped)

    def path(self, index: int) -> Path:
        """Path of one image."""
        file: bytes = self.files[index]
        return Path(self.root, self.folders[self.members[index]], os.fsdecode(file))

    def key(self, index: int) -> str:
        """Name of one image that is the same on every file system: ``<class>/<path>``, in NFC."""
        file = os.fsdecode(bytes(self.files[index]))
        return f"{self.classes[self.members[index]]}/{composed(file)}"

    def part(self, positions: NDArray[np.int64] | NDArray[np.bool_]) -> FolderIndex:
        """The index of some of the images, in their order."""
        return replace(self, files=self.files[positions], members=self.members[positions])


def composed(name: str) -> str:
    """A name as Unicode composes it: one and the same, whoever wrote the accents how."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def _by_name(file: bytes) -> tuple[bytes, bytes]:
    return (file if file.isascii() else os.fsencode(composed(os.fsdecode(file)))), file


def _suffix(name: str) -> str:
    stem, _, suffix = name.rpartition(".")
    return f".{suffix.lower()}" if stem and suffix else ""


def _is_passed_over(name: str) -> bool:
    return name.startswith(".") or name.lower() in NOT_FOLDERS_OF_IMAGES


def need_folder(data_dir: Path) -> None:
    """Check that the folder of the data is there, before what is missing in it is listed.

    Raises:
        DataError: if it is not.
    """
    if not data_dir.is_dir():
        what = f"{data_dir} is no folder" if data_dir.exists() else f"no folder {data_dir}"
        raise DataError(f"{what}: check data_dir")


def class_folders(root: Path) -> dict[str, str]:
    """The class folders in a split's folder.

    Returns:
        Name in composed form (NFC) -> name as it is stored, sorted by the first.

    Raises:
        DataError: if the folder is missing or holds no folders, or two are of one name.
    """
    layout = f"expected {root}/<class>/*.jpg"
    if not root.is_dir():
        above = root.parent
        need_folder(above)
        others = {path.name for path in above.iterdir() if path.is_dir()}
        beside = f" ({above} holds {some(others)})" if others else ""
        raise DataError(f"no folder {root}: {layout}; check data_dir{beside}")
    visible = [entry for entry in _entries(root) if not _is_passed_over(entry.name)]
    stored: dict[str, str] = {}
    for name in sorted(entry.name for entry in visible if entry.is_dir()):
        other = stored.setdefault(composed(name), name)
        if other != name:
            raise DataError(
                f"two class folders in {root} are both called {composed(name)!r}, their accents "
                "stored in two ways: move the images of one into the other"
            )
    if not stored:
        images = sum(_suffix(entry.name) in readable_suffixes() for entry in visible)
        found = f"{images} images lie in it directly" if images else "it holds no images either"
        raise DataError(
            f"no class folders in {root} ({found}): {layout}; move every image into the folder "
            "of its class"
        )
    return dict(sorted(stored.items()))


def list_classes(root: Path) -> tuple[str, ...]:
    """Names of the class folders in a split's folder, sorted; see :func:`class_folders`."""
    return tuple(class_folders(root))


def same_classes(
    first: Path, second: Path, called: tuple[str, str] = ("the first", "the second")
) -> tuple[str, ...]:
    """Names of the class folders of two splits, sorted.

    Args:
        first: folder of a split.
        second: folder of another.
        called: short names of the two, for the message.

    Raises:
        DataError: if they are not the same in both; see also :func:`list_classes`.
    """
    classes, others = list_classes(first), list_classes(second)
    if classes != others:
        raise DataError(
            f"the classes in {first} and {second} differ: only in {called[0]}: "
            f"{some(set(classes) - set(others))}; only in {called[1]}: "
            f"{some(set(others) - set(classes))}; both need the same class folders"
        )
    return classes


def some(names: set[str], most: int = 5) -> str:
    """Lists a few names for a message."""
    listed = ", ".join(sorted(names)[:most]) or "none"
    return f"{listed}, ... ({len(names)} in all)" if len(names) > most else listed


def index_folder(root: Path) -> FolderIndex:
    """Lists a split once, in an order that depends on names alone.

    Folders inside a class folder, and folders that links lead to, belong to the class.

    Args:
        root: folder that holds one folder per class.

    Raises:
        DataError: if the folder is missing, or a class is empty.
    """
    stored = class_folders(root)
    skipped = Skipped()
    for entry in _entries(root):
        # What is a folder, and no class, is one of those that are passed over.
        if not entry.is_dir():
            _skip(entry, entry.name, skipped, beside=True)
    files: list[list[bytes]] = []
    for folder in stored.values():
        within = Skipped()
        found = _images(root / folder, "", readable_suffixes(), within, frozenset())
        if not found:
            holds = f"it holds {within}" if len(within) else "it is empty"
            raise DataError(
                f"no images in the class folder {root / folder} ({holds}): add some, for example "
                "*.jpg, *.png or *.tif, or remove the folder"
            )
        skipped.update(within, f"{folder}/")
        files.append(sorted(found, key=_by_name))
    members = np.repeat(np.arange(len(stored)), [len(found) for found in files])
    return FolderIndex(
        root,
        tuple(stored),
        tuple(stored.values()),
        np.array([file for found in files for file in found]),
        members.astype(np.int64),
        skipped,
    )


def _images(
    folder: Path,
    prefix: str,
    suffixes: frozenset[str],
    skipped: Skipped,
    above: frozenset[tuple[int, int]],
) -> list[bytes]:
    """Paths of the images in a folder and those inside it, each after ``prefix``."""
    found = []
    inside = []
    # scandir knows the type of most entries without a further system call.
    for entry in _entries(folder):
        name = entry.name
        # ImageNet has a million that end here.
        if name[0] != "." and _suffix(name) in suffixes and entry.is_file():
            found.append(os.fsencode(prefix + name))
        elif entry.is_dir():
            if not _is_passed_over(name):
                inside.append(name)
        else:
            _skip(entry, prefix + name, skipped)
    if inside:
        status = folder.stat()
        above |= {(status.st_dev, status.st_ino)}
    for name in inside:
        status = (folder / name).stat()
        if (status.st_dev, status.st_ino) in above:
            skipped.add("links to a folder that they lie in", prefix + name)
        else:
            found += _images(folder / name, f"{prefix}{name}/", suffixes, skipped, above)
    return found


def _skip(entry: os.DirEntry[str], path: str, skipped: Skipped, beside: bool = False) -> None:
    """Counts what is not read; ``beside``: it lies beside the class folders."""
    suffix = _suffix(entry.name)
    if entry.name.lower() in DROPPINGS:
        return
    if entry.name.startswith("."):
        skipped.add("hidden", path)
    elif entry.is_symlink() and not entry.is_file():
        skipped.add("broken links", path)
    elif suffix in PLUG_INS and suffix not in readable_suffixes():
        skipped.add(f"{suffix} that `pip install {PLUG_INS[suffix]}` would read", path)
    elif suffix not in readable_suffixes():
        skipped.add(f"{suffix}" if suffix else "without a suffix", path)
    elif beside:
        skipped.add("images beside the class folders", path)
    else:
        skipped.add("that are no files", path)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What lies in a folder.

    Raises:
        DataError: if that cannot be listed.
    """
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise DataError(f"cannot list the folder {folder}: {why(error)}") from error


class FolderSource(ImageSource):
    """Decodes images of a folder.

    Args:
        index: the images.
        class_labels: label of every class folder.
        transform: from the decoded image to one of the final size.
        draft_size: a JPEG may be decoded at a fraction of its size, but not below this side, in
            pixels. Much faster for photos of many megapixels. ``None``: at its full size.
        exif_orientation: whether images are turned upright, as their EXIF data say.
    """

    def __init__(
        self,
        index: FolderIndex,
        class_labels: list[int],
        transform: Transform,
        draft_size: int | None = None,
        exif_orientation: bool = False,
    ) -> None:
        self.index = index
        self.labels = np.array(class_labels, dtype=np.int64)[index.members]
        self.transform = transform
        self.draft_size = draft_size
        self.exif_orientation = exif_orientation

    def where(self, index: int) -> str:
        """See :meth:`ImageSource.where`."""
        return str(self.index.path(index))

    def key(self, index: int) -> str:
        """See :meth:`ImageSource.key`: ``<class>/<path>``."""
        # Names that are no text on this system must not stop what writes them down.
        return self.index.key(index).encode("utf-8", "replace").decode()

    def examine(self, index: int) -> Examined:
        """See :meth:`ImageSource.examine`."""
        try:
            content = self.index.path(index).read_bytes()
        except OSError as error:
            return Examined("none", "none", 0, 0, 0, 1, b"", why(error))
        return examine(content)

    def image(self, index: int) -> Tensor:
        """See :meth:`ImageSource.image`."""
        path = self.index.path(index)
        try:
            decoded = read_rgb(path, self.draft_size, self.exif_orientation)
        # Pillow reports damage as errors of a dozen types.
        except Exception as error:
            raise DataError(
                f"cannot read the image {path} ({why(error)}): replace or remove it; "
                "`entres check-data` names all such files"
            ) from error
        try:
            tensor: Tensor = F.pil_to_tensor(self.transform(decoded))
        except DataError as error:
            raise DataError(f"{path}: {error}") from error
        return tensor
