"""A student as ONNX graphs and coding tables: what :mod:`entres.edge` runs without torch."""

from __future__ import annotations

import copy
import io
import json
import logging
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from entres import edge
from entres.bitstream import hyper_latent_side
from entres.card import StudentCard
from entres.errors import WeightsError
from entres.files import write_whole
from entres.models.codecs import FactorizedPrior, MeanScaleHyperprior
from entres.models.student import EntropicStudent

SIDES = (96, 128)
"""Height and width of the images that the head is traced with, in px."""
TAIL_SIDE = 224
"""Of those that the tail is traced with, where the student's card does not say its own."""
OPSET = 18


class _Head(nn.Module):
    """Images in [0, 1] to y, and to z of the hyperprior."""

    def __init__(self, student: EntropicStudent) -> None:
        super().__init__()
        self.normalize = student.normalize
        self.g_a = student.codec.g_a
        self.h_a = getattr(student.codec, "h_a", None)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        y: Tensor = self.g_a(self.normalize(images))
        return (y,) if self.h_a is None else (y, self.h_a(_on_hyper_grid(y)))


class _Gaussians(nn.Module):
    """The rounded z to scales and means, not yet cropped to y."""

    def __init__(self, codec: MeanScaleHyperprior) -> None:
        super().__init__()
        self.h_s = codec.h_s

    def forward(self, z_hat: Tensor) -> tuple[Tensor, Tensor]:
        scales, means = self.h_s(z_hat).chunk(2, 1)
        return scales, means


class _Tail(nn.Module):
    """The quantized latent to logits."""

    def __init__(self, student: EntropicStudent) -> None:
        super().__init__()
        self.codec = student.codec
        self.tail = student.tail

    def forward(self, y_hat: Tensor) -> Tensor:
        logits: Tensor = self.tail(self.codec.synthesise(y_hat)).logits
        return logits


class _Graph(NamedTuple):
    """One graph that is to be written; ``example`` is one that goes in."""

    file: str
    module: nn.Module
    example: Tensor
    input: str
    outputs: Sequence[str]


def _on_hyper_grid(y: Tensor) -> Tensor:
    """What :func:`entres.models.layers.pad_to_hyper_grid` does, for sizes not known yet.

    A question about a size would be answered for all of them when the graph is traced.
    """
    for axis in (2, 3):
        side = y.shape[axis]
        places = torch.arange(4 * hyper_latent_side(side) - 1, device=y.device)
        y = y.index_select(axis, places.clamp(max=side - 1))
    return y


@torch.no_grad()
def export_onnx(
    student: EntropicStudent,
    card: StudentCard,
    folder: str | Path,
    tail: bool = True,
    written: Callable[[Path], None] = lambda _: None,
) -> None:
    """Write a student for :mod:`entres.edge`.

    The coding tables come last, with a checksum of every graph: where the export was stopped, or a
    file is of another one, the folder is refused.

    Args:
        student: with tables of its parameters.
        card: what it is.
        folder: made where there is none; files of an earlier export are replaced.
        tail: False leaves the tail out, as the device does without. Its sizes are reasoned about
            layer by layer, which takes a minute or two.
        written: called with every file when it is there.

    Raises:
        WeightsError: if the codec is one of your own with other strings, a package is missing, or
            torch cannot write one of the networks as a graph.
        StaleTablesError: if the tables are not those of the parameters.
    """
    folder = Path(folder)
    _check(student, folder)
    student.codec.coders()  # stale tables are refused before anything is written
    plain = copy.deepcopy(student).cpu().eval().requires_grad_(False)
    (folder / edge.CODER).unlink(missing_ok=True)
    if not tail:
        (folder / edge.TAIL).unlink(missing_ok=True)
    checksums = {}
    for graph in _graphs(plain, card, tail):
        content = _traced(graph, card)
        checksums[graph.file] = zlib.crc32(content)
        written(write_whole(folder / graph.file, content))
    written(write_whole(folder / edge.CODER, _tables(plain, card, checksums)))


def _check(student: EntropicStudent, folder: Path) -> None:
    if not isinstance(student.codec, FactorizedPrior | MeanScaleHyperprior):
        raise WeightsError(
            f"{type(student.codec).__name__} cannot be exported: a factorized prior or a "
            "mean-scale hyperprior can, and what derives from one"
        )
    if folder.exists() and not folder.is_dir():
        raise WeightsError(f"{folder} is a file: name the folder that the graphs are written to")
    try:
        import onnxscript  # noqa: F401
    except ModuleNotFoundError as error:
        raise WeightsError("ONNX needs two packages more: pip install 'entres[onnx]'") from error


def _graphs(student: EntropicStudent, card: StudentCard, tail: bool) -> Iterator[_Graph]:
    codec = student.codec
    head = _Head(student)
    latents = edge.STRINGS[codec.id]
    yield _Graph(edge.HEAD, head, torch.rand(2, 3, *SIDES), "images", latents)
    if isinstance(codec, MeanScaleHyperprior):
        z = torch.zeros(2, codec.hyper_channels, 3, 5)
        yield _Graph(edge.GAUSSIANS, _Gaussians(codec), z, "z_hat", ("scales", "means"))
    if tail:
        side = card.train_size or TAIL_SIDE
        y = codec.g_a(torch.rand(2, 3, side, side)).round()
        yield _Graph(edge.TAIL, _Tail(student), y, "y_hat", ("logits",))


def _traced(graph: _Graph, card: StudentCard) -> bytes:
    """A graph's file, for any number and size of images that its network takes."""
    any_size = torch.export.Dim.AUTO  # a network of one size keeps its own
    try:
        with _silence():
            program: Any = torch.onnx.export(
                graph.module.eval(),
                (graph.example,),
                input_names=[graph.input],
                output_names=list(graph.outputs),
                dynamic_shapes=({0: any_size, 2: any_size, 3: any_size},),
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
            content: bytes = program.model_proto.SerializeToString()
    except Exception as error:  # of the tracer, of a dozen types
        reason = str(error).strip().splitlines()[0]
        raise WeightsError(f"torch cannot write {graph.file} of {card.name}: {reason}") from error
    return content


@contextmanager
def _silence() -> Iterator[None]:
    """What the exporter says of itself is no news to a user."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


def _tables(student: EntropicStudent, card: StudentCard, checksums: dict[str, int]) -> bytes:
    """The content of ``coder.npz``."""
    codec = student.codec
    content: dict[str, Any] = {
        "format": np.int64(edge.FORMAT),
        "card": np.array(json.dumps(asdict(card))),
        "codec": np.int64(codec.id),
        "medians": codec._medians().numpy(),
        "bounds": np.empty(0, np.float32),
        "least_scale": np.float32(0),
        "checksum_names": np.array(list(checksums)),
        "checksums": np.array(list(checksums.values()), dtype=np.int64),
    }
    models: list[Any] = [codec.entropy_bottleneck]
    if isinstance(codec, MeanScaleHyperprior):
        models.insert(0, codec.gaussian_conditional)
        content["bounds"] = codec.gaussian_conditional.scale_table[:-1].numpy()
        content["least_scale"] = np.float32(codec.gaussian_conditional.scale_bound)
    for name, model in zip(edge.STRINGS[codec.id], models, strict=True):
        arrays = (model.quantized_cdf, model.cdf_length.flatten(), model.offset.flatten())
        for part, array in zip(edge.TABLES, arrays, strict=True):
            content[f"{name}_{part}"] = array.numpy().astype(np.int32)
    file = io.BytesIO()
    np.savez_compressed(file, **content)
    return file.getvalue()
