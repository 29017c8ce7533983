"""A cap on the rate: no stream is larger than a budget, whatever the image."""

from __future__ import annotations

from torch import Tensor

from entres.bitstream import KIB
from entres.defenses.base import Defense
from entres.defenses.chambolle import MaskedChambolle
from entres.defenses.selective import Selective
from entres.models import Codec, CodingPlan, EntropicStudent
from entres.models.budget import within_budget


class Budget(Selective):
    """Denoises an image whose stream is too large, and then replaces symbols until it fits.

    ::

        image ──► stream too large? ──► denoise ──► still too large? ──► likelier symbols ──► stream
                        └── no: as it is              └── no: as it is

    That holds for any image, an attacker's too: all that is left to gain is accuracy. An attack
    through it sees what is sent; the choice of the replaced symbols, which has no gradient, passes
    one as if nothing had been replaced.

    Args:
        strength: the budget in KiB of a whole stream, header included.
        defense: denoises what is too large; :class:`MaskedChambolle` if None.

    Raises:
        ValueError: if the budget is out of range.
    """

    name = "budget"
    limits_symbols = True

    def __init__(self, strength: float = 4.0, defense: Defense | None = None) -> None:
        self.defense = defense or MaskedChambolle()
        super().__init__(strength)
        self.differentiable = self.defense.differentiable

    @property
    def bytes(self) -> int:
        """The budget."""
        return int(self.strength * KIB)

    def too_large(self, student: EntropicStudent, images: Tensor) -> Tensor:
        plan = student.codec.plan(student.normalize(images))
        sizes = student.codec.stream_sizes(plan).stream
        return (sizes > self.bytes).to(images.device)

    def limit(self, codec: Codec, plan: CodingPlan) -> CodingPlan:
        return within_budget(codec, plan, self.bytes)
