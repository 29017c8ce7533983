"""The balls in which a perturbation has to stay."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from entres.models.randomness import Randomness, uniform


class Norm(ABC):
    """A ball round the images, and the steepest step inside it.

    ``epsilon`` is in units of pixel values in [0, 1], whatever the norm.
    """

    name: str

    @abstractmethod
    def direction(self, gradient: Tensor) -> Tensor:
        """The step of size 1 along which a linear objective rises most; zero where it is zero."""

    @abstractmethod
    def project(self, delta: Tensor, epsilon: float) -> Tensor:
        """The nearest perturbation inside the ball."""

    @abstractmethod
    def random(self, images: Tensor, epsilon: float, generator: Randomness) -> Tensor:
        """A random perturbation inside the ball."""


class Linf(Norm):
    """No pixel of any channel moves by more than epsilon (the paper's)."""

    name = "linf"

    def direction(self, gradient: Tensor) -> Tensor:
        return gradient.sign()

    def project(self, delta: Tensor, epsilon: float) -> Tensor:
        return delta.clamp(-epsilon, epsilon)

    def random(self, images: Tensor, epsilon: float, generator: Randomness) -> Tensor:
        return (2 * uniform(images, generator) - 1) * epsilon


class L2(Norm):
    """The root mean square over the pixels of an image is epsilon at most.

    That is an l_2 ball of radius epsilon * sqrt(3 H W): at equal epsilon it contains the l_inf
    ball, and one epsilon means the same for images of any size.
    """

    name = "l2"

    def direction(self, gradient: Tensor) -> Tensor:
        rms = _rms(gradient)
        return torch.where(rms > 0, gradient / rms.clamp(min=torch.finfo(rms.dtype).tiny), 0.0)

    def project(self, delta: Tensor, epsilon: float) -> Tensor:
        return delta * (epsilon / _rms(delta).clamp(min=epsilon))

    def random(self, images: Tensor, epsilon: float, generator: Randomness) -> Tensor:
        # A cube that reaches well beyond the ball: nearly every draw is projected onto the sphere.
        return self.project((2 * uniform(images, generator) - 1) * 2 * epsilon, epsilon)


def _rms(x: Tensor) -> Tensor:
    return x.square().mean((1, 2, 3), keepdim=True).sqrt()
