"""Data sets of the Hugging Face hub."""

from __future__ import annotations

import io
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.utilities import rank_zero_info
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from entres.data.checks import DataError
from entres.data.folder_source import Transform, some
from entres.data.reading import examine, read_rgb, why
from entres.data.sampling import held_out
from entres.data.sized import SizedDataModule
from entres.data.sources import Examined, ImageSource

TEST_SPLITS = ("validation", "valid", "val", "test")
"""Names of the split that is evaluated on, the first that is there: of test splits on the hub, the
labels are often kept back."""
SAVED = ("dataset_dict.json", "state.json")
"""What ``save_to_disk`` writes: of several splits, and of one."""


class RowSource(ImageSource):
    """Decodes images of a table.

    Args:
        rows: the table, its images as they are stored (``decode=False``).
        column: the images' column.
        numbers: rows that are used, shape (N,).
        labels: their labels, int64, shape (N,).
        transform: from the decoded image to one of the final size.
        draft_size: see :func:`entres.data.reading.read_rgb`.
        exif_orientation: whether images are turned upright, as their EXIF data say.
        name: of the table, to say where an image comes from.
    """

    def __init__(
        self,
        rows: Any,
        column: str,
        numbers: NDArray[np.int64],
        labels: NDArray[np.int64],
        transform: Transform,
        draft_size: int | None,
        exif_orientation: bool,
        name: str,
    ) -> None:
        self.rows = rows
        self.column = column
        self.numbers = numbers
        self.labels = labels
        self.transform = transform
        self.draft_size = draft_size
        self.exif_orientation = exif_orientation
        self.name = name

    def where(self, index: int) -> str:
        """See :meth:`ImageSource.where`."""
        return f"row {self.numbers[index]} of {self.name}"

    def key(self, index: int) -> str:
        """See :meth:`ImageSource.key`: the number of its row."""
        return f"row {self.numbers[index]}"

    def _content(self, index: int) -> bytes:
        stored = self.rows[int(self.numbers[index])][self.column]
        if stored is None:
            raise ValueError("it is empty")
        if stored["bytes"] is not None:
            return bytes(stored["bytes"])
        return Path(stored["path"]).read_bytes()

    def examine(self, index: int) -> Examined:
        """See :meth:`ImageSource.examine`."""
        # What tables and files raise.
        try:
            content = self._content(index)
        except Exception as error:
            return Examined("none", "none", 0, 0, 0, 1, b"", why(error))
        return examine(content)

    def image(self, index: int) -> Tensor:
        """See :meth:`ImageSource.image`."""
        try:
            content = io.BytesIO(self._content(index))
            decoded = read_rgb(content, self.draft_size, self.exif_orientation)
        except Exception as error:
            raise DataError(
                f"cannot read the image in {self.where(index)} ({why(error)}): leave it out with "
                "datasets.Dataset.select; `entres check-data` names all such images"
            ) from error
        try:
            tensor: Tensor = F.pil_to_tensor(self.transform(decoded))
        except DataError as error:
            raise DataError(f"{self.where(index)}: {error}") from error
        return tensor


