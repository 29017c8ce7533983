"""Both ends of the link without torch: numpy, onnxruntime and the entropy coder alone.

``entres export STUDENT FOLDER --onnx true`` writes what they read::

    head.onnx       images in [0, 1], (N, 3, H, W) ──► y, and z of the hyperprior
    gaussians.onnx  z_hat ──► scales and means of y          (of the hyperprior alone)
    tail.onnx       y_hat ──► logits                         (where it was not left out)
    coder.npz       the coding tables, the card, and a checksum of each graph

The streams are those of :class:`entres.models.EntropicStudent`, in the same container. onnxruntime
adds floats in another order than torch: a latent next to a rounding bound may come out one higher
or lower, which is another valid stream, and the hyperprior's choice of tables may differ, which the
receiver tells by the stream's fingerprint (docs/edge.md counts both).
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from entres.bitstream import (
    MAX_IMAGE_SIDE,
    Bitstream,
    BitstreamError,
    CodecId,
    check_expected,
    check_types,
    hyper_latent_side,
)
from entres.card import StudentCard, card_of
from entres.coding import Coder, IntArray, check_symbols, encode_image, tables_fingerprint
from entres.errors import EntresError, reason_of
from entres.image_faults import (
    ROUNDING,
    not_finite,
    out_of_range,
    shape_fault,
    size_fault,
    type_fault,
)

Float32 = npt.NDArray[np.float32]

HEAD = "head.onnx"
GAUSSIANS = "gaussians.onnx"
TAIL = "tail.onnx"
CODER = "coder.npz"
FORMAT = 1
"""Version of what stands in :data:`CODER`."""
STRINGS = {CodecId.FACTORIZED_PRIOR: ("y",), CodecId.MEAN_SCALE_HYPERPRIOR: ("y", "z")}
"""What each codec's strings hold, in their order."""
TABLES = ("cdfs", "lengths", "offsets")
"""The arrays of one coder; in the file ``y_cdfs`` and so on."""


class EdgeError(EntresError, RuntimeError):
    """An exported student that cannot be used."""


@dataclass(frozen=True)
class CodingTables:
    """What stands in ``coder.npz``: everything that the strings of an image are coded with.

    Attributes:
        card: of the student.
        codec: what stands in the header of its streams.
        coders: one for each string, in their order.
        medians: of the latent under the factorized distribution (y, or z of the hyperprior),
            float32, shape (channels, 1, 1).
        bounds: largest scale of each Gaussian table but the last, float32, rising; empty where
            there are no Gaussians.
        least_scale: what is smaller counts as this.
        checksums: CRC-32 of each graph beside it, by name of its file.
    """

    card: StudentCard
    codec: CodecId
    coders: tuple[Coder, ...]
    medians: Float32
    bounds: Float32
    least_scale: np.float32
    checksums: Mapping[str, int]

    @classmethod
    def read(cls, folder: Path) -> CodingTables:
        """The tables of an exported student.

        Raises:
            EdgeError: if there are none, or they are of a later format or damaged.
        """
        path = folder / CODER
        if not path.is_file():
            raise EdgeError(
                f"no exported student in {folder}: write one with entres export STUDENT {folder} "
                "--onnx true"
            )
        try:
            with np.load(path, allow_pickle=False) as file:
                content = dict(file)
            found = int(content["format"])
            if found == FORMAT:
                return cls._of(content)
        except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile, zlib.error) as error:
            raise EdgeError(
                f"{path} is damaged ({reason_of(error)}): export the student again"
            ) from error
        raise EdgeError(
            f"{path} has format {found}, this entres reads {FORMAT}: update one of both"
        )

    @classmethod
    def _of(cls, content: Mapping[str, Any]) -> CodingTables:
        codec = CodecId(int(content["codec"]))
        names = content["checksum_names"].tolist()
        return cls(
            card_of(str(content["card"])),
            codec,
            tuple(
                Coder.from_tables(*(content[f"{name}_{part}"] for part in TABLES))
                for name in STRINGS[codec]
            ),
            content["medians"],
            content["bounds"],
            np.float32(content["least_scale"]),
            dict(zip(names, map(int, content["checksums"]), strict=True)),
        )

    def gaussian_tables(self, scales: Float32) -> IntArray:
        """The table of every scale: the first whose scale is not smaller, else the last."""
        bounded = np.maximum(scales, self.least_scale)
        return np.searchsorted(self.bounds, bounded, side="left").astype(np.int32)

    def channel_tables(self, height: int, width: int) -> IntArray:
        """Tables of the factorized distribution, one for each channel: a view, of no size."""
        channels = len(self.medians)
        numbers = np.arange(channels, dtype=np.int32)[:, None, None]
        return np.broadcast_to(numbers, (channels, height, width))


