"""The student: images to logits through bytes, and the files that keep it."""

from __future__ import annotations

import copy
import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import timm
import torch
from codec_samples import images, spread_bottleneck
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from entres.bitstream import Bitstream, BitstreamError
from entres.card import read_card
from entres.models import (
    Codec,
    EntropicStudent,
    FactorizedPrior,
    MeanScaleHyperprior,
    StudentCard,
    WeightsError,
    build_backbone,
    load_student,
)
from entres.models.student import codec_class, load_into

WIDTHS = {"analysis_widths": (3, 12, 10, 6), "synthesis_widths": (6, 16, 8, 32)}


def make_student(
    cls: type[FactorizedPrior] | type[MeanScaleHyperprior],
    seed: int = 0,
    weights: str | None = None,
) -> tuple[EntropicStudent, StudentCard]:
    torch.manual_seed(seed)
    backbone = build_backbone("test_resnet", 5, weights)
    student = EntropicStudent.from_backbone(backbone, partial(cls, **WIDTHS))
    spread_bottleneck(student.codec, torch.Generator().manual_seed(seed))
    card = StudentCard(
        backbone="test_resnet.r160_in1k",
        codec=cls.short_name,
        beta=0.08,
        recipe="joint",
        num_classes=5,
        dataset="photos",
        teacher_weights=weights,
        **WIDTHS,
    )
    student.update()
    return student.eval(), card


@pytest.fixture(params=[FactorizedPrior, MeanScaleHyperprior], ids=lambda cls: cls.short_name)
def student_and_card(request: pytest.FixtureRequest) -> tuple[EntropicStudent, StudentCard]:
    return make_student(request.param)


StudentAndCard = tuple[EntropicStudent, StudentCard]


# --- inference -----------------------------------------------------------------------------------


def test_the_server_computes_from_bytes_what_the_student_computes(
    student_and_card: StudentAndCard,
) -> None:
    student, _ = student_and_card
    x = images(3, 64, 96, 0)
    streams = [Bitstream.from_bytes(s.to_bytes()) for s in student.encode(x)]
    output = student(x)
    assert torch.equal(student.decode(streams), output.logits)
    assert output.logits.shape == (3, 5)
    assert [tuple(f.shape[2:]) for f in output.features] == [(16, 24), (8, 12), (4, 6), (2, 3)]


def test_images_are_normalized_once(student_and_card: StudentAndCard) -> None:
    student, _ = student_and_card
    x = images(2, 64, 64, 0)
    normalized = (x - 0.5) / 0.5  # what timm says of test_resnet
    torch.testing.assert_close(student.normalize(x), normalized)
    torch.testing.assert_close(
        student(x).features[0], student.codec(normalized, "round").features, rtol=1e-3, atol=1e-3
    )
    assert student.encode(x) == student.codec.compress(student.normalize(x))


def test_the_tail_is_the_teachers_behind_the_codec() -> None:
    torch.manual_seed(0)
    backbone = build_backbone("test_resnet", 5)

    class Perfect(FactorizedPrior):
        """Gives the teacher's features: what is left is the tail."""

        def synthesise(self, y_hat: torch.Tensor) -> torch.Tensor:
            return features

    student = EntropicStudent.from_backbone(backbone, partial(Perfect, **WIDTHS)).eval()
    x = images(2, 64, 64, 0)
    with torch.no_grad():
        expected = backbone.teacher(x)
        features = expected.features[0]
        torch.testing.assert_close(student(x).logits, expected.logits)


# --- files ---------------------------------------------------------------------------------------


def test_a_saved_student_is_the_same_student(
    student_and_card: StudentAndCard, tmp_path: Path
) -> None:
    student, card = student_and_card
    path = tmp_path / "student.safetensors"
    student.save(path, card)
    loaded, loaded_card = load_student(path)
    x = images(2, 64, 64, 0)
    streams = student.encode(x)
    assert loaded.encode(x) == streams
    assert torch.equal(loaded.decode(streams), student.decode(streams))
    assert loaded_card == read_card(path) == card
    assert not loaded.training


def test_half_a_file_keeps_tables_and_streams_whole(
    student_and_card: StudentAndCard, tmp_path: Path
) -> None:
    student, card = student_and_card
    whole, half = tmp_path / "whole.safetensors", tmp_path / "half.safetensors"
    student.save(whole, card)
    student.save(half, card, half=True)
    assert half.stat().st_size < 0.75 * whole.stat().st_size
    loaded, _ = load_student(half)
    for key, value in loaded.codec.state_dict().items():
        assert value.dtype == student.codec.state_dict()[key].dtype, key
        if "entropy" in key or "gaussian" in key or "h_s" in key:
            assert torch.equal(value, student.codec.state_dict()[key]), key
    # What one of them codes, the other decodes: tables and the choice among them are the same.
    x = images(2, 64, 64, 0)
    streams = student.encode(x)
    torch.testing.assert_close(
        loaded.decode(streams), student.decode(streams), rtol=0.02, atol=0.02
    )
    assert torch.equal(loaded.decode(loaded.encode(x)), loaded(x).logits)


