"""Networks in plain torch: codecs, backbones, students, and their weights."""

from entres.card import StudentCard, student_name
from entres.coding_pool import CodingPool
from entres.errors import WeightsError
from entres.models.backbones import build_backbone
from entres.models.budget import BudgetError, within_budget
from entres.models.classifier import Classifier, TailOutput
from entres.models.codec import Codec, CodecOutput
from entres.models.codecs import FactorizedPrior, MeanScaleHyperprior
from entres.models.entropy_coded import StaleTablesError
from entres.models.plans import CodingPlan
from entres.models.quantization import Quantization
from entres.models.randomness import NoisePerImage
from entres.models.sc2bench import import_sc2bench
from entres.models.splitting import Backbone, split_classifier
from entres.models.student import (
    CodecCallable,
    EntropicStudent,
    StudentOutput,
    load_student,
)

__all__ = [
    "Backbone",
    "BudgetError",
    "Classifier",
    "Codec",
    "CodecCallable",
    "CodecOutput",
    "CodingPlan",
    "CodingPool",
    "EntropicStudent",
    "FactorizedPrior",
    "MeanScaleHyperprior",
    "NoisePerImage",
    "Quantization",
    "StaleTablesError",
    "StudentCard",
    "StudentOutput",
    "TailOutput",
    "WeightsError",
    "build_backbone",
    "import_sc2bench",
    "load_student",
    "split_classifier",
    "student_name",
    "within_budget",
]
