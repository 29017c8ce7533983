"""One check of images: what is taken, what is refused and in which words, and that all share it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from entres.attacks import PGDE, ClassifierVictim, PGDAcc, SignNoise, StudentVictim
from entres.corruptions.noise import ShotNoise
from entres.corruptions.weather import Frost
from entres.defenses import (
    JPEG,
    Automatic,
    BitsMask,
    DefendedStudent,
    LikelihoodMask,
    MaskedChambolle,
    MaskedTV,
    MedianFilter,
)
from entres.images import checked_images
from entres.models import EntropicStudent

SIDE = 40


@pytest.fixture
def images() -> Tensor:
    noise = torch.rand(2, 3, 5, 5, generator=torch.Generator().manual_seed(1))
    smooth = torch.nn.functional.interpolate(noise * 1.2 - 0.1, size=SIDE, mode="bicubic")
    return smooth.clamp(0, 1)


# --- the check itself -----------------------------------------------------------------------------


def test_what_is_right_is_what_was_given(images: Tensor) -> None:
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        given = images.to(dtype)
        assert checked_images(given) is given
    strided = images.to(memory_format=torch.channels_last)[:, :, ::2]
    assert checked_images(strided) is strided
    assert checked_images(images[:0]).shape == (0, 3, SIDE, SIDE)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_a_rounding_error_is_clamped_and_nothing_more(dtype: torch.dtype, images: Tensor) -> None:
    given = images.to(dtype)
    one = torch.tensor(1.0, dtype=dtype)
    given[0, 0, 0, :2] = torch.stack([torch.nextafter(one, one * 2), one * -1e-7])
    found = checked_images(given)
    assert found.dtype == dtype
    assert (found[0, 0, 0, 0], found[0, 0, 0, 1]) == (1, 0)
    assert torch.equal(found, given.clamp(0, 1))
    with pytest.raises(ValueError, match=r"in \[0, 1\], got values from .* to 1\.0[12]"):
        checked_images(given + 0.01)


def test_other_forms_become_the_same_batch(images: Tensor) -> None:
    eight_bits = (images * 255).round().byte()
    expected = eight_bits.float() / 255
    assert torch.equal(checked_images(eight_bits), expected)
    assert torch.equal(checked_images(eight_bits.numpy()), expected)
    backwards = eight_bits.numpy()[..., ::-1]
    assert torch.equal(checked_images(backwards), expected.flip(-1))
    assert torch.equal(checked_images(images.numpy()), images)
    assert torch.equal(checked_images(list(images)), images)
    assert torch.equal(checked_images([image.numpy() for image in eight_bits]), expected)
    double = checked_images(images.double().numpy())
    assert double.dtype == torch.float64
    assert torch.equal(double, images.double())


WRONG: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "0..255": (lambda x: x * 255, r"got values from 0 to 255: .* from 0 to 255, divide by 255"),
    "normalized": (lambda x: (x - 0.45) / 0.22, r"normalized; the networks here normalize"),
    "-1..1": (lambda x: x * 2 - 1, r"got values from -1 to 1: they look normalized"),
    "overshoot": (lambda x: x * 1.2 - 0.1, r"got values from -0.1 to 1.1: clamp them"),
    "nan": (lambda x: x.index_fill(0, torch.tensor(1), torch.nan), r"got NaN .* in image 1 of"),
    "inf": (lambda x: x / 0, r"images must be finite, got NaN or infinity in image 0"),
    "int64": (lambda x: (x * 255).long(), r"floating point in \[0, 1\] or uint8, .* got int64"),
    "bool": (lambda x: x > 0.5, r"got bool \(2, 3, 40, 40\): convert them"),
    "channels last": (lambda x: x.movedim(1, 3).numpy(), r"permute\(0, 3, 1, 2\)"),
    "one": (lambda x: x[0], r"got float32 \(3, 40, 40\): .*images\[None\]"),
    "one, channels last": (lambda x: x[0].movedim(0, 2), r"permute\(2, 0, 1\)\[None\]"),
    "gray": (lambda x: x[:, :1], r"gray images .*expand\(-1, 3"),
    "transparent": (lambda x: torch.cat([x, x[:, :1]], 1), r"fourth channel, the transparency"),
    "flat": (lambda x: x.flatten(1), r"got float32 \(2, 4800\): three channels"),
    "a photo": (lambda x: Image.new("RGB", (SIDE, SIDE)), r"got PIL\.Image\.Image: convert"),
    "words": (lambda x: np.array(["a", "b"]), r"numpy array of <U1: convert"),
    "photos": (lambda x: [Image.new("RGB", (SIDE, SIDE))], r"got PIL\.Image\.Image as number 0"),
    "a list of batches": (lambda x: [x[0], x], r"got shape \(2, 3, 40, 40\) as number 1"),
    "two sizes": (
        lambda x: [x[0], x[1, :, :32]],
        r"one size, .* float32 \(3, 32, 40\) and float32 \(3, 40, 40\): resize",
    ),
    "no images": (lambda x: [], r"empty list says no size: give a tensor of shape \(0, 3, H, W\)"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_everything_else_is_refused_with_a_guess(wrong: str, images: Tensor) -> None:
    images[0, 0, 0, :2] = torch.tensor([0.0, 1.0])
    make, message = WRONG[wrong]
    with pytest.raises(ValueError, match=message) as caught:
        checked_images(make(images))
    assert "\n" not in str(caught.value)


# --- everywhere -----------------------------------------------------------------------------------

Entry = Callable[[EntropicStudent, Any], Any]
ENTRIES: dict[str, Entry] = {
    "encode": lambda student, x: student.encode(x),
    "encode, defended": lambda student, x: DefendedStudent(student, MaskedTV(steps=2)).encode(x),
    "defend, defended": lambda student, x: DefendedStudent(student, MaskedTV(steps=2)).defend(x),
    "noise": lambda student, x: SignNoise()(StudentVictim(student), x),
    "attack": lambda student, x: PGDE(steps=1)(StudentVictim(student), x),
    "attack on a classifier": lambda student, x: PGDAcc(steps=1)(
        ClassifierVictim(lambda y: y.mean((2, 3))), x, torch.zeros(len(x), dtype=torch.long)
    ),
    "filter": lambda student, x: MedianFilter()(x),
    "masked defense": lambda student, x: MaskedChambolle(steps=2).defend(student, x).images,
    "mask of a defense": lambda student, x: MaskedChambolle().make_mask(student, x),
    "mask": lambda student, x: BitsMask()(student, x),
    "automatic defense": lambda student, x: Automatic(JPEG(), 0.01).defend(student, x).images,
    "corruption": lambda student, x: ShotNoise(1)(x, [torch.Generator() for _ in x]),
}


@pytest.mark.parametrize("entry", ENTRIES)
def test_every_entry_checks_alike(
    entry: str, images: Tensor, make_student: Callable[..., EntropicStudent]
) -> None:
    student, call = make_student(), ENTRIES[entry]
    for make, message in (
        (lambda x: x * 255, "divide by 255"),
        (lambda x: (x - 0.45) / 0.22, "they look normalized"),
        (lambda x: x * torch.nan, "images must be finite"),
        (lambda x: x.long(), "got int64"),
    ):
        with pytest.raises(ValueError, match=message):
            call(student, make(images))
    call(student, images.double())
    call(student, (images * 255).byte().numpy())
    call(student, list(images + 1e-7))


def test_what_is_taken_gives_the_same_stream(
    images: Tensor, make_student: Callable[..., EntropicStudent]
) -> None:
    student = make_student()
    eight_bits = (images * 255).round().byte()
    streams = student.encode(eight_bits.float() / 255)
    assert student.encode(eight_bits) == streams
    assert student.encode(list(eight_bits.numpy())) == streams
    assert student.encode((eight_bits.float() / 255).double()) == streams
    ulp = images.clone()
    ulp[images == 1] = 1.0000001
    assert (ulp > 1).any()
    assert student.encode(ulp) == student.encode(images)


@pytest.mark.parametrize("entry", ENTRIES)
def test_no_images_are_fine_everywhere(
    entry: str, images: Tensor, make_student: Callable[..., EntropicStudent]
) -> None:
    found = ENTRIES[entry](make_student(), images[:0])
    assert len(found) == 0
    if isinstance(found, Tensor) and "mask" not in entry.split():
        assert found.shape == (0, 3, SIDE, SIDE)


def test_no_images_in_what_once_failed(
    images: Tensor, make_student: Callable[..., EntropicStudent]
) -> None:
    student, none = make_student(), images[:0]
    victim = StudentVictim(student)
    attack = PGDE(steps=2, random_start=True, restarts=2)
    assert attack(victim, none).shape == none.shape
    labels = torch.zeros(0, dtype=torch.long)
    assert PGDAcc(steps=2, early_stop=True)(victim, none, labels).shape == none.shape
    assert LikelihoodMask(spared=0.1, full=0.1)(student, none).shape == (0, 1, SIDE, SIDE)
    found = Automatic(MaskedChambolle(), 1.0).defend(student, none)
    assert (found.images.shape, found.applied.shape) == (none.shape, (0,))
    assert Frost(1)(none, []).shape == none.shape
    for codec in ("fp", "mshp"):
        for quantization in ("straight_through", "round", "noise"):
            output = make_student(codec)(none, quantization)
            assert (output.logits.shape, output.bits.shape) == ((0, 8), (0,))


def test_a_step_of_an_attack_looks_at_no_value(
    images: Tensor, make_student: Callable[..., EntropicStudent], monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a GPU each look waits for the device.
    looks = []
    aminmax = torch.aminmax
    monkeypatch.setattr(torch, "aminmax", lambda x: looks.append(1) or aminmax(x))
    student = make_student()
    defended = DefendedStudent(student, MaskedChambolle(steps=2), "unrolled_mask")
    PGDE(steps=3)(StudentVictim(defended), images)
    assert len(looks) == 1
    student(images)
    assert len(looks) == 1


@pytest.mark.parametrize(
    ("make", "got"),
    [
        (lambda x: (x * 255).byte(), r"got uint8: give images / 255"),
        (lambda x: x.numpy(), r"got numpy\.ndarray: make a tensor of them"),
        (lambda x: list(x), r"got builtins\.list: make a tensor of them"),
    ],
)
def test_a_student_itself_takes_tensors_with_a_gradient_and_says_so(
    make: Callable[[Tensor], Any],
    got: str,
    images: Tensor,
    make_student: Callable[..., EntropicStudent],
) -> None:
    student = make_student()
    for taken in (student, DefendedStudent(student, MaskedTV(steps=2))):
        with pytest.raises(ValueError, match=got) as caught:
            taken(make(images), "round")
        # What it asks for, it does not refuse.
        assert "or uint8" not in str(caught.value)
