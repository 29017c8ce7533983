"""A defense in front of a student: itself a student, and a victim for who attacks through it."""

from __future__ import annotations

from functools import partial
from typing import Literal

import torch
from torch import Tensor

from entres.defenses.base import Defense
from entres.images import Images, check_batch, checked_images
from entres.models import EntropicStudent, Quantization
from entres.models.codec import Limit

Through = Literal["unrolled", "unrolled_mask", "bpda"]
"""How an attacker takes the gradient of a defense: ``unrolled`` through its iterations, the mask
held constant; ``unrolled_mask`` through the mask as well; ``bpda`` as if it were the identity
[Athalye2018], though what comes out of it is the true output."""


class DefendedStudent(EntropicStudent):
    """A student whose head defends what it receives; the server's side is the same.

    It shares codec and tail with the student it is made of. Its file is that student's: a defense
    has no weights. As a victim (:class:`entres.attacks.StudentVictim`) it is attacked through the
    defense.

    [Athalye2018] Athalye, Carlini, Wagner: Obfuscated gradients give a false sense of security,
    ICML.

    Args:
        student: what is defended.
        defense: stands in front of it.
        through: what a gradient with respect to the images is, see :data:`Through`.
    """

    def __init__(
        self, student: EntropicStudent, defense: Defense, through: Through = "unrolled"
    ) -> None:
        super().__init__(student.codec, student.tail, (0, 0, 0), (1, 1, 1))
        self.mean, self.std = student.mean, student.std
        self.training = student.training  # train() would also set that of the shared parts
        self.defense = defense
        self.through = through

    @property
    def undefended(self) -> EntropicStudent:
        """The student behind the defense."""
        student = EntropicStudent(self.codec, self.tail, (0, 0, 0), (1, 1, 1))
        student.mean, student.std, student.training = self.mean, self.std, self.training
        return student

    def normalize(self, x: Tensor) -> Tensor:
        """Defended images as the codec wants them: every way into a student begins here."""
        check_batch(x)
        return super().normalize(self._defend(x))

    @property
    def limit(self) -> Limit | None:
        """What :class:`entres.defenses.Budget` does to the symbols, too.

        Whatever ``through`` says, a gradient passes it as if it changed nothing.
        """
        return partial(self.defense.limit, self.codec) if self.defense.limits_symbols else None

    def defend(self, x: Images) -> Tensor:
        """What the head sees of received images; same shape, gradients as ``through`` says.

        Args:
            x: images in [0, 1] or of 8 bits, see :func:`entres.images.checked_images`.

        Raises:
            ValueError: if they are no such images, or a gradient is wanted and the defense has
                none.
        """
        return self._defend(checked_images(x))

    def _defend(self, x: Tensor) -> Tensor:
        """The same for images that are checked: an attack comes here at every step."""
        if self.through == "bpda":
            with torch.no_grad():
                change = self.defense.protect(self.undefended, x).images - x
            return x + change
        if x.requires_grad and torch.is_grad_enabled() and not self.defense.differentiable:
            raise ValueError(f"no gradient passes {self.defense.name}: attack it through bpda")
        mask_quantization: Quantization = (
            "straight_through" if self.through == "unrolled_mask" else "round"
        )
        return self.defense.protect(self.undefended, x, mask_quantization).images
