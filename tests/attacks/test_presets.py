"""The presets: the strong one is the default, the published one computes what was published."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from jsonargparse import ArgumentParser
from torch import Tensor

from benchmarks.published_attack import published_attack
from entres.attacks import (
    L2,
    PGDE,
    Attack,
    LowFrequencyPGD,
    PGDAcc,
    Preset,
    RegionalPGD,
    Relaxation,
    StudentVictim,
)
from entres.attacks.around import AroundAttack
from entres.models import EntropicStudent

FILES = Path(__file__).parents[2] / "configs" / "preset"
EPSILON = 4
STEPS = 3
SAMPLES = 3


def load(name: str) -> Preset:
    parser = ArgumentParser()
    parser.add_argument("--preset", type=Preset)
    preset = parser.instantiate(parser.parse_args([f"--preset={FILES / name}.yaml"])).preset
    assert isinstance(preset, Preset)
    return preset


def test_the_strong_preset_is_the_default() -> None:
    assert load("strong") == Preset()
    assert PGDE().preset == Preset()


def test_the_published_preset_differs_in_all_that_was_found() -> None:
    strong, published = Preset(), load("published")
    same = [n for n, value in vars(strong).items() if value == getattr(published, n)]
    assert same == []


def test_the_published_preset_is_of_one_norm() -> None:
    published = load("published")
    message = "preset published is for the norm linf only, got l2: take that norm"
    with pytest.raises(ValueError, match=message):
        PGDE(norm=L2(), preset=published)
    with pytest.raises(ValueError, match=message):
        PGDE(norm=L2()).with_preset(published)
    assert PGDE().with_preset(published).preset == published
    assert PGDE(norm=L2(), preset=load("strong")).norm.name == "l2"


@pytest.mark.parametrize(
    "path", sorted((FILES.parent / "attack").glob("*.yaml")), ids=lambda p: p.stem
)
def test_an_attacks_file_says_what_its_class_does_by_itself(path: Path) -> None:
    parser = ArgumentParser()
    parser.add_argument("--attack", type=Attack, sub_configs=True)
    attack: Attack = parser.instantiate(parser.parse_args([f"--attack={path}"])).attack
    assert attack.condition == path.stem
    if isinstance(attack, AroundAttack):
        attack = attack.attack
    assert described(attack) == described(type(attack)())


def described(attack: Attack) -> dict[str, object]:
    """Everything that an attack is made of."""
    return {
        name: (type(value), vars(value)) if hasattr(value, "__dict__") else value
        for name, value in vars(attack).items()
    }


def test_quick_is_strong_in_a_hurry() -> None:
    strong, quick = Preset(), load("quick")
    differ = {n for n, value in vars(strong).items() if value != getattr(quick, n)}
    assert differ == {"name", "steps", "rate", "rate_step_rule", "accuracy_step_rule", "keep"}
    assert PGDE(preset=quick).steps == 20
    assert PGDE(preset=quick, steps=7).steps == 7
    assert PGDE().with_preset(quick).steps == 20


def test_values_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="samples must be >= 1"):
        Relaxation(samples=0)
    with pytest.raises(ValueError, match="steps must be >= 1"):
        Preset(steps=0)
    with pytest.raises(ValueError, match="MomentumStep adds up one gradient a step: average must"):
        Preset(average="directions", rate=Relaxation(samples=2))
    Preset(average="directions")
    Preset(average="directions", accuracy=Relaxation(samples=2))


def silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """All noise is zero, here and in compressai, so that both can be compared."""
    monkeypatch.setattr(
        "entres.models.quantization.uniform", lambda like, _=None: torch.full_like(like, 0.5)
    )
    monkeypatch.setattr(Tensor, "uniform_", lambda self, *_: self.zero_())


@pytest.mark.parametrize("codec", ["fp", "mshp"])
@pytest.mark.parametrize("attack", ["pgd_e", "pgd_acc", "low_frequency", "regional"])
def test_the_published_preset_computes_what_was_published(
    attack: str,
    codec: str,
    make_student: Callable[..., EntropicStudent],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    student = make_student(codec)
    silence(monkeypatch)
    image = torch.rand(1, 3, 48, 48, generator=torch.Generator().manual_seed(3))
    label = torch.tensor([2]) if attack == "pgd_acc" else None
    mask = None
    if attack == "regional":
        with torch.no_grad():
            mask = 1 - student(image, "round").likelihoods["y"].mean((0, 1))
    budget = {"epsilon_255": EPSILON, "steps": STEPS, "samples": SAMPLES}
    expected = published_attack(student, image, label, mask, **budget)

    of = {"pgd_e": PGDE, "pgd_acc": PGDAcc, "low_frequency": LowFrequencyPGD}
    make = of.get(attack, RegionalPGD)
    preset = load("published")
    assert (preset.rate.samples, preset.accuracy.samples) == (16, 16)
    ours = make(EPSILON, steps=STEPS, preset=preset)(StudentVictim(student), image, label)
    # The batches differ, so a gradient that is all but zero may have another sign.
    assert ((ours - expected).abs() < 1e-6).float().mean() > 0.995
    if codec == "mshp":  # nothing is masked in the rate of the other
        strong = make(EPSILON, steps=STEPS)(StudentVictim(student), image, label)
        assert ((strong - expected).abs() < 1e-6).float().mean() < 0.9