def test_a_student_without_its_tail_takes_its_teachers(tmp_path: Path) -> None:
    torch.manual_seed(7)
    teacher = tmp_path / "teacher.pt"
    torch.save(timm.create_model("test_resnet", num_classes=5).state_dict(), teacher)
    student, card = make_student(MeanScaleHyperprior, weights=str(teacher))
    path = tmp_path / "student.safetensors"
    student.save(path, card, teacher=copy.deepcopy(student.tail))
    assert not any(key.startswith("tail.") for key in load_file(path))
    loaded, _ = load_student(path)
    x = images(2, 64, 64, 0)
    assert torch.equal(loaded.decode(loaded.encode(x)), student(x).logits)
    # Where the teacher has moved, the caller says so.
    moved = teacher.rename(tmp_path / "moved.pt")
    with pytest.raises(WeightsError, match=r"no weights at .*teacher\.pt"):
        load_student(path)
    again, _ = load_student(path, teacher_weights=str(moved))
    assert torch.equal(again(x).logits, student(x).logits)


def test_a_file_holds_what_of_the_tail_is_not_the_teachers(tmp_path: Path) -> None:
    torch.manual_seed(7)
    teacher = tmp_path / "teacher.pt"
    torch.save(timm.create_model("test_resnet", num_classes=5).state_dict(), teacher)
    student, card = make_student(MeanScaleHyperprior, weights=str(teacher))
    before = copy.deepcopy(student.tail)
    scales = {n for n, p in student.tail.named_parameters() if p.ndim == 1}
    with torch.no_grad():
        for name, parameter in student.tail.named_parameters():
            if name in scales:
                parameter.add_(0.1)
    path = tmp_path / "student.safetensors"
    student.save(path, card, teacher=before)
    stored = {key for key in load_file(path) if key.startswith("tail.")}
    assert stored == {f"tail.{name}" for name in scales}
    loaded, _ = load_student(path)
    x = images(2, 64, 64, 0)
    assert torch.equal(loaded(x).logits, student(x).logits)


def test_stale_tables_are_made_anew_before_saving(tmp_path: Path) -> None:
    student, card = make_student(FactorizedPrior)
    with torch.no_grad():
        student.codec.entropy_bottleneck.biases[0].add_(0.3)
    path = tmp_path / "student.safetensors"
    student.save(path, card)
    loaded, _ = load_student(path)
    x = images(1, 64, 64, 0)
    assert torch.equal(loaded.decode(loaded.encode(x)), loaded(x).logits)


def test_output_statistics_are_kept(tmp_path: Path) -> None:
    student, card = make_student(FactorizedPrior)
    student.codec.set_output_statistics(torch.arange(32.0), torch.arange(1.0, 33.0))
    student.save(tmp_path / "student.safetensors", card)
    loaded, _ = load_student(tmp_path / "student.safetensors")
    x = images(1, 64, 64, 0)
    assert torch.equal(loaded(x).features[0], student(x).features[0])


def test_a_card_of_many_classes_is_printed_short() -> None:
    card = StudentCard("a", "fp", 0.1, "joint", 1000, (1,), (2,))
    assert repr(card).endswith("steps=None, seed=0, class_names=None)")
    few = replace(card, num_classes=3, class_names=("ant", "bee", "cat"))
    assert eval(repr(few)) == few
    many = replace(card, class_names=tuple(f"class {i}" for i in range(1000)))
    wanted = "class_names=('class 0', 'class 1', 'class 2', ... 1,000 in all))"
    assert repr(many) == str(many) == repr(card).replace("class_names=None)", wanted)


def test_what_is_no_student_is_refused(tmp_path: Path) -> None:
    missing, foreign, text = (tmp_path / f"{n}.safetensors" for n in ("missing", "foreign", "text"))
    with pytest.raises(WeightsError, match="no student at"):
        load_student(missing)
    save_file({"a": torch.zeros(1)}, foreign)
    text.write_text("hello")
    for path in (foreign, text):
        with pytest.raises(WeightsError, match="is no entres student") as caught:
            load_student(path)
        assert str(path) in str(caught.value)
        assert "Error:" not in str(caught.value)  # Python's name for it
    with pytest.raises(WeightsError, match=r"README\.md is no entres student, it is a file of"):
        load_student(Path(__file__).parents[2] / "README.md")


def test_streams_and_budgets_of_another_type_are_refused_in_words() -> None:
    student, _ = make_student(FactorizedPrior)
    (stream,) = student.encode(images(1, 64, 64, 0))
    for given, got in (
        (stream, "got one Bitstream: give"),
        ([bytes(stream)], "got a list of bytes: Bitstream.from_bytes makes"),
        (bytes(stream), "got bytes: Bitstream.from_bytes makes"),
        ([stream, None], "got a list of NoneType"),
        (None, "got NoneType"),
    ):
        with pytest.raises(BitstreamError, match=f"^streams must be a list of Bitstream, {got}"):
            student.decode(given)
    with pytest.raises(BitstreamError, match="a stream is made of bytes, got str"):
        Bitstream.from_bytes("ENTR")  # type: ignore[arg-type]
    for budget in ("4", [4], True):
        with pytest.raises(ValueError, match="budget is a number of bytes, got"):
            student.encode(images(1, 64, 64, 0), budget)


