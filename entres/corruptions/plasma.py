"""Plasma fractals: random heights that are rough at every scale."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from entres.corruptions.base import draw


def plasma(
    side: int, decay: float, generators: Sequence[torch.Generator], device: torch.device
) -> Tensor:
    """Diamond-square heights of periodic maps.

    From one scale to the next half as large, each new point is the mean of the four round it plus
    noise; the noise shrinks by the square of ``decay``, as in the code that made ImageNet-C.

    Args:
        side: the map's side is the next power of two from here on.
        decay: >= 1; the larger, the smoother.
        generators: one per map.
        device: where the maps are made.

    Returns:
        Heights from 0 to 1, which both occur, shape (N, S, S).
    """
    size = 1 << (side - 1).bit_length()
    noise = draw((size * size - 1,), generators, device, "uniform_", **{"from": -1, "to": 1})
    heights = torch.zeros(len(generators), size, size, device=device)
    step, amplitude, used = size, 1.0, 0
    while step > 1:
        half, points = step // 2, size // step
        level = noise[:, used : used + 3 * points**2].view(-1, 3, points, points) * amplitude
        corners = heights[:, ::step, ::step]
        below, right = corners.roll(-1, 1), corners.roll(-1, 2)
        centres = (corners + right + below + below.roll(-1, 2)) / 4 + level[:, 0]
        heights[:, half::step, half::step] = centres
        tops = (corners + right + centres + centres.roll(1, 1)) / 4 + level[:, 1]
        heights[:, ::step, half::step] = tops
        lefts = (corners + below + centres + centres.roll(1, 2)) / 4 + level[:, 2]
        heights[:, half::step, ::step] = lefts
        used += 3 * points**2
        step, amplitude = half, amplitude / decay**2
    heights -= heights.amin((1, 2), keepdim=True)
    return heights.div_(heights.amax((1, 2), keepdim=True))
