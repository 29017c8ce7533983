"""What an attack sees of a network: a deterministic part, and a random one behind it.

::

    images ──► analyse ──► y ──► respond (noise or rounding, S times) ──► likelihoods, logits

The analysis transform is nearly all of the cost of a rate and has nothing random in it, so an
expectation over transformation runs it once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from entres.functional import bits_from_likelihoods
from entres.models import EntropicStudent, Quantization
from entres.models.arithmetic import full_precision
from entres.models.quantization import MixedQuantization
from entres.models.randomness import Randomness


class Response:
    """What a victim makes of its latents.

    Attributes:
        likelihoods: probabilities of everything that travels, by name, each (N, channels, h, w);
            empty for a plain classifier.
        rounded: names of the latents that were rounded, which no gradient passes.
    """

    def __init__(
        self,
        likelihoods: Mapping[str, Tensor],
        classify: Callable[[], Tensor],
        rounded: Iterable[str] = (),
    ) -> None:
        self.likelihoods = dict(likelihoods)
        self.rounded = frozenset(rounded)
        self._classify = classify

    @cached_property
    def logits(self) -> Tensor:
        """Shape (N, classes); computed when it is asked for, since a rate needs no tail."""
        return self._classify()

    @property
    def bits(self) -> Tensor:
        """Estimated bits per image, shape (N,)."""
        return bits_from_likelihoods(self.likelihoods.values())

    @property
    def parts(self) -> tuple[Response, ...]:
        """That of each network, where several are attacked at once; itself."""
        return (self,)

    def of(self, images: Tensor) -> Response:
        """That to some of the images, by their places, int64 of shape (M,)."""
        some = {name: p[images] for name, p in self.likelihoods.items()}
        return Response(some, lambda: self.logits[images], self.rounded)

    def only(self, names: tuple[str, ...] | None) -> Response:
        """The same, but of what travels only the latents of these names; all for None."""
        if names is None:
            return self
        kept = {name: p for name, p in self.likelihoods.items() if name in names}
        return Response(kept, lambda: self.logits, self.rounded)


class Victim(Protocol):
    """What an attack needs of a network. Images are in [0, 1], not normalized."""

    def analyse(self, images: Tensor) -> Tensor:
        """The deterministic part: images (N, 3, H, W) to latents (N, ...), differentiable."""

    def respond(
        self,
        latents: Tensor,
        quantization: Quantization | MixedQuantization,
        generator: Randomness = None,
    ) -> Response:
        """The rest, differentiable where the quantization is."""


@runtime_checkable
class SizedVictim(Victim, Protocol):
    """A victim whose streams have a length: all that a black-box attack on the size sees."""

    def stream_bytes(self, images: Tensor) -> Tensor:
        """Exact length in bytes of the stream of each image, int64, shape (N,); no gradient."""


def sized(victim: Victim, attack: str) -> SizedVictim:
    """The victim, for an attack that learns the length of streams.

    Raises:
        ValueError: if it makes none.
    """
    if not isinstance(victim, SizedVictim):
        raise ValueError(
            f"{attack} listens to the length of streams, which {type(victim).__name__} does not "
            "make: attack one entropic student"
        )
    return victim


class StudentVictim:
    """An entropic student as a victim.

    Args:
        student: its parameters get no gradient from an attack, and its modules keep their mode.
    """

    def __init__(self, student: EntropicStudent) -> None:
        self.student = student

    def analyse(self, images: Tensor) -> Tensor:
        codec = self.student.codec
        with constant_parameters(codec):
            return codec.analyse(self.student.normalize(images))

    def respond(
        self,
        latents: Tensor,
        quantization: Quantization | MixedQuantization,
        generator: Randomness = None,
    ) -> Response:
        codec, tail = self.student.codec, self.student.tail
        with constant_parameters(codec):
            y_hat, likelihoods = codec.latents(
                latents, quantization, generator, batched=True, limit=self.student.limit
            )

        def classify() -> Tensor:
            with evaluating(tail), constant_parameters(codec), constant_parameters(tail):
                logits: Tensor = tail(codec.synthesise(y_hat)).logits
            return logits

        ways = codec.ways(quantization)
        return Response(likelihoods, classify, [n for n, way in ways.items() if way == "round"])

    @torch.no_grad()
    def stream_bytes(self, images: Tensor) -> Tensor:
        """Exact length in bytes of the stream of each image, int64, shape (N,); no gradient.

        Raises:
            StaleTablesError: while the student is trained.
        """
        codec = self.student.codec
        with full_precision(images):
            plan = self.student.plan(self.student.normalize(images))
        return codec.stream_sizes(plan).stream.to(images.device)


class ClassifierVictim:
    """A plain classifier as a victim: no latents, no rate, nothing random.

    Args:
        classifier: images in [0, 1] to logits.
    """

    def __init__(self, classifier: Callable[[Tensor], Tensor]) -> None:
        self.classifier = classifier

    def analyse(self, images: Tensor) -> Tensor:
        return images

    def respond(
        self,
        latents: Tensor,
        quantization: Quantization | MixedQuantization,
        generator: Randomness = None,
    ) -> Response:
        return Response({}, lambda: self.classifier(latents))


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode for a while, whatever the mode of each part was.

    A tail that is being trained would take the attack's images into its batch statistics. The flags
    are set themselves: train() and eval() of some modules do more than that.
    """
    modes = {part: part.training for part in module.modules()}
    try:
        for part in modes:
            part.training = False
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode


@contextmanager
def constant_parameters(module: nn.Module) -> Iterator[None]:
    """What is computed meanwhile has no gradient at the parameters.

    Half of the work of an attack would go into it, and libraries that call ``backward()`` would
    leave it in them.
    """
    parameters = [p for p in module.parameters() if p.requires_grad]
    try:
        for parameter in parameters:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
