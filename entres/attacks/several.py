"""Several students at once: for an attacker who does not know which of them is on the phone.

::

                   ┌─► student 1 ─► bits, logits ─► objective / that of the clean image ─┐
    perturbed image┤                                                                     ├─► mean
                   └─► student 2 ─► bits, logits ─► objective / that of the clean image ─┘
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from entres.attacks.objectives import Objective
from entres.attacks.victim import Response, StudentVictim, Victim
from entres.models import EntropicStudent, Quantization
from entres.models.quantization import MixedQuantization
from entres.models.randomness import Randomness


class SeveralResponses(Response):
    """What several students make of the same images.

    Its likelihoods are those of all of them; logits in common they have none.

    Args:
        parts: one of each student.
    """

    def __init__(self, parts: Sequence[Response]) -> None:
        super().__init__(
            {
                f"{name} of student {number}": likelihoods
                for number, part in enumerate(parts)
                for name, likelihoods in part.likelihoods.items()
            },
            self._no_logits,
            {name for part in parts for name in part.rounded},
        )
        self._parts = tuple(parts)

    @property
    def parts(self) -> tuple[Response, ...]:
        return self._parts

    def of(self, images: Tensor) -> SeveralResponses:
        return SeveralResponses([part.of(images) for part in self._parts])

    def only(self, names: tuple[str, ...] | None) -> SeveralResponses:
        """Of each student what travels under these names; all for None."""
        return SeveralResponses([part.only(names) for part in self._parts])

    @staticmethod
    def _no_logits() -> Tensor:
        raise ValueError("several students have no logits in common: ask each of the parts")


class StudentVictims:
    """Several entropic students as one victim; :class:`OverStudents` is what an attack ascends.

    Args:
        students: at least one. Their analysis transforms must give latents of the same height and
            width, as all of this package do.

    Raises:
        ValueError: if there is none.
    """

    def __init__(self, students: Sequence[EntropicStudent]) -> None:
        if not students:
            raise ValueError("give at least one student to attack")
        self.victims = [StudentVictim(student) for student in students]
        self._channels = [student.codec.latent_channels for student in students]

    def analyse(self, images: Tensor) -> Tensor:
        """Their latents, one after the other along the channels."""
        return torch.cat([victim.analyse(images) for victim in self.victims], 1)

    def respond(
        self,
        latents: Tensor,
        quantization: Quantization | MixedQuantization,
        generator: Randomness = None,
    ) -> SeveralResponses:
        own = torch.split(latents, self._channels, 1)
        return SeveralResponses(
            [
                victim.respond(y, quantization, generator)
                for victim, y in zip(self.victims, own, strict=True)
            ]
        )


class OverStudents(Objective):
    """The mean of an objective over several students.

    What counts bits is taken relative to its value on the clean image, student by student: one that
    sends much would outweigh the others. That value is computed once for each choice of latents,
    so labels, where it asks for them, stay the same. An image is lost when every student has lost
    it.

    Args:
        objective: of each student.
        clean: responses to the clean images on the ``round`` path.
    """

    def __init__(self, objective: Objective, clean: Response) -> None:
        if objective.in_bits and objective.can_be_reached:
            raise ValueError(
                f"{type(objective).__name__} counts bits and can be reached: over several students "
                "that is not told image by image"
            )
        self.objective = objective
        self.clean = clean
        self._clean_values: dict[tuple[int, tuple[str, ...]], Tensor] = {}
        self.needs_labels = objective.needs_labels
        self.needs_reference = objective.needs_reference
        self.recompute = objective.recompute
        self.of_accuracy = objective.of_accuracy
        self.can_be_reached = objective.can_be_reached

    def __call__(
        self, response: Response, labels: Tensor | None, reference: Response | None
    ) -> Tensor:
        count = len(response.parts)
        references = [None] * count if reference is None else reference.parts
        values = []
        for number, (part, of_part) in enumerate(zip(response.parts, references, strict=True)):
            value = self.objective(part, labels, of_part)
            if self.objective.in_bits:
                value = value / self._clean_value(number, tuple(part.likelihoods), labels)
            values.append(value)
        return torch.stack(values).mean(0)

    def _clean_value(self, number: int, names: tuple[str, ...], labels: Tensor | None) -> Tensor:
        """That of a student on the clean images, of the same latents: a preset may count only some.

        At least 1; shape (N,).
        """
        if (number, names) not in self._clean_values:
            clean = self.clean.parts[number]
            with torch.no_grad():
                value = self.objective(clean.only(names), labels, clean)
            self._clean_values[number, names] = value.clamp(min=1)
        return self._clean_values[number, names]

    def reached(self, response: Response, labels: Tensor | None) -> Tensor:
        return torch.stack([self.objective.reached(part, labels) for part in response.parts]).all(0)


def victim_of(students: Sequence[EntropicStudent]) -> Victim:
    """One student as a victim, or several as one.

    Raises:
        ValueError: if there is none.
    """
    return StudentVictim(students[0]) if len(students) == 1 else StudentVictims(students)


def objective_against(objective: Objective, victim: Victim, images: Tensor) -> Objective:
    """An objective as it is of one victim, and its mean over the students of several.

    Args:
        objective: of one.
        victim: what is attacked.
        images: the clean ones, shape (N, 3, H, W).
    """
    if not isinstance(victim, StudentVictims):
        return objective
    with torch.no_grad():
        return OverStudents(objective, victim.respond(victim.analyse(images), "round"))
