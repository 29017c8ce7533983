"""The formulas of ImageNet-C for one image, written with NumPy, SciPy, scikit-image and Pillow.

An image is uint8, shape (H, W, 3), and so is what comes back. Parameters are arguments, and random
numbers come from ``rng``, so that a test can hand both sides the same.
"""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from skimage.color import hsv2rgb, rgb2hsv
from skimage.filters import gaussian

Array = NDArray[Any]


def written(image: Array) -> Array:
    """As the published code writes an image with values in [0, 1]."""
    return np.uint8(np.clip(image, 0, 1) * 255)


def gaussian_noise(image: Array, strength: float, rng: Any) -> Array:
    return written(image / 255 + rng.normal(0, strength, image.shape))


def shot_noise(image: Array, strength: float, rng: Any) -> Array:
    return written(rng.poisson(image / 255 * strength) / strength)


def impulse_noise(image: Array, strength: float, rng: Any) -> Array:
    hit = rng.uniform(0, 1, image.shape) <= strength
    salt = rng.uniform(0, 1, image.shape) <= 0.5
    return np.where(hit, np.where(salt, 255, 0), image).astype(np.uint8)


def defocus_blur(image: Array, strength: tuple[float, float], rng: Any) -> Array:
    radius, sigma = strength
    reach, taps = (8, 1) if radius <= 8 else (radius, 2)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disk = (x**2 + y**2 <= radius**2) / np.sum(x**2 + y**2 <= radius**2)
    edge = np.exp(-0.5 * (np.arange(-taps, taps + 1) / sigma) ** 2)
    edge /= edge.sum()
    for axis in (0, 1):
        disk = ndimage.correlate1d(disk, edge, axis, mode="mirror")
    return written(ndimage.correlate(image / 255, disk[:, :, None], mode="mirror"))


def glass_blur(image: Array, strength: tuple[float, int, int], rng: Any) -> Array:
    sigma, reach, times = strength
    levels = np.uint8(gaussian(image / 255, sigma, channel_axis=-1) * 255)
    height, width = levels.shape[:2]
    for _ in range(times):
        down, right = rng.integers(-reach, reach, (2, height, width))
        for y in range(height - reach, reach, -1):
            for x in range(width - reach, reach, -1):
                levels[y, x] = levels[y + down[y, x], x + right[y, x]]
    return written(gaussian(levels / 255, sigma, channel_axis=-1))


def along_a_line(image: Array, radius: int, sigma: float, angle: float) -> Array:
    """ImageMagick's motion blur of values in [0, 255]."""
    length = 2 * radius + 1
    weights = np.exp(-0.5 * (np.arange(length) / sigma) ** 2)
    weights /= weights.sum()
    height, width = image.shape[:2]
    total = np.zeros(image.shape)
    for i, weight in enumerate(weights):
        rows = np.arange(height) + math.ceil(i * math.sin(math.radians(angle)) - 0.5)
        columns = np.arange(width) + math.ceil(i * math.cos(math.radians(angle)) - 0.5)
        inside = np.ix_(np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1))
        total += weight * image[inside]
    return np.floor(total + 1e-6)


def motion_blur(image: Array, strength: tuple[int, float], rng: Any) -> Array:
    return np.uint8(along_a_line(image, *strength, rng.uniform(-45, 45)))


def enlarged(image: Array, factor: float) -> Array:
    """The middle of an image with channels, enlarged to its size."""
    side = len(image)
    inner = math.ceil(side / factor)
    first = (side - inner) // 2
    middle = image[first : first + inner, first : first + inner]
    zoomed = ndimage.zoom(middle, (factor, factor, 1), order=1)
    first = (len(zoomed) - side) // 2
    return zoomed[first : first + side, first : first + side]


def zoom_blur(image: Array, strength: tuple[int, float], rng: Any) -> Array:
    count, step = strength
    factors = np.arange(1, 1 + (count - 0.5) * step, step)
    layers = [image / 255, *(enlarged(image / 255, factor) for factor in factors)]
    return written(np.mean(layers, 0))


