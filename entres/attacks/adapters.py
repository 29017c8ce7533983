"""A student as libraries of attacks want a network: a plain module from images to logits."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from entres.attacks.victim import constant_parameters, evaluating
from entres.models import EntropicStudent


class LogitsModule(nn.Module):
    """Images in [0, 1] to logits, with a gradient, for foolbox, torchattacks and their like.

    ::

        torchattacks.PGD(LogitsModule(student), eps=4 / 255)
        foolbox.PyTorchModel(LogitsModule(student), bounds=(0, 1))

    The student normalizes for itself: give no preprocessing beside it. Its gradient is that of an
    attack here on the accuracy (straight through the rounding, see :mod:`entres.attacks.presets`),
    its logits are those of what travels. The size of the stream is no logit: for attacks on the
    rate there is :class:`entres.attacks.PGDE`.

    It always evaluates, whatever is asked of it with train() or eval(); the modes of the student
    stay as they are, and its parameters get no gradient.

    Args:
        student: a student, or a :class:`entres.defenses.DefendedStudent`, whose gradient is what
            its ``through`` says.
        quantization: what stands for the rounding. Under ``noise`` logits are random, which some
            attacks of other libraries do not expect.
    """

    def __init__(
        self,
        student: EntropicStudent,
        quantization: Literal["straight_through", "noise"] = "straight_through",
    ) -> None:
        super().__init__()
        if quantization not in ("straight_through", "noise"):
            raise ValueError(
                "quantization must be straight_through or noise, which have a gradient, got "
                f"{quantization!r}"
            )
        self.student = student
        self.quantization = quantization
        self.training = False

    def train(self, mode: bool = True) -> LogitsModule:
        """Changes nothing: see the class."""
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Logits of images.

        Args:
            images: floating point in [0, 1], shape (N, 3, H, W), sides of 32 px or more; their
                values are not looked at.

        Returns:
            Shape (N, classes).

        Raises:
            ValueError: if the images are no such batch, or a gradient is wanted and the defense in
                front of the student has none.
        """
        with evaluating(self.student), constant_parameters(self.student):
            logits: Tensor = self.student(images, self.quantization).logits
        return logits
