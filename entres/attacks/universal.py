"""One perturbation for all images, learned once: nothing is computed when it is put on."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from entres.attacks.base import Attack, AttackResult
from entres.attacks.norms import Linf, Norm
from entres.attacks.objectives import Objective
from entres.attacks.presets import STRAIGHT_THROUGH, Relaxation
from entres.attacks.several import objective_against
from entres.attacks.steps import CosineStep
from entres.attacks.victim import Victim
from entres.models.checkpoints import write_state
from entres.models.randomness import Randomness

NAME = "perturbation"
"""Of the tensor in a file."""


class Perturbation(NamedTuple):
    """One perturbation, and how it came about.

    Attributes:
        values: what is added to images in [0, 1], shape (3, H, W).
        epsilon_255: radius of the ball that it was learned in, in units of 1/255.
        made: what it was learned from, as plain values: its ``aim``, the digits of its ``student``.
    """

    values: Tensor
    epsilon_255: float
    made: Mapping[str, Any]

    @property
    def name(self) -> str:
        """What it aims at, where it was learned, and for whom: ``size_8_1f6e02``.

        Of one that does not say whom, six digits of its own values stand there instead.
        """
        values = self.values.contiguous().cpu().numpy().tobytes()
        whose = self.made.get("student") or blake2b(values, digest_size=3).hexdigest()
        return "_".join(filter(None, (self.made.get("aim"), f"{self.epsilon_255:g}", whose)))

    def write(self, path: str | Path) -> None:
        """Write a safetensors file; a reader never sees half of one."""
        notes = {"epsilon_255": self.epsilon_255, **self.made}
        write_state(path, {NAME: self.values}, {NAME: json.dumps(notes)})

    @classmethod
    def read(cls, path: str | Path) -> Perturbation:
        """A file that :meth:`write` wrote.

        Raises:
            ValueError: if it is none.
        """
        try:
            with safe_open(str(path), "pt") as file:
                made = json.loads((file.metadata() or {})[NAME])
                values = file.get_tensor(NAME)
            epsilon_255 = float(made.pop("epsilon_255"))
            if not (epsilon_255 > 0 and math.isfinite(epsilon_255)):
                raise ValueError(f"learned at {epsilon_255:g}/255")
        except (OSError, SafetensorError, KeyError, ValueError, AttributeError, TypeError) as error:
            raise ValueError(
                f"{path} holds no universal perturbation ({error}): entres learn-universal makes "
                "such files"
            ) from error
        if values.ndim != 3 or len(values) != 3 or not values.isfinite().all():
            raise ValueError(f"{path} holds no perturbation of finite values and three channels")
        return cls(values.float(), epsilon_255, made)


class Universal(Attack):
    """The same perturbation on every image: what a patch of foil on a lens could do.

    The results call it after what it aims at, the epsilon that it was learned at and the student
    that it was learned for (:attr:`Perturbation.name`), such as ``universal_size_8_1f6e02``.

    It is learned once on training images (``entres learn-universal``), and is then added to images
    that it has never seen, of the size that it was learned for. At another epsilon than the one it
    was learned at it is scaled.

    Args:
        epsilon_255: radius of the ball in units of 1/255.
        norm: the ball; l_inf if None.
        file: of the perturbation.

    Raises:
        ValueError: if a value is out of range, or the file holds no perturbation.
    """

    condition = "universal"

    def __init__(self, file: str, epsilon_255: float = 8.0, norm: Norm | None = None) -> None:
        super().__init__(epsilon_255, norm)
        self.file = file
        self.learned = Perturbation.read(file)
        self.condition = f"universal_{self.learned.name}"

    def perturb(
        self,
        victim: Victim,
        images: Tensor,
        labels: Tensor | None,
        generator: Randomness,
        health: bool,
    ) -> AttackResult:
        values = self.learned.values
        if values.shape[1:] != images.shape[2:]:
            height, width = values.shape[1:]
            raise ValueError(
                f"{self.file} is for images of {height} x {width} px, got "
                f"{images.shape[2]} x {images.shape[3]}: learn one for this size"
            )
        scaled = values.to(images.device) * (self.epsilon_255 / self.learned.epsilon_255)
        return AttackResult(self.project(images + scaled, images))


class UniversalLearner:
    """Learns one perturbation from batches of images: stochastic ascent inside the ball.

    ::

        objective of images + perturbation ──► gradient, mean over the batch ──► direction ──► step

    Steps shrink along half a cosine, from a quarter of epsilon to nothing.

    Args:
        victim: whom the perturbation is for.
        objective: what is to rise on average; of the rate or of the accuracy.
        size: height and width of the images, in px.
        steps: how many batches are to come in all, >= 1.
        epsilon_255: radius of the ball in units of 1/255.
        norm: the ball; l_inf if None.
        start: perturbation to go on from; none if None.
        done: steps that made it.

    Raises:
        ValueError: if a value is out of range, or the objective asks for clean images.
    """

    def __init__(
        self,
        victim: Victim,
        objective: Objective,
        size: tuple[int, int],
        steps: int,
        epsilon_255: float = 8.0,
        norm: Norm | None = None,
        start: Tensor | None = None,
        done: int = 0,
    ) -> None:
        if objective.needs_reference:
            raise ValueError(f"{type(objective).__name__} compares with clean images: take another")
        if not 0 < epsilon_255 <= 255:
            raise ValueError(f"epsilon_255 is a radius in units of 1/255, got {epsilon_255}")
        if steps < 1 or not 0 <= done <= steps:
            raise ValueError(f"steps must be >= 1 and hold those done, got {steps} and {done}")
        self.victim, self.objective = victim, objective
        self.epsilon, self.norm = epsilon_255 / 255, norm or Linf()
        self.values = torch.zeros(3, *size) if start is None else start.clone()
        self.steps, self.done = steps, done
        self.relaxation = STRAIGHT_THROUGH if objective.of_accuracy else Relaxation()

    def step(self, images: Tensor, labels: Tensor, generator: Randomness = None) -> float:
        """Learn from one batch.

        Args:
            images: in [0, 1], shape (N, 3, H, W) of the size.
            labels: shape (N,).
            generator: source of the noise of the relaxation.

        Returns:
            The objective's mean over the batch before the step.

        Raises:
            ValueError: if the images are of another size.
        """
        if images.shape[2:] != self.values.shape[1:]:
            raise ValueError(
                f"images must all be of {tuple(self.values.shape[1:])} px, got "
                f"{tuple(images.shape[2:])}"
            )
        self.values = self.values.to(images.device)
        x = (images + self.values).clamp(0, 1).detach().requires_grad_()
        with torch.enable_grad():
            y = self.victim.analyse(x)
            response = self.victim.respond(y, self.relaxation.quantization, generator)
            objective = objective_against(self.objective, self.victim, images)
            value = objective(response, labels, None)
            (gradient,) = torch.autograd.grad(value.sum(), x)
        direction = self.norm.direction(gradient.mean(0, keepdim=True))[0]
        size = CosineStep(peak=0.25)(self.done, self.steps, self.epsilon)
        moved = (self.values + size * direction)[None]
        self.values = self.norm.project(moved, self.epsilon)[0]
        self.done += 1
        return value.detach().mean().item()