def snow(image: Array, strength: tuple[Any, ...], rng: Any) -> Array:
    mean, std, zoom, threshold, radius, sigma, kept = strength
    flakes = enlarged(rng.normal(mean, std, image.shape[:2])[..., None], zoom)
    flakes[flakes < threshold] = 0
    layer = along_a_line(written(flakes), radius, sigma, rng.uniform(-135, -45)) / 255
    values = image / 255
    grey = values @ np.array([[0.299], [0.587], [0.114]])
    values = kept * values + (1 - kept) * np.maximum(values, 1.5 * grey + 0.5)
    return written(values + layer + np.rot90(layer, 2))


def fog(image: Array, strength: tuple[float, float], rng: Any) -> Array:
    amount, decay = strength
    height, width = image.shape[:2]
    size = 2 ** math.ceil(math.log2(max(height, width)))
    heights = np.zeros((size, size))
    step, wibble = size, 100.0

    def fill(rows: Array, columns: Array, offsets: list[tuple[int, int]]) -> None:
        y, x = np.meshgrid(rows, columns, indexing="ij")
        around = sum(heights[(y + dy) % size, (x + dx) % size] for dy, dx in offsets)
        heights[y, x] = around / 4 + wibble * rng.uniform(-wibble, wibble, y.shape)

    while step > 1:
        half = step // 2
        whole, middle = np.arange(0, size, step), np.arange(half, size, step)
        fill(middle, middle, [(-half, -half), (-half, half), (half, -half), (half, half)])
        cross = [(-half, 0), (half, 0), (0, -half), (0, half)]
        fill(whole, middle, cross)
        fill(middle, whole, cross)
        step, wibble = half, wibble / decay
    heights = (heights - heights.min()) / np.ptp(heights)
    values, brightest = image / 255, image.max() / 255
    values = values + amount * heights[:height, :width, None]
    return written(values * brightest / (brightest + amount))


def brightness(image: Array, strength: float, rng: Any) -> Array:
    hsv = rgb2hsv(image / 255)
    hsv[..., 2] = np.minimum(hsv[..., 2] + strength, 1)
    return written(hsv2rgb(hsv))


def contrast(image: Array, strength: float, rng: Any) -> Array:
    mean = image.mean((0, 1)) / 255
    return written((image / 255 - mean) * strength + mean)


def elastic_transform(image: Array, strength: tuple[float, float, float], rng: Any) -> Array:
    scale, sigma, reach = strength
    height, width = image.shape[:2]
    middle, side = np.array([height // 2, width // 2]), min(height, width) // 3
    corners = middle + side * np.array([[1, 1], [1, -1], [-1, -1]])
    moved = corners + rng.uniform(-reach, reach, (3, 2))
    inverse = np.linalg.solve(np.c_[moved, np.ones(3)], corners).T
    y, x = np.mgrid[:height, :width].astype(float)
    sources = inverse @ np.stack([x.ravel(), y.ravel(), np.ones(x.size)])
    values = sampled(
        image / 255, sources[1].reshape(x.shape), sources[0].reshape(x.shape), "mirror"
    )
    if not scale:
        return written(values)
    right, down = (
        scale * ndimage.gaussian_filter(noise, sigma, mode="reflect", truncate=3)
        for noise in (rng.uniform(-1, 1, image.shape[:2]) for _ in range(2))
    )
    return written(sampled(values, y + down, x + right, "reflect"))


def sampled(image: Array, y: Array, x: Array, mode: str) -> Array:
    channels = [
        ndimage.map_coordinates(c, (y, x), order=1, mode=mode) for c in image.T.swapaxes(1, 2)
    ]
    return np.stack(channels, -1)


def pixelate(image: Array, strength: float, rng: Any) -> Array:
    height, width = image.shape[:2]
    small = Image.fromarray(image).resize(
        (int(width * strength), int(height * strength)), Image.BOX
    )
    return np.asarray(small.resize((width, height), Image.BOX))


def jpeg_compression(image: Array, strength: int, rng: Any) -> Array:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=strength)
    return np.asarray(Image.open(buffer))
