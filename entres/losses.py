"""The terms that the stages add up, each per image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from entres.functional import squared_error

RELATIVE_POINT_WEIGHT = 2e4
"""What the whole feature energy of one distillation point weighs against bits.

beta weighs bits against the summed squared error of the teacher's features, so its meaning depends
on their scale. For teachers other than the published three, each point's error is divided by the
teacher's mean feature energy there and multiplied by this constant.

The energy grows with the area of the images, and so do the bits: at a larger training size the same
beta buys fewer bits per pixel. Compare betas of students trained at one size.
"""


def feature_distillation(
    student: Sequence[Tensor], teacher: Sequence[Tensor], weights: Tensor
) -> Tensor:
    """The distortion: weighted squared feature errors over the distillation points.

    Args:
        student: features at the K points, each (N, ...).
        teacher: the same shapes.
        weights: one weight per point, shape (K,). Ones give the published sum of squared errors.

    Returns:
        Distortion per image, shape (N,).

    Raises:
        ValueError: if the numbers of points or the shapes differ.
    """
    if not len(student) == len(teacher) == len(weights):
        raise ValueError(
            f"{len(student)} student features, {len(teacher)} teacher features and {len(weights)} "
            "weights do not belong together"
        )
    errors = [squared_error(s, t) for s, t in zip(student, teacher, strict=True)]
    return (torch.stack(errors, 1) * weights).sum(1)


def knowledge_distillation(
    logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float = 1.0
) -> Tensor:
    """0.5 cross-entropy with the labels + 0.5 KL divergence from the teacher.

    Args:
        logits: shape (N, classes).
        teacher_logits: the same shape.
        labels: class indices, shape (N,).
        temperature: both distributions are softened by it; the divergence is multiplied by its
            square, which keeps the size of its gradient.

    Returns:
        Loss per image in nats, shape (N,).
    """
    cross_entropy = F.cross_entropy(logits, labels, reduction="none")
    divergence = F.kl_div(
        F.log_softmax(logits / temperature, 1),
        F.log_softmax(teacher_logits / temperature, 1),
        reduction="none",
        log_target=True,
    ).sum(1)
    return 0.5 * cross_entropy + 0.5 * temperature**2 * divergence