@pytest.mark.parametrize("name", ["codec.g_s.0.weight", "tail.model.fc.weight"])
def test_weights_that_are_not_finite_are_refused(tmp_path: Path, name: str) -> None:
    student, card = make_student(FactorizedPrior)
    path = tmp_path / "student.safetensors"
    student.save(path, card)
    state = load_file(path)
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    state[name].view(-1)[0] = torch.nan
    save_file(state, path, metadata)
    with pytest.raises(WeightsError, match=rf"not finite, first in {re.escape(name)}"):
        load_student(path)
    with pytest.raises(WeightsError, match=rf"not finite, first in {re.escape(name)}"):
        load_into(student, state, "a checkpoint")
    with torch.no_grad():
        student.get_parameter(name)[0] = torch.inf
    with pytest.raises(WeightsError, match=rf"written to .* first in {re.escape(name)}"):
        student.save(tmp_path / "new.safetensors", card)


def test_what_half_precision_cannot_hold_stays_whole(tmp_path: Path) -> None:
    student, card = make_student(FactorizedPrior)
    with torch.no_grad():
        student.tail.model.fc.weight[0, 0] = 1e6  # type: ignore[union-attr, index]
    student.save(tmp_path / "student.safetensors", card, half=True)
    loaded, _ = load_student(tmp_path / "student.safetensors")
    assert torch.equal(loaded.tail.model.fc.weight, student.tail.model.fc.weight)  # type: ignore[union-attr]


def test_a_tail_is_taken_from_a_teacher_of_the_same_classes_only(tmp_path: Path) -> None:
    teacher = tmp_path / "teacher.pt"
    torch.save(timm.create_model("test_resnet", num_classes=1000).state_dict(), teacher)
    student, card = make_student(FactorizedPrior)
    student.save(tmp_path / "student.safetensors", card, teacher=copy.deepcopy(student.tail))
    with pytest.raises(WeightsError, match="has 1000 classes, wanted are 5"):
        load_student(tmp_path / "student.safetensors", teacher_weights=str(teacher))


def test_a_file_that_does_not_fit_its_card_is_refused(tmp_path: Path) -> None:
    student, card = make_student(FactorizedPrior)
    path = tmp_path / "student.safetensors"
    other = StudentCard(**{**vars(card), "analysis_widths": (3, 12, 9, 6)})
    student.save(path, other)
    with pytest.raises(WeightsError, match=r"(?s)does not fit this student: .*g_a"):
        load_student(path)
    student.save(path, StudentCard(**{**vars(card), "codec": "mshp"}))
    with pytest.raises(WeightsError, match="does not fit this student"):
        load_student(path)


def test_tables_that_the_coder_cannot_use_are_found_when_it_codes(tmp_path: Path) -> None:
    student, card = make_student(FactorizedPrior)
    student.codec.entropy_bottleneck._cdf_length.mul_(1000)
    student.save(tmp_path / "student.safetensors", card)
    loaded, _ = load_student(tmp_path / "student.safetensors")
    with pytest.raises(ValueError, match="table 0 announces"):
        loaded.encode(images(1, 64, 64, 0))


# --- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("backbone", "beta", "name"),
    [
        ("resnet50.tv_in1k", 0.08, "resnet50-mshp-beta0.08-joint"),
        ("tf_efficientnet_lite0", 2.0, "tf_efficientnet_lite0-mshp-beta2-joint"),
        ("regnety_064.pycls_in1k", 5.12, "regnety_064-mshp-beta5.12-joint"),
    ],
)
def test_a_students_name_says_what_it_is(backbone: str, beta: float, name: str) -> None:
    card = StudentCard(backbone, "mshp", beta, "joint", 10, (3, 4, 4, 4), (4, 4, 4, 4))
    assert card.name == name


def test_a_codec_is_found_by_its_short_name() -> None:
    class Mine(FactorizedPrior):
        short_name = "mine"

    class Nameless(FactorizedPrior):
        pass

    assert codec_class("mine") is Mine
    assert codec_class("fp") is FactorizedPrior is not Nameless
    assert codec_class("mshp") is MeanScaleHyperprior
    with pytest.raises(ValueError, match=r"unknown codec 'jpeg'; known: .*fp.*mshp"):
        codec_class("jpeg")


def test_a_codec_of_ones_own_saves_and_loads(tmp_path: Path) -> None:
    class Squared(FactorizedPrior):
        short_name = "squared"

        def analyse(self, x: torch.Tensor) -> torch.Tensor:
            return super().analyse(x) * 2

    student, card = make_student(Squared)
    student.save(tmp_path / "student.safetensors", card)
    loaded, _ = load_student(tmp_path / "student.safetensors")
    assert isinstance(loaded.codec, Squared)
    assert isinstance(loaded.codec, Codec | nn.Module)
    x = images(1, 64, 64, 0)
    assert loaded.encode(x) == student.encode(x)
