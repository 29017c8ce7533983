"""What a student's parts cost, beside counting by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from entres.cli import main
from entres.models import EntropicStudent
from entres.models.costs import costs
from entres.models.layers import GDN1


def macs_by_hand(module: nn.Module, x: Tensor) -> int:
    """Multiplications of every layer, from its shapes."""
    total = 0

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        match layer:
            case nn.ConvTranspose2d():
                total += inputs[0].numel() * layer.weight[0].numel()
            case nn.Conv2d():
                total += output.numel() * layer.weight[0].numel()
            case nn.Linear():
                total += output.numel() * layer.in_features
            case GDN1():
                total += output.numel() * output.shape[1]

    hooks = [layer.register_forward_hook(count) for layer in module.modules()]
    module(x)
    for hook in hooks:
        hook.remove()
    return total


@pytest.mark.parametrize("codec", ["fp", "mshp"])
@torch.no_grad()
def test_every_multiplication_and_parameter_is_counted_once(
    codec: str, make_student: Callable[..., EntropicStudent]
) -> None:
    student = make_student(codec)
    image = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    found = {cost.part: cost for cost in costs(student, image, 1)}
    parts = student.codec
    y = parts.g_a(image)
    wanted = {"analysis": macs_by_hand(parts.g_a, image), "synthesis": macs_by_hand(parts.g_s, y)}
    wanted["tail"] = macs_by_hand(student.tail, parts.g_s(y))
    if codec == "mshp":
        z = parts._hyper_latent(y)  # type: ignore[operator]
        hyper_synthesis = macs_by_hand(parts.h_s, z)  # type: ignore[arg-type]
        wanted["analysis"] += macs_by_hand(parts.h_a, y) + hyper_synthesis  # type: ignore[arg-type]
        wanted["decoding"] = hyper_synthesis
    assert {part: cost.macs for part, cost in found.items() if cost.macs} == wanted
    entropy = sum(p.numel() for p in parts.entropy_bottleneck.parameters())
    everything = sum(p.numel() for p in student.parameters())
    # The hyper-synthesis is on both sides.
    twice = found["decoding"].parameters
    assert sum(cost.parameters for cost in found.values()) - twice == everything - entropy
    assert (twice > 0) == (codec == "mshp")


def test_time_is_the_median_of_the_clock(make_student: Callable[..., EntropicStudent]) -> None:
    def ticks() -> Iterator[float]:
        for length in (1, 9, 2) * 5:
            yield 0.0
            yield float(length)

    clock = ticks()
    found = costs(make_student("fp"), torch.rand(1, 3, 32, 32), 3, lambda: next(clock))
    assert [cost.seconds for cost in found] == [2.0] * 5


def test_the_verb_prints_a_table_for_every_student(
    student_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["cost", str(student_file), str(student_file), "--side", "48", "--repeats", "1"])
    printed = capsys.readouterr().out
    assert printed.count("test_resnet-mshp-beta0.08-joint") == 2
    assert printed.count("decoding") == 2
    with pytest.raises(SystemExit, match="sides of 32 px or more"):
        main(["cost", str(student_file), "--side", "20"])
    with pytest.raises(SystemExit, match="repeats must be >= 1, got 0"):
        main(["cost", str(student_file), "--repeats", "0"])