class HuggingFaceDataModule(SizedDataModule):
    """A data set of images and labels from the Hugging Face hub, or one that was saved from there.

    Needs the package datasets: ``pip install 'entres[hf]'``. Where there is no network, ``path``
    may be a folder that ``datasets.load_dataset(...).save_to_disk(folder)`` wrote elsewhere.

    Where there is a training split alone, some images of every class are kept for test, chosen by
    the number of their row.

    Args:
        path: name on the hub, for example ``uoft-cs/cifar100``, or a folder.
        config: which of the data set's configurations; ``None``: its only one.
        revision: which version of the data set (a branch, tag or commit); ``None``: the newest.
        train_split: name of the training split.
        val_split: name of the split for evaluation; ``None``: the first that is there of
            validation, valid, val and test, else a part of the training split.
        image_column: name of the column of images.
        label_column: name of the column of labels: a class label, or any strings or whole numbers.
        test_share: part of every class that is kept for test where there is one split alone.
        cache_dir: where downloads are kept; ``None``: where the package keeps them.
        kwargs: for :class:`SizedDataModule` and :class:`ImageDataModule`.

    Raises:
        ValueError: if a value is out of range.
        DataError: when the data are first looked at, if the package or the data set cannot be had,
            or a split or a column is not there.
    """

    changes_no_training = frozenset({"cache_dir", "val_split"})
    changes_no_evaluation = frozenset({"cache_dir"})

    def __init__(
        self,
        path: str,
        config: str | None = None,
        revision: str | None = None,
        train_split: str = "train",
        val_split: str | None = None,
        image_column: str = "image",
        label_column: str = "label",
        test_share: float = 0.2,
        cache_dir: str | Path | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not 0 < test_share < 1:
            raise ValueError(f"test_share must be between 0 and 1, got {test_share}")
        self.path = str(path)
        self.name = Path(self.path).resolve().name
        self.config = config
        self.revision = revision
        self.train_split = train_split
        self.val_split = val_split
        self.image_column = image_column
        self.label_column = label_column
        self.test_share = test_share
        self.cache_dir = cache_dir
        self._said = False

    @cached_property
    def splits(self) -> Mapping[str, Any]:
        """Name of every split -> its table."""
        try:
            import datasets
        except ImportError as error:
            raise DataError(
                "data sets of the Hugging Face hub need the package datasets "
                f"({error}): pip install 'entres[hf]'"
            ) from error
        folder = Path(self.path)
        try:
            if any((folder / name).is_file() for name in SAVED):
                loaded = datasets.load_from_disk(self.path)
            else:
                cache = None if self.cache_dir is None else str(self.cache_dir)
                loaded = datasets.load_dataset(
                    self.path, self.config, revision=self.revision, cache_dir=cache
                )
        # The package lets through what its dozen of libraries raise.
        except Exception as error:
            raise DataError(
                f"cannot load {self.path!r} from the Hugging Face hub ({why(error)}): check path, "
                "config and the network, or, where there is one, save it with "
                f"datasets.load_dataset({self.path!r}).save_to_disk(FOLDER) and give path: FOLDER"
            ) from error
        tables = dict(loaded) if isinstance(loaded, Mapping) else {self.train_split: loaded}
        for split, table in tables.items():
            for column in (self.image_column, self.label_column):
                if column not in table.features:
                    raise DataError(
                        f"no column {column!r} in the split {split!r} of {self.path}, which has "
                        f"{some(set(table.features))}: name yours with image_column and "
                        "label_column"
                    )
            if not isinstance(table.features[self.image_column], datasets.Image):
                raise DataError(
                    f"the column {self.image_column!r} of {self.path} holds "
                    f"{table.features[self.image_column]}, no images: name theirs with image_column"
                )
            # Decoded here, as other files are: in less time, and with errors that say where.
            tables[split] = table.cast_column(self.image_column, datasets.Image(decode=False))
        return tables

    @cached_property
    def test_split(self) -> str | None:
        """Name of the split for evaluation; ``None``: a part of the training split."""
        if self.val_split is not None:
            self._table(self.val_split, "val_split")
            return self.val_split
        return next((name for name in TEST_SPLITS if name in self.splits), None)

    def _table(self, split: str, argument: str) -> Any:
        if split not in self.splits:
            raise DataError(
                f"no split {split!r} in {self.path}, which has {some(set(self.splits))}: name one "
                f"with {argument}"
            )
        return self.splits[split]

    def _column(self, table: Any) -> list[Any]:
        column: list[Any] = table.select_columns([self.label_column])[:][self.label_column]
        return column

    @cached_property
    def _classes(self) -> list[Any]:
        """The labels as they stand in the tables, in the order of the classes."""
        feature = next(iter(self.splits.values())).features[self.label_column]
        if hasattr(feature, "names"):
            return list(range(len(feature.names)))
        values = {value for table in self.splits.values() for value in self._column(table)}
        return sorted(values - {None})

    @cached_property
    def class_names(self) -> list[str]:
        """See :attr:`ImageDataModule.class_names`."""
        feature = next(iter(self.splits.values())).features[self.label_column]
        return [str(name) for name in getattr(feature, "names", self._classes)]

    def _labels(self, split: str, argument: str) -> NDArray[np.int64]:
        numbers = {value: number for number, value in enumerate(self._classes)}
        column = self._column(self._table(split, argument))
        # Labels that are kept back are -1.
        if unknown := {str(value) for value in column if value not in numbers}:
            raise DataError(
                f"the split {split!r} of {self.path} has images without a label "
                f"({some(unknown)}): name another with {argument}"
            )
        return np.array([numbers[value] for value in column], dtype=np.int64)

    @cached_property
    def _held_out(self) -> NDArray[np.bool_]:
        """Which images of the only split are for test."""
        labels = self._labels(self.train_split, "train_split")
        counts = np.bincount(labels, minlength=len(self.class_names))
        if single := {self.class_names[label] for label in np.flatnonzero(counts == 1)}:
            raise DataError(
                f"one image only of the classes {some(single)} of {self.path}, which has to give "
                "images for training and for test: name a split for evaluation with val_split"
            )
        return held_out([str(row) for row in range(len(labels))], labels, self.test_share)

    def prepare_data(self) -> None:
        """Downloads what is not there yet."""
        _ = self.splits

    def setup(self, stage: str | None = None) -> None:
        """See :meth:`ImageDataModule.setup`. Says once where images were split here."""
        super().setup(stage)
        if self.test_split is None and not self._said:
            self._said = True
            test, every = int(self._held_out.sum()), len(self._held_out)
            rank_zero_info(
                f"no split for evaluation in {self.path}: {every - test} of {every} images train, "
                f"{test} test, chosen by the number of their row"
            )

    def training_source(self) -> RowSource:
        """See :meth:`ImageDataModule.training_source`."""
        part = None if self.test_split is not None else ~self._held_out
        return self._source(self.train_split, "train_split", part, *self._training_transform())

    def evaluation_source(self) -> RowSource:
        """See :meth:`ImageDataModule.evaluation_source`."""
        transform = self._centre_crop(self.image_size)
        if self.test_split is None:
            split, argument = self.train_split, "train_split"
            return self._source(split, argument, self._held_out, transform, None)
        return self._source(self.test_split, "val_split", None, transform, None)

    def sources(self) -> dict[str, ImageSource]:
        """See :meth:`ImageDataModule.sources`; without training images where there are none."""
        if self.train_split in self.splits:
            return super().sources()
        return {"val": self.evaluation_source()}

    def _source(
        self,
        split: str,
        argument: str,
        part: NDArray[np.bool_] | None,
        transform: Transform,
        draft_size: int | None,
    ) -> RowSource:
        labels = self._labels(split, argument)
        numbers = np.arange(len(labels)) if part is None else np.flatnonzero(part)
        return RowSource(
            self._table(split, argument).select_columns([self.image_column]),
            self.image_column,
            numbers.astype(np.int64),
            labels[numbers],
            transform,
            draft_size,
            self.exif_orientation,
            f"the split {split!r} of {self.path}",
        )
