"""Where images come from, and the data sets that serve them to training and evaluation."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from entres.data.checks import DataError
from entres.data.sampling import Key, mix_seed

Sample = tuple[Tensor, int, int]
"""Image, uint8 in [0, 255], shape (3, H, W); label; stable index of the image in its split."""


class Examined(NamedTuple):
    """What is found in one stored image.

    Attributes:
        kind: its format, for example ``JPEG``.
        mode: its channels, in Pillow's words.
        width: in pixels, as stored; 0 where the image does not open.
        height: likewise.
        size: of what is stored, in bytes.
        orientation: EXIF's number, 1 to 8; 1 is upright.
        digest: of what is stored: equal for equal files.
        error: why it cannot be read; ``None`` if it can.
    """

    kind: str
    mode: str
    width: int
    height: int
    size: int
    orientation: int
    digest: bytes
    error: str | None


class ImageSource(ABC):
    """All images of one split, decoded, cropped and (for training) augmented.

    Attributes:
        labels: label of every image, int64, shape (N,).
    """

    labels: NDArray[np.int64]

    @abstractmethod
    def image(self, index: int) -> Tensor:
        """Gives one image at its final size.

        Random choices come from torch's global CPU generator alone: the data set seeds it.

        Args:
            index: position in ``labels``.

        Returns:
            The image, uint8 in [0, 255], shape (3, H, W).

        Raises:
            DataError: if the image cannot be read; names the file.
        """

    def where(self, index: int) -> str:
        """Where one image comes from: words to name it by."""
        return f"image {index}"

    def key(self, index: int) -> str | None:
        """A name of one image that is the same wherever the data lie; None if it has none."""
        return None

    def examine(self, index: int) -> Examined:
        """Reads one image to the end, and says what it found instead of failing."""
        try:
            image = self.image(index)
        except DataError as error:
            return Examined("none", "none", 0, 0, 0, 1, b"", str(error))
        height, width = image.shape[-2:]
        content = image.contiguous().numpy().tobytes()
        digest = hashlib.blake2b(content, digest_size=16).digest()
        return Examined("array", "RGB", width, height, len(content), 1, digest, None)

    def __len__(self) -> int:
        return len(self.labels)


class EvaluationDataset(Dataset[Sample]):
    """A subset of a source, in order.

    Args:
        source: the split.
        indices: indices into the source, shape (M,).
    """

    def __init__(self, source: ImageSource, indices: Sequence[int] | NDArray[np.int64]) -> None:
        self.source = source
        self.indices = np.asarray(indices, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: int) -> Sample:
        index = int(self.indices[position])
        return self.source.image(index), int(self.source.labels[index]), index


class TrainingDataset(Dataset[Sample]):
    """A subset of a source whose random augmentation depends on (seed, epoch, index) alone.

    Neither the worker that loads an image, nor the rank, nor what was loaded before changes the
    augmented image; the caller's random state is left as it was.

    Args:
        source: the split; its :meth:`ImageSource.image` augments.
        indices: indices into the source, shape (M,).
        seed: the run's seed.
    """

    def __init__(
        self, source: ImageSource, indices: Sequence[int] | NDArray[np.int64], seed: int
    ) -> None:
        self._plain = EvaluationDataset(source, indices)
        self.source = source
        self.seed = seed

    def __len__(self) -> int:
        return len(self._plain)

    def __getitem__(self, key: Key | int) -> Sample:
        # A bare position comes from samplers that know no epoch (Trainer(overfit_batches=...)).
        position, epoch = key if isinstance(key, tuple) else (key, 0)
        seed = mix_seed(self.seed, epoch, int(self._plain.indices[position]))
        with torch.random.fork_rng(devices=[]):
            # Not torch.manual_seed: it would seed the accelerators too, and nothing restores those.
            torch.default_generator.manual_seed(seed)
            return self._plain[position]
