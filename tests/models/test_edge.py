"""The link's two ends without torch: the same streams, and none that nobody understands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from codec_samples import spread_bottleneck
from skimage import data

from entres import edge
from entres.bitstream import Bitstream, BitstreamError
from entres.card import StudentCard
from entres.cli import main
from entres.edge import CodingTables, EdgeError, EdgeHead, EdgeTail, checked_images
from entres.images import checked_images as checked_by_torch
from entres.models import (
    EntropicStudent,
    FactorizedPrior,
    MeanScaleHyperprior,
    build_backbone,
    load_student,
)

CODECS = {"fp": FactorizedPrior, "mshp": MeanScaleHyperprior}


def need_onnx() -> None:
    pytest.importorskip("onnxscript", reason="pip install 'entres[onnx]'")
    pytest.importorskip("onnxruntime", reason="pip install 'entres[edge]'")


def photos() -> list[np.ndarray]:
    """Real photographs of sizes that are and are not multiples of 16, each (1, 3, H, W), uint8."""
    cut = [
        data.chelsea()[20:148, 100:260],
        data.coffee()[100:141, 50:147],
        data.astronaut()[:224, 100:324],
        data.rocket()[200:233, 300:332],
    ]
    return [np.ascontiguousarray(photo.transpose(2, 0, 1))[None] for photo in cut]


@pytest.fixture(scope="module")
def exported(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> tuple[EntropicStudent, Path]:
    """A student of a codec, and the folder that it was exported to."""
    need_onnx()
    codec = request.param
    folder = tmp_path_factory.mktemp(codec)
    torch.manual_seed(0)
    student = EntropicStudent.from_backbone(build_backbone("test_resnet", 8), CODECS[codec])
    spread_bottleneck(student.codec, torch.Generator().manual_seed(1))
    student.update()
    student.eval()
    widths = student.codec.analysis_widths, student.codec.synthesis_widths
    card = StudentCard("test_resnet", codec, 0.08, "joint", 8, *widths)
    student.save(folder / "student.safetensors", card)
    main(["export", str(folder / "student.safetensors"), str(folder / "edge"), "--onnx", "true"])
    return load_student(folder / "student.safetensors")[0], folder / "edge"


# An export takes ten seconds.
FP, MSHP = (pytest.param(codec, marks=pytest.mark.slow) for codec in CODECS)
both_codecs = pytest.mark.parametrize("exported", [FP, MSHP], indirect=True)
hyperprior = pytest.mark.parametrize("exported", [MSHP], indirect=True)


@both_codecs
def test_streams_are_those_of_the_student_or_decode_to_their_own_latents(
    exported: tuple[EntropicStudent, Path],
) -> None:
    student, folder = exported
    head, tail = EdgeHead(folder, threads=1), EdgeTail(folder, threads=1)
    equal = 0
    for photo in photos():
        (ours,), (theirs,) = head.encode(photo), student.encode(photo)
        assert Bitstream.from_bytes(bytes(ours)) == ours
        assert ours.latent_shape == theirs.latent_shape
        equal += ours == theirs
        # Whether or not one latent came out on the other side: both receivers agree on the stream.
        latents = student.codec.decode_latents([ours]).numpy()
        np.testing.assert_allclose(tail.decode_latents([ours]), latents, atol=1e-4)
        np.testing.assert_allclose(tail.decode([ours]), student.decode([ours]).numpy(), atol=1e-3)
        # At most one latent in a hundred may differ from torch's own, and by one step.
        apart = np.abs(latents - student.codec.decode_latents([theirs]).numpy())
        assert apart.max() < 1.01
        assert (apart > 0.5).mean() < 0.01
    assert equal >= len(photos()) - 1


@both_codecs
def test_a_batch_is_its_images_one_by_one(exported: tuple[EntropicStudent, Path]) -> None:
    _, folder = exported
    head = EdgeHead(folder, threads=1)
    photo = photos()[0]
    batch = np.concatenate([photo, photo[..., ::-1]])
    assert head.encode(batch) == [head.encode(batch[:1])[0], head.encode(batch[1:])[0]]
    assert head.encode((batch / np.float32(255)).astype(np.float32)) == head.encode(batch)
    assert head.encode(batch[:0]) == []
    logits = EdgeTail(folder).decode(head.encode(batch))
    assert logits.shape == (2, 8)
    assert not np.allclose(logits[0], logits[1])


@hyperprior
def test_tables_are_chosen_as_in_torch(exported: tuple[EntropicStudent, Path]) -> None:
    student, folder = exported
    tables = CodingTables.read(folder)
    bounds = tables.bounds
    near = np.concatenate([bounds, np.nextafter(bounds, np.float32(0)), np.nextafter(bounds, 1e9)])
    scales = np.concatenate([near, [-1, 0, 0.05, 1e6]]).astype(np.float32)
    codec = student.codec
    wanted = codec._y_tables(torch.from_numpy(scales)[None])[0]  # type: ignore[operator]
    np.testing.assert_array_equal(tables.gaussian_tables(scales), wanted.numpy())
    assert {0, len(bounds)} <= set(wanted.tolist())
    assert [c.fingerprint for c in tables.coders] == [c.fingerprint for c in codec.coders()]


@hyperprior
def test_another_choice_of_tables_is_refused(exported: tuple[EntropicStudent, Path]) -> None:
    _, folder = exported
    (stream,) = EdgeHead(folder).encode(photos()[0])
    other = Bitstream(stream.codec, stream.latent_shape, stream.fingerprint ^ 1, stream.strings)
    tail = EdgeTail(folder)
    with pytest.raises(BitstreamError, match="coded with other tables"):
        tail.decode([other])
    with pytest.raises(BitstreamError, match="expects up to 64"):
        tail.decode([stream], max_side=64)
    short = (stream.strings[0], stream.strings[1][:8])
    cut = Bitstream(stream.codec, stream.latent_shape, stream.fingerprint, short)
    with pytest.raises(BitstreamError, match=r"a coded string of .* symbols has at least"):
        tail.decode([cut])
    with pytest.raises(ValueError, match="at least one stream"):
        tail.decode([])


@hyperprior
def test_no_torch_is_imported(exported: tuple[EntropicStudent, Path], tmp_path: Path) -> None:
    _, folder = exported
    photo = photos()[0]
    np.save(tmp_path / "photo.npy", photo)
    program = f"""
