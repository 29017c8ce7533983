"""Callbacks: what is measured on every image, and where it is kept."""

from entres.callbacks.accuracy import Accuracy
from entres.callbacks.attack_health import AttackHealth
from entres.callbacks.base import Measurement
from entres.callbacks.bit_size import BitSize
from entres.callbacks.control import Control
from entres.callbacks.convergence import Convergence
from entres.callbacks.defense_effect import DefenseEffect
from entres.callbacks.maps import Maps
from entres.callbacks.results import ResultsStore

__all__ = [
    "Accuracy",
    "AttackHealth",
    "BitSize",
    "Control",
    "Convergence",
    "DefenseEffect",
    "Maps",
    "Measurement",
    "ResultsStore",
]
