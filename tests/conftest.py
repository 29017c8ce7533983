"""Small students and data that many tests share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from entres.models import (
    BudgetError,
    EntropicStudent,
    FactorizedPrior,
    MeanScaleHyperprior,
    StudentCard,
    build_backbone,
)

# Processes that tests start, too: tests run side by side, one for each core.
os.environ.setdefault("OMP_NUM_THREADS", "1")

CODECS = {"fp": FactorizedPrior, "mshp": MeanScaleHyperprior}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    # Tiny networks gain nothing from more, and tests then run the same on any machine.
    torch.set_num_threads(1)


@pytest.fixture
def at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where `configs/` is, and without a dashboard: for tests of the real command line."""
    monkeypatch.chdir(Path(__file__).parent.parent)
    monkeypatch.setenv("WANDB_MODE", "disabled")


@pytest.fixture
def make_student() -> Callable[..., EntropicStudent]:
    """Makes a seeded random student of eight classes around timm's smallest ResNet."""

    def make(codec: str = "mshp", seed: int = 0, num_classes: int = 8) -> EntropicStudent:
        torch.manual_seed(seed)
        backbone = build_backbone("test_resnet", num_classes)
        student = EntropicStudent.from_backbone(backbone, CODECS[codec])
        # Fresh weights code everything to zeros: give the latents something to say.
        with torch.no_grad():
            student.codec.g_a[-1].weight.mul_(20)
        return student.eval()

    return make


@pytest.fixture
def make_waves() -> Callable[..., Tensor]:
    """Makes images of a wave under noise of rising strength: streams of very different sizes."""

    def make(count: int, side: int = 64, seed: int = 0) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        wave = torch.sin(torch.arange(side) / 5).mul(0.25).add(0.5).expand(count, 3, side, side)
        noise = torch.rand(count, 3, side, side, generator=generator) - 0.5
        return (wave + torch.linspace(0, 1, count).view(-1, 1, 1, 1) * noise).clamp(0, 1)

    return make


@pytest.fixture
def smallest_budget() -> Callable[[EntropicStudent, Tensor], int]:
    """Finds the smallest budget that every image can be made to fit, in bytes."""

    def find(student: EntropicStudent, images: Tensor) -> int:
        least = 0
        for one in images:  # by what is said of a smaller one
            with pytest.raises(BudgetError, match=r"the smallest has \d+") as error:
                student.encode(one[None], 30)
            least = max(least, int(str(error.value).split("the smallest has ")[1].split(";")[0]))
        return least

    return find


@pytest.fixture
def student_file(tmp_path: Path, make_student: Callable[..., EntropicStudent]) -> Path:
    """A saved student."""
    student = make_student()
    codec = student.codec
    card = StudentCard(
        "test_resnet", "mshp", 0.08, "joint", 8, codec.analysis_widths, codec.synthesis_widths
    )
    path = tmp_path / "student.safetensors"
    student.save(path, card)
    return path