import sys, numpy
from entres.edge import EdgeHead, EdgeTail
(stream,) = EdgeHead({str(folder)!r}, 1).encode(numpy.load({str(tmp_path / "photo.npy")!r}))
print(bytes(stream).hex(), EdgeTail({str(folder)!r}, 1).decode([stream]).shape)
heavy = {{"torch", "torchvision", "compressai", "lightning", "safetensors", "yaml", "PIL"}}
sys.exit(str(heavy & sys.modules.keys()) if heavy & sys.modules.keys() else 0)
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    (stream,) = EdgeHead(folder, 1).encode(photo)
    assert ended.stdout == f"{bytes(stream).hex()} (1, 8)\n"


def wrong_images() -> list[tuple[np.ndarray, str]]:
    right = np.full((2, 3, 40, 40), 0.5, np.float32)
    nan = right.copy()
    nan[1, 0, 3, 3] = np.nan
    return [
        (right * 200, "divide by 255"),
        (right - 2, "look normalized"),
        (nan, "image 1 of a batch of 2"),
        (right[0], "becomes a batch"),
        (right.transpose(0, 2, 3, 1), "channels stand last"),
        (right.astype(np.int32), "int32"),
    ]


@pytest.mark.parametrize(("images", "words"), wrong_images())
def test_wrong_images_are_refused_in_the_same_words(images: np.ndarray, words: str) -> None:
    with pytest.raises(ValueError, match=words) as here:
        checked_images(images)
    with pytest.raises(ValueError, match=words) as there:
        checked_by_torch(images)
    assert str(here.value) == str(there.value)


def test_images_become_what_torch_makes_of_them() -> None:
    random = np.random.default_rng(0)
    bytes_ = random.integers(0, 256, (2, 3, 33, 40), np.uint8)
    halves = random.random((1, 3, 32, 32)).astype(np.float16)
    rounded = random.random((1, 3, 32, 32))
    rounded[0, 0, 0, :2] = 1 + 1e-7, -1e-7
    for images in (bytes_, halves, rounded):
        found = checked_images(images)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, checked_by_torch(images).float().numpy())
    with pytest.raises(ValueError, match="sides of 32 px or more"):
        checked_images(bytes_[..., :31])


@hyperprior
def test_a_folder_of_several_exports_is_refused(
    exported: tuple[EntropicStudent, Path], tmp_path: Path
) -> None:
    _, folder = exported
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    (copy / edge.HEAD).write_bytes((folder / edge.HEAD).read_bytes()[:-1] + b"x")
    with pytest.raises(EdgeError, match=r"head\.onnx is not the one"):
        EdgeHead(copy)
    (copy / edge.GAUSSIANS).unlink()
    EdgeTail(copy)  # its own graphs are asked for when they are needed
    (copy / edge.CODER).write_bytes((folder / edge.CODER).read_bytes()[:200])
    with pytest.raises(EdgeError, match="is damaged"):
        EdgeTail(copy)
    with pytest.raises(EdgeError, match="no exported student in"):
        EdgeHead(tmp_path)


@pytest.mark.slow
def test_a_phone_does_without_the_tail(
    student_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    need_onnx()
    folder = tmp_path / "phone"
    folder.mkdir()
    (folder / edge.TAIL).write_bytes(b"of an earlier export")
    main(["export", str(student_file), str(folder), "--tail", "false", "--onnx", "true"])
    assert f"MiB in {folder / edge.CODER}" in capsys.readouterr().out
    assert {path.name for path in folder.iterdir()} == {edge.HEAD, edge.GAUSSIANS, edge.CODER}
    assert EdgeHead(folder).card.num_classes == 8
    with pytest.raises(EdgeError, match=r"without tail\.onnx"):
        EdgeTail(folder)


def test_what_cannot_be_exported_is_one_sentence(
    student_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit, match="is a file: name the folder"):
        main(["export", str(student_file), str(student_file), "--onnx", "true"])
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(SystemExit, match=r"pip install 'entres\[onnx\]'"):
        main(["export", str(student_file), str(tmp_path / "edge"), "--onnx", "true"])
    assert not (tmp_path / "edge").exists()


@hyperprior
def test_onnxruntime_that_is_missing_is_named(
    exported: tuple[EntropicStudent, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(EdgeError, match="pip install onnxruntime"):
        EdgeHead(exported[1])
