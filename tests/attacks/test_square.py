"""The black-box attack on the size, against every corner of small balls and real streams."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest
import torch
from torch import Tensor

from entres.attacks import (
    L2,
    PGDE,
    ClassifierVictim,
    Response,
    SignNoise,
    SizedVictim,
    Square,
    StudentVictim,
)
from entres.models import EntropicStudent, NoisePerImage

EPSILON = 8
CODECS = ["fp", "mshp"]


@pytest.fixture
def images() -> Tensor:
    noise = torch.rand(4, 3, 5, 5, generator=torch.Generator().manual_seed(1))
    return torch.nn.functional.interpolate(noise * 1.2 - 0.1, size=40, mode="bicubic").clamp(0, 1)


class Counted(ClassifierVictim):
    """A victim that says the length of streams of its own making, and no more than that."""

    def __init__(self, size: Callable[[Tensor], Tensor]) -> None:
        super().__init__(lambda x: x)
        self.size = size
        self.asked: list[Tensor] = []

    def analyse(self, images: Tensor) -> Tensor:
        raise AssertionError("a black-box attack looked inside")

    def respond(self, *args: object, **kwargs: object) -> Response:
        raise AssertionError("a black-box attack looked inside")

    def stream_bytes(self, images: Tensor) -> Tensor:
        self.asked.append(images)
        return self.size(images)


@pytest.mark.parametrize("seed", range(4))
def test_it_finds_the_best_of_all_corners_and_nothing_beyond(seed: int) -> None:
    # 12 values in the middle of their range: the 4096 corners of the ball can all be tried.
    image = torch.full((1, 3, 2, 2), 0.5)
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(12, 12, generator=generator)

    def size(x: Tensor) -> Tensor:
        moved = (x - 0.5).flatten(1) * 255 / EPSILON
        return (1000 + 10 * (moved @ weights * moved).sum(1) + 20 * moved @ weights[0]).long()

    corners = torch.tensor(list(product((-1.0, 1.0), repeat=12))).view(-1, 3, 2, 2)
    best = size(image + EPSILON / 255 * corners).max()
    victim = Counted(size)
    found = [
        size(Square(EPSILON, 400)(victim, image, generator=torch.Generator().manual_seed(run)))
        for run in range(3)
    ]
    assert max(found) <= best
    assert max(found) >= 1000 + 0.9 * (best - 1000)
    # Every query lies on a corner of every value that it moved.
    for asked in victim.asked:
        moved = (asked - image).abs() * 255
        assert ((moved < 1e-3) | ((moved - EPSILON).abs() < 1e-3)).all()


def test_it_spends_the_queries_that_it_was_given(images: Tensor) -> None:
    victim = Counted(lambda x: (x.mean((1, 2, 3)) * 1000).long())
    Square(EPSILON, 20)(victim, images)
    assert len(victim.asked) == 1 + 20  # and the clean images
    assert isinstance(victim, SizedVictim)


@pytest.mark.parametrize("codec", CODECS)
def test_its_sizes_are_those_of_real_streams(
    codec: str, images: Tensor, make_student: Callable[..., EntropicStudent]
) -> None:
    student = make_student(codec)
    with torch.no_grad():
        # A fresh factorized distribution is so wide that few bytes change.
        student.codec.g_a[-1].weight.mul_(40 if codec == "fp" else 4)
    victim = StudentVictim(student)

    def real(x: Tensor) -> list[int]:
        return [len(stream) for stream in student.encode(x)]

    result = Square(EPSILON, 60).run(victim, images, health=True)
    assert result.curve is not None
    assert result.curve.shape == (4, 61)
    assert (result.curve.diff(dim=1) >= 0).all()
    assert result.curve[:, 0].tolist() == real(images) == result.health["objective_clean"].tolist()
    assert result.curve[:, -1].tolist() == real(result.images)
    assert (result.curve[:, -1] > result.curve[:, 0]).all()
    gain = result.curve[:, 60] / result.curve[:, 45] - 1
    torch.testing.assert_close(result.health["late_gain"], gain)
    moved = (result.images - images).abs()
    assert moved.max() <= EPSILON / 255 + 1e-6
    assert result.images.min() >= 0
    assert result.images.max() <= 1
    # It beats luck of one draw, and not who sees the gradient.
    noise = real(SignNoise(EPSILON)(victim, images))
    seeing = real(PGDE(EPSILON, steps=20)(victim, images))
    found = real(result.images)
    assert sum(noise) < sum(found) < sum(seeing)
    assert result.health["objective_noise"].mean() < result.health["objective_end"].mean()


def test_an_image_is_attacked_alike_in_any_batch(
    images: Tensor, make_student: Callable[..., EntropicStudent]
) -> None:
    victim = Counted(lambda x: (x.flatten(1)[:, ::7].cos().sum(1) * 100).long())

    def noise(which: list[int]) -> NoisePerImage:
        return NoisePerImage(0, torch.tensor(which))

    whole = Square(EPSILON, 30)(victim, images, generator=noise([0, 1, 2, 3]))
    part = Square(EPSILON, 30)(victim, images[[2, 0]], generator=noise([2, 0]))
    assert torch.equal(whole[[2, 0]], part)
    other = Square(EPSILON, 30)(victim, images, generator=noise([4, 5, 6, 7]))
    assert not torch.equal(whole, other)


def test_its_squares_shrink_as_published() -> None:
    attack = Square(queries=10_000, first_area=0.5)
    queries = (1, 11, 51, 201, 501, 1001, 2001, 4001, 6001, 8001)
    areas = [attack.side(query, 224, 224) ** 2 / 224**2 for query in queries]
    for number, area in enumerate(areas):
        assert area == pytest.approx(0.5 / 2**number, rel=0.15)
    # Another budget stretches the schedule; a square fits into the image and has a pixel.
    assert Square(queries=100, first_area=0.5).side(90, 224, 224) == attack.side(9000, 224, 224)
    assert Square(first_area=1).side(1, 20, 60) == 20
    assert attack.side(9999, 8, 8) == 1


def test_squares_are_squares(images: Tensor) -> None:
    tried: list[Tensor] = []

    def size(x: Tensor) -> Tensor:
        tried.append(x)
        return torch.full((len(x),), 9)  # nothing is ever longer: each query stands alone

    Square(EPSILON, 40)(Counted(size), images.clamp(0.2, 0.8))
    for query, each in enumerate(tried[2:], 1):
        side = Square(EPSILON, 40).side(query, 40, 40)
        changed = (each - images.clamp(0.2, 0.8)).abs() > 1e-4
        assert torch.equal(changed[:, 0], changed[:, 1])
        for mask in changed[:, 0]:
            rows, columns = mask.nonzero().unbind(1)
            assert len(rows) == side**2
            assert int(rows.max() - rows.min()) == int(columns.max() - columns.min()) == side - 1
    # Places reach from the first to the last.
    tops = {int((each[0, 0] != images.clamp(0.2, 0.8)[0, 0]).nonzero()[0, 0]) for each in tried[2:]}
    assert len(tops) > 5


def test_it_says_what_does_not_fit(images: Tensor) -> None:
    with pytest.raises(ValueError, match="ClassifierVictim does not make: attack one entropic"):
        Square()(ClassifierVictim(lambda x: x), images)
    with pytest.raises(ValueError, match="Square is for the norm linf only, got l2"):
        Square(norm=L2())
    # Fewer queries find less: results of 100 and of 1,000 are two.
    assert [Square(queries=n).condition for n in (1000, 100)] == ["square", "square_100_queries"]
    assert Square(4, 100).at(8).condition == "square_100_queries"
    with pytest.raises(ValueError, match="queries must be >= 1, got 0"):
        Square(queries=0)
    with pytest.raises(ValueError, match="first_area is a share"):
        Square(first_area=0)
