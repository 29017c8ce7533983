"""Against the formulas of ImageNet-C, written anew in ``reference.py``."""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference
import scipy.ndimage
import skimage.filters
import torch
from PIL import Image

from entres.corruptions import CORRUPTIONS, SEVERITIES, Frost, GlassBlur

DRAWN_ALIKE = ("glass_blur", "motion_blur", "snow", "fog", "elastic_transform")
NOISE = ("gaussian_noise", "shot_noise", "impulse_noise")
BY_NAME = {corruption.name: corruption for corruption in CORRUPTIONS}
DETERMINISTIC = (
    "defocus_blur",
    "zoom_blur",
    "brightness",
    "contrast",
    "pixelate",
    "jpeg_compression",
)


class Recorder:
    """Random numbers of NumPy, kept as those in [0, 1), or standard normal, behind them."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.drawn: list[np.ndarray] = []

    def _keep(self, numbers: Any) -> Any:
        self.drawn.append(np.asarray(numbers, dtype=np.float32))
        return numbers

    def uniform(self, low: float, high: float, size: Any = None) -> Any:
        unit = self._keep(self.rng.uniform(size=size))
        return low + (high - low) * unit

    def normal(self, loc: float, scale: float, size: Any = None) -> Any:
        return loc + scale * self._keep(self.rng.normal(size=size))

    def integers(self, low: int, high: int, size: Any) -> Any:
        numbers = self.rng.integers(low, high, size)
        self._keep((numbers - low + 0.5) / (high - low))
        return numbers


def hand_over(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets corruptions draw, in their order, what a reference has drawn."""
    numbers = np.concatenate([np.float32([]), *(part.ravel() for part in recorder.drawn)])

    def draw(
        shape: Sequence[int], generators: Any, device: Any, distribution: str, **parameters: float
    ) -> torch.Tensor:
        nonlocal numbers
        size = int(np.prod(shape))
        part, numbers = numbers[:size], numbers[size:]
        drawn = torch.from_numpy(part.copy()).view(1, *shape)
        if distribution == "normal_":
            return drawn * parameters.get("std", 1) + parameters.get("mean", 0)
        low, high = parameters.get("from", 0.0), parameters.get("to", 1.0)
        return low + (high - low) * drawn

    for name in ("noise", "blur", "weather", "digital", "plasma"):
        monkeypatch.setattr(importlib.import_module(f"entres.corruptions.{name}"), "draw", draw)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def bits8(images: torch.Tensor) -> np.ndarray:
    return (images * 255).round().byte().permute(0, 2, 3, 1).numpy()


