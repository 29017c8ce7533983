"""An attack that sees nothing of the network but how long its streams are."""

from __future__ import annotations

import torch
from torch import Tensor

from entres.attacks.base import Attack, AttackResult
from entres.attacks.health import late_gain
from entres.attacks.noise import SignNoise
from entres.attacks.norms import Linf, Norm
from entres.attacks.victim import Victim, sized
from entres.models.randomness import Randomness, uniform

PUBLISHED_QUERIES = 10_000
"""The budget that the published schedule is written for; it is stretched to any other."""
HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""Published queries after which the area of a square is halved."""


QUERIES = 1000
"""What an attack called ``square`` takes."""


class Square(Attack):
    """Square attack on the size of the stream, by its length in bytes alone [Andriushchenko2020].

    ::

        query 1:    stripes one pixel wide, every channel of each up or down by epsilon
        query q:    a square somewhere, every channel of it up or down by epsilon
                    the stream is longer ──► kept       it is not ──► taken back

    Who listens on the link needs no more than this: no gradient, no logits, no likelihoods. Every
    query costs one image through the head; nothing is coded, since the exact size of a stream
    follows from its symbols. Squares become smaller as the queries go by.

    It shows how far an attacker comes who knows nothing, and it is a check: it must not beat an
    attack that sees the gradient.

    Health, per image, all in bytes: ``objective_clean``, ``objective_end``, ``objective_noise``
    and, after half of the queries and after the last, ``objective_middle`` and
    ``objective_last``; ``late_gain`` is what the last quarter of the queries still gained.
    The curve is the longest stream after every query.

    [Andriushchenko2020] Andriushchenko, Croce, Flammarion, Hein: Square attack: a query-efficient
    black-box adversarial attack via random search, ECCV.

    Args:
        epsilon_255: radius of the ball in units of 1/255.
        queries: streams of each image whose length it learns, >= 1; that of the clean image, which
            it has to know, is not counted. Where they are not :data:`QUERIES`, the results call it
            ``square_100_queries``, say.
        norm: l_inf, the only ball that it is written for.
        first_area: share of the image that the first squares cover, in (0, 1].

    Raises:
        ValueError: if a value is out of range.
    """

    condition = "square"

    def __init__(
        self,
        epsilon_255: float = 8.0,
        queries: int = QUERIES,
        norm: Norm | None = None,
        first_area: float = 0.8,
    ) -> None:
        super().__init__(epsilon_255, norm)
        if not isinstance(self.norm, Linf):
            raise ValueError(
                f"{type(self).__name__} is for the norm linf only, got {self.norm.name}"
            )
        if queries < 1:
            raise ValueError(f"queries must be >= 1, got {queries}")
        if not 0 < first_area <= 1:
            raise ValueError(f"first_area is a share in (0, 1], got {first_area}")
        self.queries = queries
        if queries != QUERIES:
            self.condition = f"{self.condition}_{queries}_queries"
        self.first_area = first_area

    def perturb(
        self,
        victim: Victim,
        images: Tensor,
        labels: Tensor | None,
        generator: Randomness,
        health: bool,
    ) -> AttackResult:
        heard = sized(victim, type(self).__name__)
        worst, most = images, heard.stream_bytes(images)
        curve = [most]
        for query in range(self.queries):
            if query == 0:
                tried = self._stripes(images, generator)
            else:
                tried = self._with_square(worst, images, query, generator)
            size = heard.stream_bytes(tried)
            longer = size > most
            worst = torch.where(longer[:, None, None, None], tried, worst)
            most = torch.where(longer, size, most)
            curve.append(most)
        if not health:
            return AttackResult(worst)
        noise = SignNoise(self.epsilon_255).perturb(victim, images, None, generator, False).images
        sizes = torch.stack(curve, 1).float()
        return AttackResult(
            worst,
            {
                "objective_clean": sizes[:, 0],
                "objective_end": sizes[:, -1],
                "objective_noise": heard.stream_bytes(noise).float(),
                "objective_middle": sizes[:, self.queries // 2],
                "objective_last": sizes[:, -1],
                "late_gain": late_gain(sizes),
            },
            sizes,
        )

    def side(self, query: int, height: int, width: int) -> int:
        """Side, in px, of the squares that query number ``query``, from 1, tries."""
        published = query * PUBLISHED_QUERIES / self.queries
        area = self.first_area * 0.5 ** sum(published > halving for halving in HALVINGS)
        side: int = round((area * height * width) ** 0.5)
        return min(max(side, 1), height, width)

    def _stripes(self, images: Tensor, generator: Randomness) -> Tensor:
        signs = _signs(uniform(images[:, :, :1, :].contiguous(), generator))
        return self.project(images + self.epsilon * signs, images)

    def _with_square(
        self, worst: Tensor, images: Tensor, query: int, generator: Randomness
    ) -> Tensor:
        """The worst images so far with one more square; each image has its own place and signs."""
        height, width = images.shape[-2:]
        side = self.side(query, height, width)
        draws = uniform(images.new_empty(len(images), 5), generator)
        top = (draws[:, 0] * (height - side + 1)).floor()
        left = (draws[:, 1] * (width - side + 1)).floor()
        rows = torch.arange(height, device=images.device) - top[:, None]
        columns = torch.arange(width, device=images.device) - left[:, None]
        inside = ((rows >= 0) & (rows < side))[:, None, :, None]
        inside = inside & ((columns >= 0) & (columns < side))[:, None, None, :]
        moved = self.project(images + self.epsilon * _signs(draws[:, 2:])[..., None, None], images)
        return torch.where(inside, moved, worst)


def _signs(draws: Tensor) -> Tensor:
    """Numbers in [0, 1) as -1 or 1."""
    return (draws < 0.5).to(draws.dtype) * 2 - 1
