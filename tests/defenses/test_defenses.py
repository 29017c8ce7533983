"""What holds for every defense, its mask, and the student behind it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from jsonargparse import ArgumentParser
from PIL import Image
from torch import Tensor
from torchmetrics.functional.image import total_variation

from entres.attacks import PGDE, QUICK, PGDAcc, StudentVictim
from entres.defenses import (
    JPEG,
    Automatic,
    BitDepth,
    BitsMask,
    Budget,
    DefendedStudent,
    Defense,
    Everywhere,
    GaussianBlur,
    LikelihoodMask,
    MaskedChambolle,
    MaskedTV,
    MedianFilter,
    PlainChambolle,
    PublishedDenoising,
)
from entres.models import EntropicStudent

CONFIGS = sorted((Path(__file__).parents[2] / "configs" / "defense").glob("*.yaml"))
EDGE = 48


def configured(path: Path) -> Defense:
    parser = ArgumentParser()
    parser.add_argument("--defense", type=Defense, sub_configs=True)
    defense: Defense = parser.instantiate(parser.parse_args([f"--defense={path}"])).defense
    return defense


def settings(defense: Defense) -> dict[str, Any]:
    """Everything that a defense is made of."""
    made = {n: settings(v) if isinstance(v, Defense) else v for n, v in vars(defense).items()}
    mask = {"mask": (type(defense.mask), vars(defense.mask))}
    return {"class": type(defense), **made, **mask}


@pytest.fixture
def images() -> Tensor:
    coarse = torch.rand(4, 3, 5, 5, generator=torch.Generator().manual_seed(1))
    smooth = torch.nn.functional.interpolate(coarse, size=EDGE, mode="bicubic")
    noise = torch.randn(smooth.shape, generator=torch.Generator().manual_seed(2))
    return (smooth + 0.04 * noise).clamp(0, 1)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_every_configured_defense(
    path: Path, images: Tensor, make_student: Callable[..., EntropicStudent]
) -> None:
    defense = configured(path)
    assert defense.name == path.stem
    before = images.clone()
    found = defense.defend(make_student(), images)
    assert torch.equal(images, before)
    assert found.images.shape == images.shape
    assert found.images.min() >= 0
    assert found.images.max() <= 1
    assert not torch.equal(found.images, images)
    # Steps add variation to what is smooth; a view of an image has as much as the image.
    if path.stem not in ("bit_depth", "smallest_view"):
        less = total_variation(found.images, "none") < total_variation(images, "none")
        assert less.all()
    # By itself the class is the same defense.
    assert settings(type(defense)()) == settings(defense)  # type: ignore[call-arg]
    # The batch is no more than its images.
    masks = None if found.mask is None else found.mask[2:3]
    alone = defense.defend(make_student(), images[2:3], mask=masks).images
    torch.testing.assert_close(alone, found.images[2:3], rtol=0, atol=1e-6)
    # Mask 0 leaves pixels alone, bit for bit.
    if path.stem != "smallest_view":  # it changes no pixels but their places
        assert torch.equal(defense(images, torch.zeros(4, 1, EDGE, EDGE)), images)


def test_strength_changes_what_it_says(images: Tensor) -> None:
    for defense, stronger in (
        (MaskedTV(0.01), 0.05),
        (MaskedChambolle(0.01), 0.05),
        (PublishedDenoising(0.05), 0.1),
        (GaussianBlur(0.5), 2.0),
        (MedianFilter(3), 9),
        (BitDepth(6), 2),
        (JPEG(90), 20),
    ):
        weak, strong = defense(images), defense.at(stronger)(images)
        assert (strong - images).square().mean() > 1.3 * (weak - images).square().mean()
        assert defense.at(stronger).strength == stronger


def test_filters_against_their_libraries(images: Tensor) -> None:
    scipy = pytest.importorskip("scipy.ndimage")
    ours = MedianFilter(3)(images)[0, 1].numpy()
    # torch reflects without repeating the edge, which scipy calls mirror.
    assert (ours == scipy.median_filter(images[0, 1].numpy(), 3, mode="mirror")).all()
    blurred = GaussianBlur(1.0)(images)[0, 1].numpy()
    theirs = scipy.gaussian_filter(images[0, 1].numpy(), 1.0, mode="mirror", truncate=3.0)
    assert abs(blurred - theirs).max() < 1e-5
    assert BitDepth(1)(images).unique().tolist() == [0, 1]
    coded = JPEG(60)(images)
    assert (coded * 255).sub((coded * 255).round()).abs().max() < 1e-4
    assert Image.fromarray((coded[0, 0] * 255).byte().numpy()).size == (EDGE, EDGE)


# --- masks ----------------------------------------------------------------------------------------


def test_the_papers_mask(images: Tensor, make_student: Callable[..., EntropicStudent]) -> None:
    student = make_student()
    mask = LikelihoodMask()(student, images)
    likelihoods = student(images).likelihoods["y"].mean(1, keepdim=True)
    expected = torch.nn.functional.interpolate(likelihoods, size=(EDGE, EDGE), mode="nearest")
    torch.testing.assert_close(mask, expected)


@pytest.mark.parametrize("mask", [BitsMask(spared=0.3, full=0.2, smooth=0.0), BitsMask(blur=1.0)])
def test_bits_decide(
    mask: BitsMask, images: Tensor, make_student: Callable[..., EntropicStudent]
) -> None:
    student = make_student()
    half = images.clone()
    half[..., :24] = half[..., :24].mean((-2, -1), keepdim=True)  # nothing to see on the left
    found = mask(student, half)
    assert found.min() >= 0
    assert found.max() <= 1
    left, right = found[..., :16].mean(), found[..., 32:].mean()
    assert left > right + 0.2
    if mask.spared == 0.3:
        mask.interpolation = "nearest"
        assert (mask(student, half) == 0).float().mean() == pytest.approx(0.3, abs=0.08)


def test_only_straight_through_passes_the_mask(
    images: Tensor, make_student: Callable[..., EntropicStudent]
) -> None:
    student, x = make_student(), images.clone().requires_grad_()
    assert not LikelihoodMask()(student, x).requires_grad
    soft = LikelihoodMask()(student, x, "straight_through")
    (gradient,) = torch.autograd.grad(soft.sum(), x)
    assert gradient.abs().sum() > 0
    torch.testing.assert_close(soft, LikelihoodMask()(student, x), rtol=1e-3, atol=1e-3)


def test_a_defense_has_its_own_mask_unless_it_is_told_otherwise(
    images: Tensor, make_student: Callable[..., EntropicStudent]
) -> None:
    student = make_student()
    for cls in (MaskedTV, PublishedDenoising):
        assert torch.equal(cls().make_mask(student, images), LikelihoodMask()(student, images))
    everywhere = MaskedChambolle(mask=Everywhere())
    assert everywhere.make_mask(student, images) is None
    found = everywhere.defend(student, images)
    assert found.mask is None
    assert torch.equal(found.images, everywhere(images))
    plain = PlainChambolle(everywhere.strength)
    assert torch.equal(plain.defend(student, images).images, found.images)
    assert (plain.name, plain.at(0.5).name) == ("plain_chambolle",) * 2
    assert GaussianBlur().make_mask(student, images) is None


# --- the defended student -------------------------------------------------------------------------


def test_a_defended_student_is_the_student_on_defended_images(
    images: Tensor, make_student: Callable[..., EntropicStudent]
) -> None:
    student = make_student()
    defense = MaskedChambolle(0.05, BitsMask())
    defended = DefendedStudent(student, defense)
    inside = defense.defend(student, images).images
    assert torch.equal(defended(images).logits, student(inside).logits)
    streams = defended.encode(images)
    assert [s.to_bytes() for s in streams] == [s.to_bytes() for s in student.encode(inside)]
    assert torch.equal(defended.decode(streams), student.decode(streams))
    assert defended.state_dict().keys() == student.state_dict().keys()
    assert sum(map(len, streams)) < sum(map(len, student.encode(images)))


CHAMBOLLE = MaskedChambolle(0.05, BitsMask())


@pytest.mark.parametrize("defense", [CHAMBOLLE, MaskedTV(0.05, steps=30)], ids=lambda d: d.name)
def test_attacks_through_the_defense(
    defense: Defense, images: Tensor, make_student: Callable[..., EntropicStudent]
) -> None:
    student = make_student()
    attack = PGDE(8, steps=6, preset=QUICK)
    routes: list[Any] = ["unrolled", "unrolled_mask", "bpda"]
    victims = {route: DefendedStudent(student, defense, route) for route in routes}
    attacked = {route: attack(StudentVictim(victim), images) for route, victim in victims.items()}
    attacked |= {"clean": images, "oblivious": attack(StudentVictim(student), images)}
    for found in attacked.values():
        assert ((found - images).abs() <= 8 / 255 + 1e-6).all()
    with torch.no_grad():
        bits = {route: victims["bpda"](x).bits.mean() for route, x in attacked.items()}
    assert bits["bpda"] > bits["clean"]
    for route in ("unrolled", "unrolled_mask"):
        assert bits[route] > max(bits["oblivious"], bits["bpda"])


def test_pgd_acc_through_the_defense(
    images: Tensor, make_student: Callable[..., EntropicStudent]
) -> None:
    defended = DefendedStudent(make_student(), CHAMBOLLE)
    with torch.no_grad():
        labels = defended(images).logits.argmax(1)
    attacked = PGDAcc(8, steps=4)(StudentVictim(defended), images, labels)
    with torch.no_grad():
        before, after = (defended(x).logits for x in (images, attacked))
    loss = torch.nn.functional.cross_entropy
    assert loss(after, labels) > loss(before, labels)


def test_bpda_passes_the_gradient_as_if_there_were_nothing(
    images: Tensor, make_student: Callable[..., EntropicStudent]
) -> None:
    defended = DefendedStudent(make_student(), JPEG(30), "bpda")
    x = images.clone().requires_grad_()
    found = defended.defend(x)
    torch.testing.assert_close(found, JPEG(30)(images), rtol=0, atol=1e-6)
    (gradient,) = torch.autograd.grad((found * images).sum(), x)
    torch.testing.assert_close(gradient, images)
    unrolled = DefendedStudent(make_student(), JPEG(30))
    with pytest.raises(ValueError, match="attack it through bpda"):
        unrolled.defend(x)


def test_automatic_defends_only_what_is_large(
    images: Tensor, make_student: Callable[..., EntropicStudent]
) -> None:
    student = make_student()
    with torch.no_grad():
        kib = student(images).bits / 8192
    order = kib.argsort()
    threshold = (kib[order[1]] + kib[order[2]]).item() / 2
    defense = Automatic(MaskedTV(0.02, Everywhere()), threshold)
    found = defense.defend(student, images)
    assert torch.equal(found.applied, kib > threshold)
    assert torch.equal(found.images[~found.applied], images[~found.applied])
    expected = MaskedTV(0.02)(images[found.applied])
    assert torch.equal(found.images[found.applied], expected)
    assert defense.at(0.05).defend(student, images).images.equal(found.images) is False


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MaskedTV(0), "strength of masked_tv must be > 0, got 0"),
        (lambda: MaskedTV(0.1).at(-1), "must be > 0, got -1"),
        (lambda: MaskedTV(0.1, alpha=2), "alpha must be in"),
        (lambda: MaskedChambolle(0.1, steps=0), "steps must be >= 1"),
        (lambda: MedianFilter(4), "odd side"),
        (lambda: BitDepth(9), "bits per channel"),
        (lambda: JPEG(0), "quality"),
        (lambda: Automatic(MaskedTV(), 0), "threshold_kib must be > 0"),
        (lambda: Automatic(Budget(4), 3), "budget leaves alone what is small enough by itself"),
        (lambda: BitsMask(spared=0.6, full=0.5), "sum below 1"),
        (lambda: LikelihoodMask(spared=0.6), "both or none"),
        (lambda: LikelihoodMask(interpolation="cubic"), "nearest or bilinear"),
        (lambda: LikelihoodMask(blur=-1), "blur and smooth"),
        (lambda: MaskedTV()(torch.zeros(3, 8, 8)), "shape"),
        (lambda: MaskedTV()(torch.rand(1, 3, 8, 8), torch.ones(1, 1, 8, 7)), "mask must have"),
    ],
)
def test_errors(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
