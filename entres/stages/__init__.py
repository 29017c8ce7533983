"""LightningModules: each stage of the training, and the evaluation."""

from entres.stages.base import Stage
from entres.stages.distillation import Distillation
from entres.stages.evaluation import Evaluation
from entres.stages.finetuning import FrozenEncoderFinetuning, JointFinetuning
from entres.stages.finite import NotFiniteError
from entres.stages.rate_distortion import RateDistortion
from entres.stages.schedules import Cosine, LearningRateSchedule, MultiStep
from entres.stages.student import StudentStage
from entres.stages.teacher import TeacherTraining

__all__ = [
    "Cosine",
    "Distillation",
    "Evaluation",
    "FrozenEncoderFinetuning",
    "JointFinetuning",
    "LearningRateSchedule",
    "MultiStep",
    "NotFiniteError",
    "RateDistortion",
    "Stage",
    "StudentStage",
    "TeacherTraining",
]
