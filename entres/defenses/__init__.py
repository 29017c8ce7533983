"""Defenses of the head: what it denoises before it codes."""

from entres.defenses.automatic import Automatic
from entres.defenses.base import Defended, Defense
from entres.defenses.budget import Budget
from entres.defenses.chambolle import MaskedChambolle, PlainChambolle
from entres.defenses.filters import JPEG, BitDepth, GaussianBlur, MedianFilter
from entres.defenses.masks import BitsMask, Everywhere, LikelihoodMask, Mask
from entres.defenses.student import DefendedStudent, Through
from entres.defenses.total_variation import MaskedTV, PublishedDenoising
from entres.defenses.views import SmallestView

__all__ = [
    "JPEG",
    "Automatic",
    "BitDepth",
    "BitsMask",
    "Budget",
    "Defended",
    "DefendedStudent",
    "Defense",
    "Everywhere",
    "GaussianBlur",
    "LikelihoodMask",
    "Mask",
    "MaskedChambolle",
    "MaskedTV",
    "MedianFilter",
    "PlainChambolle",
    "PublishedDenoising",
    "SmallestView",
    "Through",
]
