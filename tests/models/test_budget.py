"""A cap that holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from entres.attacks import PGDE, StudentVictim
from entres.defenses import Budget, DefendedStudent
from entres.models import BudgetError, EntropicStudent, within_budget

CODECS = ["fp", "mshp"]
MakeStudent = Callable[..., EntropicStudent]
MakeWaves = Callable[..., Tensor]
SmallestBudget = Callable[[EntropicStudent, Tensor], int]


def sizes(student: EntropicStudent, x: Tensor, budget: int | None = None) -> list[int]:
    return [len(stream) for stream in student.encode(x, budget)]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("seed", range(3))
def test_no_stream_passes_its_budget_and_all_decode(
    codec: str,
    seed: int,
    make_student: MakeStudent,
    make_waves: MakeWaves,
    smallest_budget: SmallestBudget,
) -> None:
    student = make_student(codec, seed)
    student.requires_grad_(False)
    x = make_waves(4, seed=seed)
    attacked = PGDE(16, steps=3)(StudentVictim(student), x)
    x = torch.cat([x, attacked])
    if codec == "mshp":
        with torch.no_grad():  # means that are no round numbers, as training makes them
            student.codec.h_s[-1].weight.mul_(3)
        student.update()
    plain = sizes(student, x)
    least = smallest_budget(student, x)
    for budget in torch.linspace(least, max(plain), 4).ceil().int().tolist():
        streams = student.encode(x, budget)
        assert all(len(stream) <= budget for stream in streams)
        # To the latents that the sender has, bit for bit: an evaluation classifies these.
        plan = within_budget(student.codec, student.codec.plan(student.normalize(x)), budget)
        assert torch.equal(student.codec.decode_latents(streams), plan.latents["y"])
        # What fits already is left alone.
        assert [len(s) for s, p in zip(streams, plain, strict=True) if p <= budget] == [
            p for p in plain if p <= budget
        ]


@pytest.mark.parametrize("codec", CODECS)
def test_the_smallest_that_is_named_is_possible_and_nothing_below(
    codec: str, make_student: MakeStudent, make_waves: MakeWaves, smallest_budget: SmallestBudget
) -> None:
    student = make_student(codec)
    x = make_waves(3)[2:]
    least = smallest_budget(student, x)
    assert sizes(student, x, least)[0] <= least
    with pytest.raises(BudgetError):
        student.encode(x, least - 1)


@pytest.mark.parametrize("codec", CODECS)
def test_no_symbol_more_is_replaced_than_needed(
    codec: str, make_student: MakeStudent, make_waves: MakeWaves, smallest_budget: SmallestBudget
) -> None:
    student = make_student(codec)
    x = student.normalize(make_waves(3)[2:])
    plan = student.codec.plan(x)
    size = int(student.codec.stream_sizes(plan).stream)
    budget = (size + smallest_budget(student, make_waves(3)[2:])) // 2
    fitted = within_budget(student.codec, plan, budget)
    changed = (fitted.values[0] != plan.values[0]).flatten().nonzero().flatten()
    assert 0 < len(changed) < plan.values[0].numel()
    # The latents say the same as the symbols.
    moved = fitted.latents["y"] - plan.latents["y"]
    assert torch.allclose(moved, fitted.values[0] - plan.values[0])
    # Any of them put back, and it is a word too large; but for the one that was needed last.
    too_large = 0
    for place in changed[:: max(1, len(changed) // 20)]:
        values = fitted.values[0].clone()
        values.view(-1)[place] = plan.values[0].view(-1)[place]
        back = replace(fitted, values=(values, *fitted.values[1:]))
        too_large += int(student.codec.stream_sizes(back).stream) > budget
    assert too_large


def test_the_defense_keeps_what_fits_and_denoises_the_rest(
    make_student: MakeStudent,
    make_waves: MakeWaves,
) -> None:
    student = make_student("mshp")
    x = make_waves(4)
    plain = sizes(student, x)
    budget = Budget((sorted(plain)[1] + 1) / 1024)
    defended = budget.defend(student, x)
    small = torch.tensor([size <= budget.bytes for size in plain])
    assert torch.equal(defended.applied, ~small)
    assert torch.equal(defended.images[small], x[small])
    assert (defended.images[~small] != x[~small]).any()
    plan = student.codec.plan(student.normalize(defended.images))
    limited = budget.limit(student.codec, plan)
    assert int(student.codec.stream_sizes(limited).stream.max()) <= budget.bytes
    assert budget.defend(student, x[:0]).images.shape == (0, 3, 64, 64)


@pytest.mark.parametrize("codec", CODECS)
def test_a_student_behind_the_cap_sends_nothing_larger(
    codec: str, make_student: MakeStudent, make_waves: MakeWaves
) -> None:
    student = make_student(codec)
    x = make_waves(4)
    plain = sizes(student, x)
    capped = DefendedStudent(student, Budget((sorted(plain)[1] + 1) / 1024))
    found = sizes(capped, x)
    assert max(found) <= sorted(plain)[1] + 1 < max(plain)
    assert StudentVictim(capped).stream_bytes(x).tolist() == found
