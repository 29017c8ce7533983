"""Attacks that know how the defense works (section 5.4)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from entres.attacks.objectives import MaskedRate, Rate
from entres.attacks.pgd import PGD
from entres.functional import low_pass


class LowFrequencyPGD(PGD):
    """PGD-E along the low spatial frequencies of the gradient (after Guo et al. 2018).

    The gradient goes through a low-pass of its DCT-II before its direction is taken. Under l_inf
    the sign then brings other frequencies back; under l_2 the perturbation stays low but for the
    clamp to [0, 1].

    Args:
        ratio: share of the frequencies that is kept along each axis, in (0, 1].
        args, kwargs: see :class:`PGD`.
    """

    condition = "low_frequency"
    default_objective = Rate

    def __init__(self, *args: Any, ratio: float = 0.1, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not 0 < ratio <= 1:
            raise ValueError(f"ratio is a share in (0, 1], got {ratio}")
        self.ratio = ratio

    def transform(self, gradient: Tensor) -> Tensor:
        return low_pass(gradient, self.ratio) if self.preset.filter_frequencies else gradient


class RegionalPGD(PGD):
    """PGD on the bits where they already are many: the object, which the defense spares.

    Args:
        recompute: see :class:`MaskedRate`.
        args, kwargs: see :class:`PGD`.
    """

    condition = "regional"

    def __init__(self, *args: Any, recompute: bool = False, **kwargs: Any) -> None:
        kwargs["objective"] = kwargs.get("objective") or MaskedRate(recompute)
        super().__init__(*args, **kwargs)
