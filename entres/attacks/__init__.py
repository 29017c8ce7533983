"""Attacks on accuracy and rate, and the noise they have to beat."""

from entres.attacks.adapters import LogitsModule
from entres.attacks.adaptive import LowFrequencyPGD, RegionalPGD
from entres.attacks.base import Attack, AttackResult
from entres.attacks.ensemble import AccuracyEnsemble
from entres.attacks.noise import SignNoise
from entres.attacks.norms import L2, Linf, Norm
from entres.attacks.objectives import (
    CrossEntropy,
    CrossEntropyAndRate,
    Margin,
    MaskedRate,
    Objective,
    Rate,
    TargetedMargin,
)
from entres.attacks.pgd import PGD, PGDE, PGDAcc, PGDJoint
from entres.attacks.presets import QUICK, STRAIGHT_THROUGH, Preset, Relaxation
from entres.attacks.several import OverStudents, SeveralResponses, StudentVictims, victim_of
from entres.attacks.smallest import SmallestEpsilon
from entres.attacks.square import Square
from entres.attacks.steps import (
    AbsoluteStep,
    AdaptiveStep,
    ConstantStep,
    CosineStep,
    MomentumStep,
    StepRule,
    StepSize,
    Walk,
)
from entres.attacks.stored import Stored
from entres.attacks.universal import Perturbation, Universal, UniversalLearner
from entres.attacks.victim import (
    ClassifierVictim,
    Response,
    SizedVictim,
    StudentVictim,
    Victim,
)

__all__ = [
    "L2",
    "PGD",
    "PGDE",
    "QUICK",
    "STRAIGHT_THROUGH",
    "AbsoluteStep",
    "AccuracyEnsemble",
    "AdaptiveStep",
    "Attack",
    "AttackResult",
    "ClassifierVictim",
    "ConstantStep",
    "CosineStep",
    "CrossEntropy",
    "CrossEntropyAndRate",
    "Linf",
    "LogitsModule",
    "LowFrequencyPGD",
    "Margin",
    "MaskedRate",
    "MomentumStep",
    "Norm",
    "Objective",
    "OverStudents",
    "PGDAcc",
    "PGDJoint",
    "Perturbation",
    "Preset",
    "Rate",
    "RegionalPGD",
    "Relaxation",
    "Response",
    "SeveralResponses",
    "SignNoise",
    "SizedVictim",
    "SmallestEpsilon",
    "Square",
    "StepRule",
    "StepSize",
    "Stored",
    "StudentVictim",
    "StudentVictims",
    "TargetedMargin",
    "Universal",
    "UniversalLearner",
    "Victim",
    "Walk",
    "victim_of",
]
