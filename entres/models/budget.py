"""A cap on the size of a stream that holds for any image, whoever made it."""

from __future__ import annotations

from dataclasses import replace
from numbers import Real

import torch
from torch import Tensor

from entres.bitstream import stream_size
from entres.coding_cost import string_bytes
from entres.errors import EntresError
from entres.models.codec import Codec
from entres.models.entropy_coded import REACH
from entres.models.plans import CodingPlan

_Y = 0
"""Number of y's string; whatever else travels comes after it."""
_ROUNDING = 1 / 32
"""Bits by which the coder's own rounding may differ (:func:`entres.coding_cost.doubtful_bytes`)."""


class BudgetError(EntresError, ValueError):
    """A budget below the smallest stream that an image can have."""


def check_budget(budget: object) -> None:
    """Refuse, before anything is computed, a budget that is neither None nor a number.

    Raises:
        ValueError: if it is anything else.
    """
    if budget is not None and (isinstance(budget, bool) or not isinstance(budget, Real)):
        raise ValueError(f"budget is a number of bytes, got {budget!r}")


@torch.no_grad()
def within_budget(codec: Codec, plan: CodingPlan, budget: int) -> CodingPlan:
    """A plan none of whose streams is larger than a budget.

    The symbols of y that save most are replaced by the likeliest of their tables, as few as there
    need be; where the hyper-latent alone is too large, it is replaced in the same way first. The
    receiver decodes it like any other stream. What fits already stays as it is.

    Args:
        codec: that made the plan.
        plan: of N images.
        budget: bytes of a whole stream, header included.

    Raises:
        BudgetError: if no stream of an image fits; the message says how small one can be.
    """
    sizes = codec.stream_sizes(plan).stream
    large = [index for index, size in enumerate(sizes.tolist()) if size > budget]
    for index in large:
        plan = _put(plan, index, _fitted(codec, plan.of(index), budget))
    return plan


def _fitted(codec: Codec, plan: CodingPlan, budget: int) -> CodingPlan:
    """The plan of one image that is too large, made to fit."""
    smallest = []
    for candidate in (plan, codec.with_likeliest_hyper_latent(plan)):
        found = _with_cheaper_y(codec, candidate, budget)
        if isinstance(found, CodingPlan):
            return found
        smallest.append(found)
    raise BudgetError(
        f"no stream of this image has {budget} bytes or fewer: the smallest has {min(smallest)}; "
        "give a larger budget, or a smaller image"
    )


def _with_cheaper_y(codec: Codec, plan: CodingPlan, budget: int) -> CodingPlan | int:
    """With as few symbols of y replaced as needed; the smallest size, if all do not help."""
    others = int(codec.string_sizes(plan)[0, _Y + 1 :].sum())
    rest = stream_size(codec.id, others)  # all but the string of y
    room = budget - rest
    savings, order = _savings(codec, plan).sort(descending=True)
    total = codec.symbol_bits(plan, _Y).sum()
    bits = torch.cat([total[None], total - savings.cumsum(0)])
    if (least := string_bytes(float(bits[-1]), _ROUNDING)) > room:
        return rest + least
    # Bits fall with every symbol: the first count that fits.
    low, high = 0, len(savings)
    while low < high:
        middle = (low + high) // 2
        if string_bytes(float(bits[middle]), _ROUNDING) <= room:
            high = middle
        else:
            low = middle + 1
    return _replaced(codec, plan, order[:low])


def _savings(codec: Codec, plan: CodingPlan) -> Tensor:
    """Bits that the likeliest symbol of its table saves in place of each symbol of y."""
    cheapest = codec.costs_on(plan.latents["y"].device)[_Y].min(1).values
    tables = plan.tables[_Y].expand_as(plan.values[_Y]).long()
    saved: Tensor = codec.symbol_bits(plan, _Y) - cheapest[tables].flatten()
    return saved


def _replaced(codec: Codec, plan: CodingPlan, chosen: Tensor) -> CodingPlan:
    """With the likeliest symbols of their tables at the chosen places of y, counted flat."""
    values = plan.values[_Y]
    likeliest = codec.costs_on(values.device)[_Y].argmin(1) - REACH
    tables = plan.tables[_Y].expand_as(values).long()
    changed = values.flatten().clone()
    changed[chosen] = likeliest[tables].flatten()[chosen].to(changed.dtype)
    changed = changed.view_as(values)
    # As the receiver adds them up: y and the change alone would round otherwise.
    latents = {**plan.latents, "y": changed + codec.centres(plan)}
    return replace(plan, values=(changed, *plan.values[1:]), latents=latents)


def _put(plan: CodingPlan, index: int, one: CodingPlan) -> CodingPlan:
    """A plan with one image's part replaced."""

    def put(whole: Tensor, part: Tensor) -> Tensor:
        if whole.ndim < 4:  # tables that every image shares
            return whole
        whole = whole.clone()
        whole[index] = part[0]
        return whole

    gaussians = plan.gaussians
    if gaussians is not None and one.gaussians is not None:
        gaussians = (put(gaussians[0], one.gaussians[0]), put(gaussians[1], one.gaussians[1]))
    return CodingPlan(
        tuple(put(w, p) for w, p in zip(plan.values, one.values, strict=True)),
        tuple(put(w, p) for w, p in zip(plan.tables, one.tables, strict=True)),
        {name: put(latent, one.latents[name]) for name, latent in plan.latents.items()},
        gaussians,
    )
