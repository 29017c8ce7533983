"""The template of all attacks."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from entres.attacks.norms import Linf, Norm
from entres.attacks.presets import Preset
from entres.attacks.victim import Victim
from entres.images import Images, checked_images
from entres.models.randomness import Randomness


@dataclass
class AttackResult:
    """Attacked images, and how the attack fared.

    Attributes:
        images: inside the ball and in [0, 1], shape, type and device of what was given; of what
            was no tensor of floating point, float32.
        health: values per image, each (N,), by name; see :class:`entres.attacks.PGD`.
        curve: the objective after every step, shape (N, steps + 1): of the image as it then was, or
            of the worst so far where that is kept. None where no health was asked for, or the
            attack takes no steps.
    """

    images: Tensor
    health: dict[str, Tensor] = field(default_factory=dict)
    curve: Tensor | None = None


class Attack(ABC):
    """Perturbs images inside a ball.

    The global random state, the modes and the gradients of the victim stay as they are.

    Attributes:
        condition: what the results call it.
        preset: how it takes its gradient; None for an attack that takes none.
        asked_steps: gradient steps; None for the preset's.
        begin: images to start from, for one batch; None: the attack's own start.

    Args:
        epsilon_255: radius of the ball in units of 1/255, > 0.
        norm: the ball; l_inf if None.

    Raises:
        ValueError: if epsilon is out of range.
    """

    condition: str
    preset: Preset | None = None
    asked_steps: int | None = None
    begin: Tensor | None = None

    def __init__(self, epsilon_255: float = 8.0, norm: Norm | None = None) -> None:
        self.epsilon_255 = epsilon_255
        self.norm = norm or Linf()
        self._check_epsilon()

    def _check_epsilon(self) -> None:
        if not (0 < self.epsilon_255 <= 255 and math.isfinite(self.epsilon_255)):
            raise ValueError(
                "epsilon_255 is a radius in units of 1/255, in (0, 255], got "
                f"{self.epsilon_255} (4 means 4/255)"
            )

    @property
    def epsilon(self) -> float:
        """The radius in units of pixel values in [0, 1]."""
        return self.epsilon_255 / 255

    def at(self, epsilon_255: float) -> Attack:
        """The same attack with another radius."""
        other = copy.copy(self)
        other.epsilon_255 = epsilon_255
        other._check_epsilon()
        return other

    def with_preset(self, preset: Preset) -> Attack:
        """The same attack with another preset; itself, if it takes no gradient.

        Raises:
            ValueError: if the preset is not for the attack's norm.
        """
        if self.preset is None:
            return self
        preset.check_norm(self.norm)
        other = copy.copy(self)
        other.preset = preset
        return other

    def starting_at(self, images: Tensor) -> Attack:
        """The same attack, for one batch, from images where another attack on it has ended.

        Itself, if it takes no gradient. With the preset's ``keep`` at ``worst`` it never ends below
        them.

        Args:
            images: in the ball round those that will be attacked; what is not is projected.
        """
        if self.preset is None:
            return self
        other = copy.copy(self)
        other.begin = images
        return other

    def __call__(
        self,
        victim: Victim,
        images: Images,
        labels: Tensor | None = None,
        generator: Randomness = None,
    ) -> Tensor:
        """Attacked images; see :meth:`run`."""
        return self.run(victim, images, labels, generator).images

    def run(
        self,
        victim: Victim,
        images: Images,
        labels: Tensor | None = None,
        generator: Randomness = None,
        health: bool = False,
    ) -> AttackResult:
        """Attack a batch.

        Args:
            victim: what is attacked.
            images: in [0, 1] or of 8 bits, see :func:`entres.images.checked_images`; N may be 0.
            labels: true classes, shape (N,), for attacks on accuracy.
            generator: source of all noise: one for the batch, or :class:`entres.models.
                NoisePerImage`, which makes the result independent of the batch that an image
                stands in. None: one for the batch, seeded with 0.
            health: whether to measure how the attack fared, which costs a few forward passes.

        Raises:
            ValueError: if the images are no such batch, or labels are missing.
        """
        images = checked_images(images)
        if not len(images):
            return AttackResult(images.clone())
        if generator is None:
            generator = torch.Generator(images.device).manual_seed(0)
        # inference_mode, if it is on, would leave nothing to differentiate.
        with torch.inference_mode(False), torch.enable_grad():
            # Copies, since tensors made under inference_mode cannot take part in a gradient.
            clean = images.detach().clone().float()
            truth = None if labels is None else labels.clone()
            result = self.perturb(victim, clean, truth, generator, health)
        return replace(result, images=self._as_given(result.images, images))

    def _as_given(self, attacked: Tensor, images: Tensor) -> Tensor:
        """In the type of what was given; rounding to it may not lead out of the ball."""
        cast = attacked.to(images.dtype) + 0.0  # no negative zeros
        if images.dtype in (torch.float32, torch.float64):
            return cast
        away = (cast.float() - images.float()).abs() > (attacked - images.float()).abs()
        # One step of that type towards the clean value, found in the steps' own integers: these
        # are in the order of the values, which lie in [0, 1].
        step = (cast < images).to(torch.int16) - (cast > images).to(torch.int16)
        nearer = (cast.view(torch.int16) + step).view(images.dtype)
        return torch.where(away, nearer, cast)

    @abstractmethod
    def perturb(
        self,
        victim: Victim,
        images: Tensor,
        labels: Tensor | None,
        generator: Randomness,
        health: bool,
    ) -> AttackResult:
        """What an attack does; gradients are on, images are float32 and checked."""

    def project(self, attacked: Tensor, images: Tensor) -> Tensor:
        """Images inside the ball and in [0, 1]: the nearest under l_inf.

        The ball first; clamping to [0, 1] then moves towards the clean images, which lie there, and
        so not out of the ball. Under l_2 what is clamped away is lost to the budget.
        """
        return (images + self.norm.project(attacked - images, self.epsilon)).clamp(0, 1)
