"""How attacks fare: what every one of them measures in the same way."""

from __future__ import annotations

from torch import Tensor


def late_gain(curve: Tensor, reached: Tensor | None = None) -> Tensor:
    """What the last quarter of an attack's steps still gained, shape (N,).

    Args:
        curve: the objective at the beginning and after every step, shape (N, steps + 1).
        reached: of an objective that can be reached, whether it was by then, the same shape.

    Returns:
        Relative to the objective before it; with ``reached``, 1 for an image that was lost only
        then, else 0.
    """
    late = (curve.shape[1] - 1) * 3 // 4
    if reached is not None:
        return (reached[:, -1] & ~reached[:, late]).float()
    return (curve[:, -1] - curve[:, late]) / curve[:, late].abs().clamp(min=1e-12)
