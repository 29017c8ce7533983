"""What holds for every corruption."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from entres.corruptions import (
    CORRUPTIONS,
    SEVERITIES,
    Contrast,
    Corruption,
    Frost,
    GaussianNoise,
    JPEGCompression,
    jpeg,
    nearest_size,
)

DETERMINISTIC = ["defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate"]
DETERMINISTIC += ["jpeg_compression"]
every_corruption = pytest.mark.parametrize("kind", CORRUPTIONS, ids=lambda kind: kind.name)


def seeded(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def distance(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).square().mean())


@every_corruption
def test_an_image_is_corrupted_alike_in_any_batch(kind: type[Corruption[Any]], photos: Any) -> None:
    images = photos(count=4, size=64)
    global_state = torch.get_rng_state()
    for severity in (1, 5):
        corrupt = kind(severity)
        together = corrupt(images, seeded(1, 2, 3, 4))
        backwards = corrupt(images.flip(0), seeded(4, 3, 2, 1)).flip(0)
        alone = torch.cat([corrupt(images[i : i + 1], seeded(i + 1)) for i in range(4)])
        # Sums of another order may fall on the other side of a level.
        for other in (backwards, alone):
            assert ((together - other).abs() <= 1.01 / 255).all()
            assert (together != other).float().mean() < 0.001
        reseeded = corrupt(images[:1], seeded(9))
        assert torch.equal(together[:1], reseeded) == (kind.name in DETERMINISTIC)
    assert torch.equal(torch.get_rng_state(), global_state)


# Severities after which the published parameters change something other than the strength.
UNORDERED = {
    "glass_blur": [1, 3],  # a longer reach, fewer times
    "zoom_blur": [2],  # fewer enlargements, further apart
    "snow": [3, 4],  # smaller flakes
    "frost": [3],  # the image darker, the texture alike
    "elastic_transform": [2],  # from moving the whole to moving single pixels
}


@every_corruption
def test_a_higher_severity_changes_more(kind: type[Corruption[Any]], photos: Any) -> None:
    images = photos(count=8)
    changes = [distance(kind(s)(images, seeded(*range(8))), images) for s in SEVERITIES]
    steps = [
        severity
        for severity, (lower, higher) in enumerate(pairwise(changes), 1)
        if higher <= lower and severity not in UNORDERED.get(kind.name, ())
    ]
    assert not steps, changes
    assert min(changes) > 0


@every_corruption
def test_any_size_and_type(kind: type[Corruption[Any]], photos: Any) -> None:
    photo = photos(count=2, size=300)
    for height, width in ((32, 32), (33, 47), (64, 96), (224, 160), (256, 300)):
        images = photo[..., :height, :width]
        before = images.clone()
        corrupted = kind(3)(images, seeded(0, 1))
        assert torch.equal(images, before)
        assert corrupted.shape == images.shape
        levels = corrupted * 255
        assert torch.allclose(levels, levels.round(), atol=1e-3)
        assert 0 <= corrupted.min() <= corrupted.max() <= 1
        assert 0 < distance(corrupted, images) < 0.3
    half = kind(3)(photo.half(), seeded(0, 1))
    assert half.dtype == torch.float16
    whole = distance(kind(3)(photo, seeded(0, 1)), photo)
    assert distance(half.float(), photo) == pytest.approx(whole, rel=0.05)


@every_corruption
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_device_stays(kind: type[Corruption[Any]], photos: Any) -> None:
    images = photos(count=2)
    generators = [torch.Generator("cuda").manual_seed(seed) for seed in range(2)]
    corrupted = kind(3)(images.cuda(), generators)
    assert corrupted.is_cuda
    # Other numbers, of the same distribution.
    change = distance(corrupted.cpu(), images)
    assert change == pytest.approx(distance(kind(3)(images, seeded(0, 1)), images), rel=0.5)


def test_parameters_are_those_of_the_nearest_size(photos: Any) -> None:
    assert [nearest_size(side) for side in (32, 45, 46, 64, 119, 120, 224, 500)] == [
        *(32, 32),
        *(64, 64, 64),
        *(224, 224, 224),
    ]
    image = photos(count=1, size=64)
    small, large = (Contrast(5, parameters_for=size)(image, seeded(0)) for size in (32, 224))
    assert large.std((2, 3)).sum() < 0.4 * small.std((2, 3)).sum()  # 0.05 and 0.15 are left
    assert torch.equal(Contrast(5)(image, seeded(0)), Contrast(5, 64)(image, seeded(0)))


def test_made_frost_is_like_ice() -> None:
    grey = torch.full((16, 3, 224, 224), 0.2)
    frosted = Frost(1)(grey, seeded(*range(16)))
    added = (frosted - grey) / 0.4
    # Bluish, bright, and rough; other parts and other textures for other images.
    red, green, blue = added.mean((0, 2, 3))
    assert red < green < blue
    assert 0.4 < added.mean() < 0.8
    assert (added[..., 1:] - added[..., :-1]).abs().mean() > 0.02
    assert len(added.mean((2, 3)).mul(20).round().unique(dim=0)) >= 4


def test_jpeg_at_the_end_is_as_the_published_files_have_it(photos: Any) -> None:
    image = photos(count=1)
    assert torch.equal(jpeg(image, 10), JPEGCompression(4)(image, seeded(0)))
    assert 0 < distance(jpeg(image, 85), image) < distance(jpeg(image, 25), image)
    with pytest.raises(ValueError, match="number from 1 to 95, got 0"):
        jpeg(image, 0)


def test_errors_say_what_was_wanted(tmp_path: Path, photos: Any) -> None:
    with pytest.raises(ValueError, match=r"severity must be one of \[1, 2, 3, 4, 5\], got 6"):
        GaussianNoise(6)
    with pytest.raises(ValueError, match="parameters_for must be 32, 64, 224 or null, got 100"):
        GaussianNoise(1, 100)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"32 pixels or more each way, got .*\(1, 3, 31, 31\)"):
        GaussianNoise(1)(torch.rand(1, 3, 31, 31), seeded(0))
    with pytest.raises(ValueError, match=r"floating point in .*got int64"):
        GaussianNoise(1)(torch.zeros(1, 3, 32, 32, dtype=torch.int64), seeded(0))
    with pytest.raises(ValueError, match="1 generators for a batch of 2"):
        GaussianNoise(1)(photos(count=2, size=32), seeded(0))
    with pytest.raises(ValueError, match=r"no textures of frost in .*leave the folder out"):
        Frost(1, textures=tmp_path)
