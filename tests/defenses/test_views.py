"""The smallest of several views: never larger than what was received, and what it says it is."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from entres.attacks import PGDE, QUICK, StudentVictim
from entres.defenses import DefendedStudent, SmallestView
from entres.defenses.views import view
from entres.models import EntropicStudent


@pytest.fixture
def images() -> Tensor:
    noise = torch.rand(5, 3, 6, 6, generator=torch.Generator().manual_seed(4))
    return torch.nn.functional.interpolate(noise, size=48, mode="bicubic").clamp(0, 1)


def sizes(student: EntropicStudent, images: Tensor) -> list[int]:
    return [len(stream) for stream in student.encode(images)]


@pytest.mark.parametrize("codec", ["fp", "mshp"])
@pytest.mark.parametrize("number", [1, 2, 8])
def test_it_sends_the_smallest_stream(
    number: int, codec: str, images: Tensor, make_student: Callable[..., EntropicStudent]
) -> None:
    student = make_student(codec)
    found = SmallestView(number).defend(student, images)
    every = [sizes(student, view(images, n)) for n in range(number)]
    least = [min(each) for each in zip(*every, strict=True)]
    assert sizes(student, found.images) == least
    changed = [not torch.equal(a, b) for a, b in zip(found.images, images, strict=True)]
    assert found.applied.tolist() == changed


def test_the_views() -> None:
    image = torch.arange(9.0 * 9).view(1, 1, 9, 9)
    assert torch.equal(view(image, 0), image)
    assert torch.equal(view(image, 1)[..., 0], image[..., -1])
    assert torch.equal(view(image, 2)[..., 2:, :], image[..., :-2, :])
    assert torch.equal(view(image, 4)[..., 2:], image[..., :-2])
    both = view(image, 7)
    assert torch.equal(both[..., 2:, 2:], image.flip(-1)[..., :-2, :-2])
    assert torch.equal(both[..., 0, :], both[..., 2, :])
    assert len({view(image, n).numpy().tobytes() for n in range(8)}) == 8


def test_a_gradient_passes_the_chosen_view(
    images: Tensor, make_student: Callable[..., EntropicStudent]
) -> None:
    student = make_student("mshp")
    defended = DefendedStudent(student, SmallestView(2))
    x = images.clone().requires_grad_()
    out = defended.defend(x)
    (gradient,) = torch.autograd.grad((out * torch.arange(48.0)).sum(), x)
    mirrored = SmallestView(2).defend(student, images).applied
    ramp = torch.arange(48.0).expand_as(images)
    wanted = torch.where(mirrored[:, None, None, None], ramp.flip(-1), ramp)
    torch.testing.assert_close(gradient, wanted)
    attacked = PGDE(8, 4, QUICK)(StudentVictim(defended), images)
    assert sum(sizes(defended, attacked)) > sum(sizes(defended, images))


def test_errors(images: Tensor) -> None:
    for strength in (0, 9, 1.5):
        with pytest.raises(ValueError, match="number of views from 1 to 8"):
            SmallestView(strength)
    with pytest.raises(ValueError, match="needs a student"):
        SmallestView()(images)
