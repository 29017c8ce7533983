"""The fifteen corruptions of ImageNet-C, on any batch of images."""

from typing import Any

from entres.corruptions.base import (
    Category,
    Corruption,
    ImageSize,
    Parameters,
    nearest_size,
)
from entres.corruptions.blur import DefocusBlur, GlassBlur, MotionBlur, ZoomBlur
from entres.corruptions.digital import Contrast, ElasticTransform, JPEGCompression, Pixelate
from entres.corruptions.jpeg import jpeg
from entres.corruptions.noise import GaussianNoise, ImpulseNoise, ShotNoise
from entres.corruptions.weather import Brightness, Fog, Frost, Snow
from entres.results import SEVERITIES

CORRUPTIONS: tuple[type[Corruption[Any]], ...] = (
    GaussianNoise,
    ShotNoise,
    ImpulseNoise,
    DefocusBlur,
    GlassBlur,
    MotionBlur,
    ZoomBlur,
    Snow,
    Frost,
    Fog,
    Brightness,
    Contrast,
    ElasticTransform,
    Pixelate,
    JPEGCompression,
)
"""All fifteen, in the order of the paper that introduced them."""

__all__ = [
    "CORRUPTIONS",
    "SEVERITIES",
    "Brightness",
    "Category",
    "Contrast",
    "Corruption",
    "DefocusBlur",
    "ElasticTransform",
    "Fog",
    "Frost",
    "GaussianNoise",
    "GlassBlur",
    "ImageSize",
    "ImpulseNoise",
    "JPEGCompression",
    "MotionBlur",
    "Parameters",
    "Pixelate",
    "ShotNoise",
    "Snow",
    "ZoomBlur",
    "jpeg",
    "nearest_size",
]