def near(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Share of values that differ by 1/255 at most."""
    return float((np.abs(ours.astype(int) - theirs) <= 1).mean())


@pytest.mark.parametrize("size", [224, 64, 32])
@pytest.mark.parametrize("name", DETERMINISTIC)
def test_deterministic_ones_equal_the_formulas(name: str, size: int, photos: Any) -> None:
    images = photos(count=2 if size == 224 else 6, size=size)
    for severity in SEVERITIES:
        corruption = BY_NAME[name](severity)
        strength = corruption.published.of(size, severity)
        ours = bits8(corruption(images, [torch.Generator()] * len(images)))
        function = getattr(reference, name)
        theirs = np.stack([function(image, strength, None) for image in bits8(images)])
        assert near(ours, theirs) >= 0.99, severity


@pytest.mark.parametrize("size", [224, 64, 32])
@pytest.mark.parametrize("name", DRAWN_ALIKE)
def test_random_ones_equal_the_formulas_given_the_same_random_numbers(
    name: str, size: int, photos: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = photos(count=4, size=size)
    for severity in SEVERITIES if size < 224 else (1, 3, 5):
        corruption = BY_NAME[name](severity)
        strength = corruption.published.of(size, severity)
        image = images[severity % len(images)][None]
        recorder = Recorder(severity)
        theirs = getattr(reference, name)(bits8(image)[0], strength, recorder)
        hand_over(recorder, monkeypatch)
        ours = bits8(corruption(image, [torch.Generator()]))[0]
        assert near(ours, theirs) >= 0.99, severity


def figures(images: np.ndarray) -> np.ndarray:
    """Mean, variance, total variation, and power in four bands of frequency."""
    values = images.astype(float)
    variation = np.abs(np.diff(values, axis=1)).mean() + np.abs(np.diff(values, axis=2)).mean()
    grey = values.mean(-1)
    power = (np.abs(np.fft.fft2(grey - grey.mean((1, 2), keepdims=True))) ** 2).mean(0)
    frequency = np.fft.fftfreq(len(power))
    radius = np.hypot(frequency, frequency[:, None])
    edges = [0, 1 / 16, 1 / 8, 1 / 4, 1]
    bands = [power[(radius >= a) & (radius < b)].mean() for a, b in pairwise(edges)]
    return np.array([values.mean(), values.var((1, 2)).mean(), variation, *bands])


@pytest.mark.parametrize("name", NOISE)
def test_random_ones_have_the_distribution_of_the_formulas(name: str, photos: Any) -> None:
    images = photos(count=8).repeat(3, 1, 1, 1)
    for severity in (1, 5):
        corruption = BY_NAME[name](severity)
        strength = corruption.published.of(224, severity)
        generators = [seeded(i) for i in range(len(images))]
        ours = figures(bits8(corruption(images, generators)))
        function, rng = getattr(reference, name), np.random.default_rng(severity)
        theirs = figures(np.stack([function(image, strength, rng) for image in bits8(images)]))
        assert ours == pytest.approx(theirs, rel=0.03), severity


def test_frost_adds_a_part_of_the_texture(photos: Any, tmp_path: Path) -> None:
    image, photo = bits8(photos(count=1)), bits8(photos(count=2, size=300))[1]
    Image.fromarray(photo).save(tmp_path / "frost.png")
    for severity, (kept, added) in enumerate(Frost.published.imagenet, 1):
        ours = Frost(severity, textures=tmp_path)(photos(count=1), [seeded(severity)])
        _, top, left = torch.rand(3, generator=seeded(severity)).mul(300 - 224).int().tolist()
        part = photo[top : top + 224, left : left + 224]
        theirs = np.uint8(np.clip(kept * image[0] + added * part, 0, 255))
        assert near(bits8(ours)[0], theirs) >= 0.99, severity


# --- against the package that the authors published ----------------------------------------------


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """The package imagenet-c, with what the libraries have renamed since put back."""
    pytest.importorskip("wand.image")
    smooth = skimage.filters.gaussian

    def gaussian(image: Any, *words: Any, multichannel: bool = False, **options: Any) -> Any:
        return smooth(image, *words, channel_axis=-1 if multichannel else None, **options)

    interpolation = types.ModuleType("scipy.ndimage.interpolation")
    interpolation.map_coordinates = scipy.ndimage.map_coordinates  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, interpolation.__name__, interpolation)
    monkeypatch.setattr(skimage.filters, "gaussian", gaussian)
    monkeypatch.setattr(np, "fromstring", lambda data, kind: np.frombuffer(data, kind).copy())
    return pytest.importorskip("imagenet_c.corruptions")


PACKAGED = (*DETERMINISTIC, *DRAWN_ALIKE)


@pytest.mark.imagenet_c
@pytest.mark.parametrize("name", PACKAGED)
def test_the_published_package_agrees(
    name: str, photos: Any, published: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    for severity in (1,) if name == "glass_blur" else SEVERITIES:
        image = photos(count=severity)[-1:]
        recorder = Recorder(severity)
        with monkeypatch.context() as patch:
            patch.setattr(np.random, "uniform", recorder.uniform)
            patch.setattr(np.random, "normal", recorder.normal)
            patch.setattr(np.random, "randint", recorder.integers)
            image_now = Image.fromarray(bits8(image)[0])
            theirs = np.uint8(getattr(published, name)(image_now, severity))
        if name == "glass_blur":
            recorder.drawn = [in_place(recorder.drawn, GlassBlur.published.imagenet[0])]
        with monkeypatch.context() as patch:
            hand_over(recorder, patch)
            ours = bits8(BY_NAME[name](severity)(image, [torch.Generator()]))[0]
        assert near(ours, theirs) >= 0.99, severity


def in_place(steps: list[np.ndarray], strength: tuple[float, int, int], size: int = 224) -> Any:
    """The package draws (right, down) pixel by pixel, from the last to the first."""
    _, reach, times = strength
    fields = np.zeros((times, 2, size, size), dtype=np.float32)
    order = range(size - reach, reach, -1)
    drawn = iter(steps)
    for field in fields:
        for y in order:
            for x in order:
                field[1, y, x], field[0, y, x] = next(drawn)
    return fields


@pytest.mark.imagenet_c
@pytest.mark.parametrize("name", NOISE)
def test_the_published_package_has_the_same_distribution(
    name: str, photos: Any, published: types.ModuleType
) -> None:
    images = photos(count=8).repeat(3, 1, 1, 1)
    for severity in SEVERITIES:
        generators = [seeded(i) for i in range(len(images))]
        ours = figures(bits8(BY_NAME[name](severity)(images, generators)))
        function = getattr(published, name)
        theirs = np.stack([np.uint8(function(image, severity)) for image in bits8(images)])
        assert ours == pytest.approx(figures(theirs), rel=0.03), severity