class _End:
    """One end of the link: an exported student of which some graphs are run.

    Args:
        folder: as written by ``entres export ... --onnx true``.
        threads: of onnxruntime; None for as many as the machine has cores.

    Raises:
        EdgeError: if onnxruntime is not installed, or there is no such student.
    """

    def __init__(self, folder: str | Path, threads: int | None = None) -> None:
        self.folder = Path(folder)
        self.tables = CodingTables.read(self.folder)
        self._threads = threads

    @property
    def card(self) -> StudentCard:
        """What the student is."""
        return self.tables.card

    @cached_property
    def _gaussians_graph(self) -> Any:
        return self._graph(GAUSSIANS)

    def _gaussians(self, z_hat: Float32, shape: tuple[int, int]) -> tuple[Float32, Float32]:
        """Scales and means of y of one image, each (c, h, w) for ``shape`` = (h, w).

        One image at a time, on both sides: for a batch it might round otherwise.
        """
        height, width = shape
        scales, means = self._gaussians_graph.run(None, {"z_hat": z_hat[None]})
        return scales[0, :, :height, :width], means[0, :, :height, :width]

    def _graph(self, name: str) -> Any:
        """A graph of the folder, ready to run."""
        try:
            import onnxruntime
        except ModuleNotFoundError as error:
            raise EdgeError(
                "an exported student runs with onnxruntime: pip install onnxruntime"
            ) from error
        path = self.folder / name
        if name not in self.tables.checksums:
            raise EdgeError(
                f"{self.folder} was exported without {name}: export the student again, --tail true"
            )
        try:
            content = path.read_bytes()
        except OSError as error:
            raise EdgeError(
                f"cannot read {path} ({reason_of(error)}): export the student again"
            ) from error
        if zlib.crc32(content) != self.tables.checksums[name]:
            raise EdgeError(
                f"{path} is not the one that {CODER} was written with: export the student again"
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads or 0
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


class EdgeHead(_End):
    """The device's end: images to bitstreams.

    Args:
        folder: as written by ``entres export ... --onnx true``.
        threads: of onnxruntime; None for as many as the machine has cores.

    Raises:
        EdgeError: if onnxruntime is not installed, or there is no such student.
    """

    def __init__(self, folder: str | Path, threads: int | None = None) -> None:
        super().__init__(folder, threads)
        self._head = self._graph(HEAD)
        if self.tables.codec is CodecId.MEAN_SCALE_HYPERPRIOR:
            _ = self._gaussians_graph  # what is missing is said now, not at the first image

    def encode(self, images: npt.NDArray[Any]) -> list[Bitstream]:
        """One bitstream for each image; none for no images.

        Args:
            images: floating point in [0, 1] or uint8, shape (N, 3, H, W), sides of 32 px or more.

        Raises:
            ValueError: if they are no such images.
        """
        # One at a time: memory for one, and streams that do not depend on an image's company.
        return [self._encode(image) for image in checked_images(images)]

    def _encode(self, image: Float32) -> Bitstream:
        latents = [latent[0] for latent in self._head.run(None, {"images": image[None]})]
        y, tables = latents[0], self.tables
        values = np.rint(latents[-1] - tables.medians)
        symbols, choices = [values], [tables.channel_tables(*values.shape[1:])]
        if tables.codec is CodecId.MEAN_SCALE_HYPERPRIOR:
            scales, means = self._gaussians(values + tables.medians, y.shape[1:])
            symbols.insert(0, np.rint(y - means))
            choices.insert(0, tables.gaussian_tables(scales))
        for part in symbols:  # before they become integers, which cannot be NaN
            check_symbols(float(part.min()), float(part.max()))
        strings = encode_image(tables.coders, [part.astype(np.int32) for part in symbols], choices)
        fingerprint = tables_fingerprint(tables.coders, choices[0])
        return Bitstream(tables.codec, y.shape[1:], fingerprint, tuple(strings))


class EdgeTail(_End):
    """The server's end: bitstreams to logits.

    It understands its own :class:`EdgeHead`, and a sender with torch where both choose the same
    tables; :meth:`entres.models.EntropicStudent.decode` also finds the tables of a sender that
    rounds otherwise at a few places.

    Args:
        folder: as written by ``entres export ... --onnx true``.
        threads: of onnxruntime; None for as many as the machine has cores.

    Raises:
        EdgeError: if onnxruntime is not installed, there is no such student, or its tail was left
            out.
    """

    def __init__(self, folder: str | Path, threads: int | None = None) -> None:
        super().__init__(folder, threads)
        self._tail = self._graph(TAIL)

    def decode(self, streams: Sequence[Bitstream], max_side: int = MAX_IMAGE_SIDE) -> Float32:
        """Logits, shape (N, classes).

        Args:
            streams: at least one; all with latents of one shape.
            max_side: largest side, in px, of an image that is expected: a few bytes may announce
                any size, and memory is in proportion to it.

        Raises:
            ValueError: if the streams are no such batch.
            BitstreamError: if a stream is not of this student, announces a larger image, or was
                made with other tables.
        """
        y_hat = self.decode_latents(streams, max_side)
        (logits,) = self._tail.run(None, {"y_hat": y_hat})
        if not np.isfinite(logits).all():
            raise BitstreamError("the stream's symbols are no image's: its features overflow")
        found: Float32 = logits
        return found

    def decode_latents(
        self, streams: Sequence[Bitstream], max_side: int = MAX_IMAGE_SIDE
    ) -> Float32:
        """The quantized latents y_hat, shape (N, c, h, w); see :meth:`decode`."""
        check_types(streams)
        if not streams:
            raise ValueError("decode needs at least one stream, got none")
        shapes = {stream.latent_shape for stream in streams}
        if len(shapes) > 1:
            raise ValueError(f"streams of one batch must have one latent shape, got {shapes}")
        for stream in streams:
            check_expected(stream, self.tables.codec, max_side)
        return np.stack([self._decode(stream) for stream in streams])

    def _decode(self, stream: Bitstream) -> Float32:
        try:
            return self._decode_strings(stream)
        except BitstreamError:
            raise
        except ValueError as error:  # what the coder refuses is a fault of the stream
            raise BitstreamError(str(error)) from error

    def _decode_strings(self, stream: Bitstream) -> Float32:
        tables, shape = self.tables, stream.latent_shape
        hyperprior = tables.codec is CodecId.MEAN_SCALE_HYPERPRIOR
        height, width = map(hyper_latent_side, shape) if hyperprior else shape
        choice = tables.channel_tables(height, width)
        # Nothing of the announced size is built before the string can be of that size.
        coder, string = tables.coders[-1], stream.strings[-1]
        coder.check_length(len(string), np.full(len(coder.cdfs), height * width))
        if not hyperprior:
            self._check_fingerprint(stream, choice)
        latent: Float32 = coder.decode(string, choice).astype(np.float32) + tables.medians
        if not hyperprior:
            return latent
        scales, means = self._gaussians(latent, shape)
        choice = tables.gaussian_tables(scales)
        self._check_fingerprint(stream, choice)
        values = tables.coders[0].decode(stream.strings[0], choice)
        y_hat: Float32 = values.astype(np.float32) + means
        return y_hat

    def _check_fingerprint(self, stream: Bitstream, choice: IntArray) -> None:
        if stream.fingerprint != tables_fingerprint(self.tables.coders, choice):
            raise BitstreamError(
                "the latent was coded with other tables: by another student, or by a sender that "
                "rounds the hyper-synthesis otherwise"
            )


def checked_images(images: npt.NDArray[Any]) -> Float32:
    """What :func:`entres.images.checked_images` does, for numpy alone.

    Args:
        images: floating point in [0, 1], or uint8; shape (N, 3, H, W), sides of 32 px or more.

    Returns:
        float32, the same shape.

    Raises:
        ValueError: if they are anything else, in the same words.
    """
    batch = np.asarray(images)
    kind = str(batch.dtype)
    if batch.dtype != np.uint8 and not np.issubdtype(batch.dtype, np.floating):
        raise ValueError(type_fault(kind, batch.shape))
    if fault := shape_fault(kind, batch.shape):
        raise ValueError(fault)
    if fault := size_fault(batch.shape):
        raise ValueError(fault)
    if batch.dtype == np.uint8:
        return batch.astype(np.float32) / np.float32(255)
    if not batch.size:
        return batch.astype(np.float32)
    low, high = float(batch.min()), float(batch.max())
    tolerance = max(ROUNDING, float(np.finfo(batch.dtype).eps))
    if low >= -tolerance and high <= 1 + tolerance:
        return batch.clip(0, 1).astype(np.float32)
    finite = np.isfinite(batch).all((1, 2, 3))
    if not finite.all():
        raise ValueError(not_finite(int(finite.argmin()), len(batch)))
    raise ValueError(out_of_range(low, high))
