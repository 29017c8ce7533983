"""The ensemble of attacks on the accuracy: no weaker than any part, than foolbox, or than luck."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from entres.attacks import (
    L2,
    AccuracyEnsemble,
    Attack,
    ClassifierVictim,
    ConstantStep,
    LogitsModule,
    PGDAcc,
    Preset,
    Response,
    StudentVictim,
    TargetedMargin,
)
from entres.models import EntropicStudent, NoisePerImage

EPSILON = 1.5
STEPS = 4


@pytest.fixture
def images() -> Tensor:
    noise = torch.rand(6, 3, 5, 5, generator=torch.Generator().manual_seed(1))
    return torch.nn.functional.interpolate(noise * 1.2 - 0.1, size=40, mode="bicubic").clamp(0, 1)


def network(images: Tensor) -> Tensor:
    """Six classes of a random network with a bend in it."""
    generator = torch.Generator().manual_seed(3)
    first = torch.randn(images[0].numel(), 24, generator=generator) / images[0].numel() ** 0.5
    second = torch.randn(24, 6, generator=generator)
    return (images.flatten(1) @ first).relu() @ second


def plain_targeted_margin(logits: list[float], label: int, target: int) -> float:
    """Eq. 7 of Croce and Hein (2020), one image."""
    ordered = sorted(logits, reverse=True)
    return -(logits[label] - logits[target]) / (ordered[0] - (ordered[2] + ordered[3]) / 2)


@pytest.mark.parametrize("rank", [1, 2, 5])
def test_the_targeted_margin_is_the_published_formula(rank: int) -> None:
    generator = torch.Generator().manual_seed(0)
    clean, logits = torch.randn(2, 50, 6, generator=generator)
    labels = torch.arange(50) % 6
    found = TargetedMargin(rank)(of_logits(logits), labels, of_logits(clean))
    expected = []
    for at_clean, now, label in zip(clean.tolist(), logits.tolist(), labels.tolist(), strict=True):
        others = sorted((c for c in range(6) if c != label), key=lambda c: -at_clean[c])
        expected.append(plain_targeted_margin(now, label, others[rank - 1]))
    torch.testing.assert_close(found, torch.tensor(expected))


def of_logits(logits: Tensor) -> Response:
    return Response({}, lambda: logits)


def test_it_ends_no_weaker_than_where_it_begins(images: Tensor) -> None:
    victim = ClassifierVictim(network)
    labels = network(images).argmax(1)
    ended = AccuracyEnsemble(EPSILON, steps=20)(victim, images, labels)
    short = AccuracyEnsemble(EPSILON, 1, Preset(accuracy_step_rule=ConstantStep(1e-4)), targets=0)
    again = short.starting_at(ended)(victim, images, labels)
    right = [network(x).argmax(1) == labels for x in (short(victim, images, labels), ended, again)]
    assert right[0].sum() > right[1].sum()
    assert not (right[2] & ~right[1]).any()


def test_it_says_what_does_not_fit() -> None:
    victim = ClassifierVictim(lambda x: x.mean((2, 3)))
    images, labels = torch.rand(1, 3, 8, 8), torch.tensor([0])
    with pytest.raises(ValueError, match=r"compares four classes.* got logits of 3: take a lower"):
        PGDAcc(objective=TargetedMargin(), steps=1)(victim, images, labels)
    six, attack = ClassifierVictim(network), PGDAcc(objective=TargetedMargin(6), steps=1)
    with pytest.raises(ValueError, match="wants 6 other than the label's"):
        attack(six, torch.rand(1, 3, 40, 40), labels)
    with pytest.raises(ValueError, match="rank counts the other classes from 1, got 0"):
        TargetedMargin(0)
    with pytest.raises(ValueError, match="targets must be >= 0, got -1"):
        AccuracyEnsemble(targets=-1)
    with pytest.raises(ValueError, match="steps and restarts must be >= 1"):
        AccuracyEnsemble(steps=0)
    with pytest.raises(ValueError, match="AccuracyEnsemble attacks the accuracy: give labels"):
        AccuracyEnsemble()(victim, images)
    assert AccuracyEnsemble(targets=0, steps=1)(victim, images, labels).shape == images.shape


def lost(logits: Callable[[Tensor], Tensor], attacked: Tensor, labels: Tensor) -> Tensor:
    with torch.no_grad():
        return logits(attacked).argmax(1) != labels


def gap(logits: Callable[[Tensor], Tensor], attacked: Tensor, labels: Tensor) -> Tensor:
    with torch.no_grad():
        values = logits(attacked)
    pairs = zip(values.tolist(), labels.tolist(), strict=True)
    best = [max(z for number, z in enumerate(row) if number != label) for row, label in pairs]
    return torch.tensor(best) - values.gather(1, labels[:, None])[:, 0]


@pytest.mark.parametrize("norm", [None, L2()])
@pytest.mark.parametrize("codec", ["fp", "mshp", None])
def test_no_part_does_worse_to_any_image(
    codec: str | None,
    norm: L2 | None,
    images: Tensor,
    make_student: Callable[..., EntropicStudent],
) -> None:
    student = make_student(codec) if codec else None
    logits = LogitsModule(student) if student else network
    victim = StudentVictim(student) if student else ClassifierVictim(network)
    with torch.no_grad():
        labels = logits(images).argmax(1)
    labels[0] = (labels[0] + 1) % 6  # wrong before anything
    epsilon = EPSILON if codec else 0.6 if norm is None else 0.9
    attack = AccuracyEnsemble(epsilon, STEPS, norm=norm)
    result = attack.run(victim, images, labels, health=True)
    now = lost(logits, result.images, labels)
    gap_now = gap(logits, result.images, labels)
    every = []
    for part in attack.parts():
        alone = part(victim, images, labels)
        of_part = lost(logits, alone, labels)
        every.append(of_part)
        assert (now >= of_part).all()
        right = ~now
        assert (gap_now[right] >= gap(logits, alone, labels)[right] - 1e-4).all()
    # What it loses, some part loses: nothing is counted that was not found.
    assert torch.equal(now, torch.stack(every).any(0))
    assert now.any()
    torch.testing.assert_close(result.health["objective_end"], gap_now, rtol=1e-4, atol=1e-4)
    order = [result.health[f"objective_{name}"] for name in ("clean", "middle", "last", "end")]
    assert all((after >= before).all() for before, after in pairwise(order))
    delta = result.images - images
    size = delta.abs().amax((1, 2, 3)) if norm is None else delta.square().mean((1, 2, 3)).sqrt()
    assert (size <= epsilon / 255 + 1e-6).all()


def test_its_parts_find_what_the_cross_entropy_does_not(images: Tensor) -> None:
    def sure(x: Tensor) -> Tensor:
        return 1e4 * network(x)

    labels = network(images).argmax(1)
    victim = ClassifierVictim(sure)
    ensemble = lost(sure, AccuracyEnsemble(1, STEPS)(victim, images, labels), labels)
    alone = lost(sure, PGDAcc(1, STEPS)(victim, images, labels), labels)
    assert (ensemble >= alone).all()
    assert (ensemble & ~alone).any()


def test_a_lost_image_is_kept_though_the_objective_rises_on() -> None:
    # The label (0) is lost at a level of 2. At one of 4 it is named again, though the
    # cross-entropy is larger: three classes are close behind.
    def logits(x: Tensor) -> Tensor:
        level = (x.mean((1, 2, 3)) - 0.5) * 255
        beyond = torch.relu(level - 2)
        others = beyond * 6.99 - 10
        return torch.stack([beyond * 2, level / 2 - 0.5, others, others], 1)

    images, labels = torch.full((1, 3, 8, 8), 0.5), torch.tensor([0])
    tried = torch.stack([torch.full((3, 8, 8), 0.5 + level / 255) for level in (2, 4)])
    values = torch.nn.functional.cross_entropy(logits(tried), labels.repeat(2), reduction="none")
    assert lost(logits, tried, labels.repeat(2)).tolist() == [True, False]
    assert values[1] > values[0]
    preset = Preset(accuracy_step_rule=ConstantStep(0.5), keep="worst")
    result = PGDAcc(4, 3, preset).run(ClassifierVictim(logits), images, labels, health=True)
    assert lost(logits, result.images, labels).all()
    # The curve is that of what is kept.
    assert result.curve is not None
    torch.testing.assert_close(result.curve[0, 1:], values[:1].expand(3))
    torch.testing.assert_close(result.health["objective_end"], values[:1])


def test_the_batch_does_not_matter_and_settings_reach_the_parts(
    images: Tensor, make_student: Callable[..., EntropicStudent]
) -> None:
    student = make_student("mshp")
    victim = StudentVictim(student)
    labels = student(images).logits.argmax(1)
    attack: Attack = AccuracyEnsemble(EPSILON, 3, targets=1)

    def noise(which: list[int]) -> NoisePerImage:
        return NoisePerImage(0, torch.tensor(which))

    whole = attack(victim, images, labels, noise(list(range(6))))
    some = [5, 2, 4]
    part = attack(victim, images[some], labels[some], noise(some))
    assert (whole[some] == part).float().mean() > 0.99
    wider = attack.at(16)
    assert isinstance(wider, AccuracyEnsemble)
    assert {p.epsilon_255 for p in wider.parts()} == {16}
    assert len(wider.parts()) == 3


@pytest.mark.foolbox
@pytest.mark.parametrize("epsilon_255", [1.0])
def test_it_is_no_weaker_than_foolbox(
    epsilon_255: float, images: Tensor, make_student: Callable[..., EntropicStudent]
) -> None:
    foolbox = pytest.importorskip("foolbox")
    student = make_student("mshp")
    model = LogitsModule(student)
    labels = model(images).argmax(1)
    bounded = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
    theirs = torch.zeros(len(images), dtype=torch.bool)
    for name in ("LinfProjectedGradientDescentAttack", "LinfBasicIterativeAttack"):
        attack = getattr(foolbox.attacks, name)(steps=10, random_start=False)
        attacked, _, _ = attack(bounded, images, labels, epsilons=epsilon_255 / 255)
        theirs |= lost(model, attacked, labels)
    ours = lost(
        model, AccuracyEnsemble(epsilon_255, 10)(StudentVictim(student), images, labels), labels
    )
    assert ours.sum() >= theirs.sum()
    assert (ours >= theirs).float().mean() > 0.9
