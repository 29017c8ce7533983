"""The part that all stages of a student share: networks, statistics, the rate's bookkeeping."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch.cli import OptimizerCallable
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn

from entres.bitstream import KIB
from entres.card import read_card
from entres.data import Batch
from entres.data.checks import require_same_classes
from entres.experiment.layout import STUDENT
from entres.functional import bits_from_likelihoods
from entres.losses import RELATIVE_POINT_WEIGHT, feature_distillation, knowledge_distillation
from entres.models import (
    CodecCallable,
    EntropicStudent,
    MeanScaleHyperprior,
    StudentCard,
    StudentOutput,
    TailOutput,
    build_backbone,
    student_name,
)
from entres.models.arithmetic import fast_products
from entres.models.checkpoints import read_state
from entres.models.student import load_into
from entres.stages.base import Stage, class_names, classes_of_teacher
from entres.stages.schedules import LearningRateSchedule, linear_warmup

FeatureWeighting = Literal["relative", "summed"]
"""``summed``: the published sum of squared errors, for the published three teachers. ``relative``:
each point's error divided by the teacher's mean energy there, times a constant, for any other."""

STATISTICS_IMAGES = 512
"""Training images over which a teacher's feature statistics are taken."""


class StudentStage(Stage):
    """A stage that trains a student beside its teacher.

    Args:
        beta: weight of the rate in bits against the distortion, > 0.
        optimizer: makes the optimizer from parameter groups.
        schedule: the learning rate over the run.
        backbone: timm name of the teacher.
        codec: makes the codec for a number of target channels.
        num_classes: width of the classifier; taken from the datamodule on the command line.
        teacher_weights: see :func:`entres.models.build_backbone`.
        student_weights: file of a student to start from; None starts afresh.
        feature_weighting: see :data:`FeatureWeighting`.
        beta_warmup: share of the run over which beta rises from 0. At full beta from the first step
            the latent collapses before the synthesis has learned anything.
        hyper_rate_weight: multiplies the bits of z. 1 but for one published student (ResNet-50,
            MSHP, beta 0.08), which weighs them with an absolute 0.1: 1.25 times its beta.
        tail_lr_factor: learning rate of the tail over that of the codec.
        quantile_lr_factor: learning rate of the entropy bottleneck's quantiles over the codec's.
        seed: see :class:`Stage`.
        fast_products: whether the training's convolutions round what they multiply (see
            :func:`entres.models.arithmetic.fast_products`).

    Raises:
        ValueError: if beta or a factor is out of range.
    """

    result = STUDENT
    has_teachers_tail = False
    """Whether the tail begins as the teacher's, whatever that of the start is."""
    point_weights: Tensor

    def __init__(
        self,
        beta: float,
        optimizer: OptimizerCallable,
        schedule: LearningRateSchedule,
        backbone: str = "test_resnet",
        codec: CodecCallable = MeanScaleHyperprior,
        num_classes: int | None = None,
        teacher_weights: str | None = None,
        student_weights: str | None = None,
        feature_weighting: FeatureWeighting = "relative",
        beta_warmup: float = 0.0,
        hyper_rate_weight: float = 1.0,
        tail_lr_factor: float = 1.0,
        quantile_lr_factor: float = 1.0,
        seed: int = 0,
        fast_products: bool = False,
    ) -> None:
        super().__init__(optimizer, schedule, seed)
        if not beta > 0:
            raise ValueError(f"beta must be > 0, got {beta}")
        if not 0 <= beta_warmup <= 1:
            raise ValueError(f"beta_warmup is a share of the run in [0, 1], got {beta_warmup}")
        self.beta = beta
        self.backbone_name = backbone
        self.num_classes = num_classes
        self.teacher_weights = teacher_weights
        self.feature_weighting = feature_weighting
        self.beta_warmup = beta_warmup
        self.hyper_rate_weight = hyper_rate_weight
        self.tail_lr_factor = tail_lr_factor
        self.quantile_lr_factor = quantile_lr_factor
        self.fast_products = fast_products
        self._products = ExitStack()
        if teacher_weights is None:
            rank_zero_warn(f"the teacher {backbone} has random weights: give teacher_weights")
        # A teacher with a random last layer would teach nothing.
        built = build_backbone(backbone, num_classes, teacher_weights, whole=True)
        self.teacher = built.teacher
        self.student = EntropicStudent.from_backbone(built, codec)
        points = len(built.teacher.points)
        # Zeros until they are measured; in the state, so that a resumed run does not measure again.
        self.register_buffer("point_weights", torch.zeros(points))
        if feature_weighting == "summed":
            self.point_weights.fill_(1.0)
        self.student_weights = student_weights
        if student_weights is not None:
            load_into(self.student, self._start(student_weights), student_weights)
            self.student.update()

    def _start(self, file: str) -> dict[str, Tensor]:
        """What a student starts from: a file's weights, as far as its tail is wanted and fits.

        Of a student of other classes the last layer is left out: the teacher's stays.
        """
        state = read_state(file)
        here = self.student.state_dict()
        if self.has_teachers_tail:
            return {name: value for name, value in state.items() if not name.startswith("tail.")}
        classes = read_card(file).num_classes
        if classes == self.teacher.num_classes or not any(n.startswith("tail.") for n in state):
            return state
        rank_zero_warn(
            f"{file} knows {classes} classes, the teacher {self.teacher.num_classes}: all but the "
            "last layer is taken"
        )
        return {
            name: here[name]
            if name.startswith("tail.") and name in here and here[name].shape != value.shape
            else value
            for name, value in state.items()
        }

    # --- what a stage is -------------------------------------------------------------------------

    @property
    def name(self) -> str:
        codec = self.student.codec.short_name
        return student_name(self.backbone_name, codec, self.beta, self.whole_recipe, self.seed)

    @property
    def whole_recipe(self) -> str:
        """The recipe with the attacks on its batches: ``joint``, ``joint-pgd_e8``."""
        return "-".join(part for part in (self.recipe, self.training_attacks) if part)

    def run_student(self, images: Tensor) -> StudentOutput:
        """The student's training pass over images in [0, 1]: relaxed, unless overridden."""
        output: StudentOutput = self.student(images, "noise", self.step_generator())
        return output

    @abstractmethod
    def objective(
        self, output: StudentOutput, teacher: TailOutput, labels: Tensor
    ) -> dict[str, Tensor]:
        """Terms per image; ``loss`` is what is minimized, the rest is logged."""

    def frozen(self) -> Iterable[nn.Module]:
        return [self.teacher]

    def parameter_groups(self) -> list[dict[str, Any]]:
        quantiles = self.student.codec.entropy_bottleneck.quantiles
        codec = [p for p in self.student.codec.parameters() if p is not quantiles]
        return [
            {"params": codec},
            {"params": self.student.tail.parameters(), "lr_factor": self.tail_lr_factor},
            # Their gradient has no noise and no scale of the task: no decay, a rate of their own.
            {"params": [quantiles], "lr_factor": self.quantile_lr_factor, "weight_decay": 0.0},
        ]

    def save_result(self, path: Path) -> None:
        self.student.update()
        codec, data = self.student.codec, self.trainer.datamodule  # type: ignore[attr-defined]
        card = StudentCard(
            backbone=self.backbone_name,
            codec=codec.short_name,
            beta=self.beta,
            recipe=self.whole_recipe,
            num_classes=self.num_classes or self.teacher.num_classes,
            analysis_widths=codec.analysis_widths,
            synthesis_widths=codec.synthesis_widths,
            dataset=self.dataset,
            teacher_weights=self.teacher_weights,
            train_size=getattr(data, "train_size", getattr(data, "image_size", None)),
            steps=self.trainer.global_step,
            seed=self.seed,
            class_names=class_names(data),
        )
        self.student.save(path, card)

    # --- terms -----------------------------------------------------------------------------------

    def distortion(self, output: StudentOutput, teacher: TailOutput) -> Tensor:
        """Feature distillation at all points, per image."""
        return feature_distillation(output.features, teacher.features, self.point_weights)

    def rate(self, output: StudentOutput) -> Tensor:
        """Bits per image, those of z weighted."""
        weighted = bits_from_likelihoods([output.likelihoods["y"]])
        if "z" in output.likelihoods:
            weighted = weighted + self.hyper_rate_weight * bits_from_likelihoods(
                [output.likelihoods["z"]]
            )
        return weighted

    def warm_beta(self) -> float:
        """Beta at this step."""
        return self.beta * linear_warmup(self.progress, self.beta_warmup)

    @staticmethod
    def task(output: StudentOutput, teacher: TailOutput, labels: Tensor) -> Tensor:
        """Half cross-entropy, half the teacher's distribution, per image."""
        return knowledge_distillation(output.logits, teacher.logits, labels)

    # --- Lightning -------------------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        super().setup(stage)
        # Before DDP lays out its buckets, which follow the parameters' strides.
        self.student.to(memory_format=torch.channels_last)
        self.teacher.to(memory_format=torch.channels_last)

    def on_fit_start(self) -> None:
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        if self.teacher_weights is not None and Path(self.teacher_weights).is_file():
            known = classes_of_teacher(self.teacher_weights)
            require_same_classes(self.teacher_weights, known, class_names(data))
        if self.student_weights is not None:
            start = read_card(self.student_weights)
            if start.dataset not in (None, self.dataset):
                rank_zero_warn(
                    f"{self.student_weights} was trained on {start.dataset}, the data are "
                    f"{self.dataset}"
                )

    def on_train_start(self) -> None:
        if not self.point_weights.any():
            self.measure_teacher()

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        super().on_train_batch_start(batch, batch_idx)
        if self.fast_products:
            self._products.enter_context(fast_products(self.device))

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        self._products.close()

    @torch.no_grad()
    def measure_teacher(self) -> None:
        """Take the teacher's feature energies, and channel statistics for a fresh codec.

        With them, beta means about the same for every teacher.
        """
        energies: list[Tensor] = []
        sums: list[Tensor] = []
        seen = 0
        for batch in self.trainer.datamodule.train_dataloader():  # type: ignore[attr-defined]
            features = self.teacher(batch.images.to(self.device)).features
            energies.append(torch.stack([f.square().flatten(1).sum(1).mean() for f in features]))
            split = features[0].transpose(0, 1).flatten(1).double()  # squares cancel below
            sums.append(torch.stack([split.mean(1), split.square().mean(1)]))
            seen += len(batch.labels)
            if seen >= STATISTICS_IMAGES:
                break
        if not energies:
            raise ValueError("the training set is smaller than one batch: lower batch_size")
        energy = self.mean_over_ranks(torch.stack(energies).mean(0))
        mean, square = self.mean_over_ranks(torch.stack(sums).mean(0))
        self.point_weights.copy_(RELATIVE_POINT_WEIGHT / energy)
        if not self.student_weights:
            self.student.codec.set_output_statistics(
                mean, (square - mean.square()).clamp(min=0).sqrt()
            )

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images = batch.images.contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            teacher = self.teacher(images)
        output = self.run_student(images)
        terms = self.objective(output, teacher, batch.labels)
        auxiliary = self.student.codec.auxiliary_loss()
        self.log_terms(
            batch,
            {
                **terms,
                "auxiliary": auxiliary,
                "beta": torch.tensor(self.warm_beta()),
                **self._measures(output, batch.labels),
            },
        )
        return terms["loss"].mean() + auxiliary

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        images = batch.images.contiguous(memory_format=torch.channels_last)
        output = self.student(images, "round")
        teacher = self.teacher(images)
        self.collect_terms(
            {
                "distortion": self.distortion(output, teacher),
                "teacher_accuracy": (teacher.logits.argmax(1) == batch.labels).float(),
                **self._measures(output, batch.labels),
            }
        )

    @staticmethod
    def _measures(output: StudentOutput, labels: Tensor) -> dict[str, Tensor]:
        bits = output.bits
        return {
            "bits": bits,
            "kib": bits / (8 * KIB),
            "accuracy": (output.logits.argmax(1) == labels).float(),
        }
