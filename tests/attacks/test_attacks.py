"""What attacks do to real codecs, from one table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from entres.attacks import (
    L2,
    PGDE,
    AccuracyEnsemble,
    Attack,
    AttackResult,
    ClassifierVictim,
    CosineStep,
    CrossEntropy,
    LowFrequencyPGD,
    Margin,
    MomentumStep,
    Objective,
    PGDAcc,
    PGDJoint,
    Preset,
    RegionalPGD,
    Relaxation,
    SignNoise,
    StudentVictim,
    TargetedMargin,
)
from entres.models import EntropicStudent, NoisePerImage

CODECS = ["fp", "mshp"]
EPSILON = 8
ATTACKS = {
    "noise": SignNoise,
    "pgd_acc": PGDAcc,
    "pgd_e": PGDE,
    "pgd_joint": PGDJoint,
    "low_frequency": LowFrequencyPGD,
    "regional": RegionalPGD,
    "acc_ensemble": AccuracyEnsemble,
}
RAISES = {  # by attack: the figures that must rise above those under random noise
    "pgd_acc": ["loss"],
    "pgd_e": ["bits"],
    "low_frequency": ["bits"],
    "regional": ["bits"],
}


@pytest.fixture
def images() -> Tensor:
    # Smooth pictures with something in them, some pixels at the ends of the range.
    noise = torch.rand(4, 3, 5, 5, generator=torch.Generator().manual_seed(1))
    return torch.nn.functional.interpolate(noise * 1.2 - 0.1, size=40, mode="bicubic").clamp(0, 1)


def labels_of(student: EntropicStudent, images: Tensor) -> Tensor:
    with torch.no_grad():
        return student(images).logits.argmax(1)


def figures(student: EntropicStudent, images: Tensor, labels: Tensor) -> dict[str, float]:
    with torch.no_grad():
        output = student(images, "round")
        loss = torch.nn.functional.cross_entropy(output.logits, labels)
    sizes = [len(stream) for stream in student.encode(images)]
    return {"bits": output.bits.mean().item(), "loss": loss.item(), "bytes": sum(sizes) / 4}


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("name", list(ATTACKS))
def test_effect_and_bounds(
    name: str,
    norm: str,
    codec: str,
    make_student: Callable[..., EntropicStudent],
    images: Tensor,
) -> None:
    student = make_student(codec)
    if codec == "fp":  # a fresh factorized distribution is so wide that few bytes change
        with torch.no_grad():
            student.codec.g_a[-1].weight.mul_(4)
    labels = labels_of(student, images)
    options: dict[str, Any] = {"epsilon_255": EPSILON, "norm": L2() if norm == "l2" else None}
    if name != "noise":
        options["steps"] = 8
    attack: Attack = ATTACKS[name](**options)
    attacked = attack(StudentVictim(student), images, labels)

    assert (attacked.shape, attacked.dtype) == (images.shape, images.dtype)
    assert attacked.min() >= 0
    assert attacked.max() <= 1
    delta = attacked - images
    size = delta.abs().amax((1, 2, 3)) if norm == "linf" else delta.square().mean((1, 2, 3)).sqrt()
    assert (size <= EPSILON / 255 + 1e-6).all()
    assert (size > 0.5 * EPSILON / 255).all()

    clean, ours = figures(student, images, labels), figures(student, attacked, labels)
    noise = SignNoise(EPSILON)(StudentVictim(student), images)
    baseline = figures(student, noise, labels)
    for figure in RAISES.get(name, []):
        assert ours[figure] > max(clean[figure], baseline[figure]), figure
    if "bits" in RAISES.get(name, []):
        assert ours["bytes"] > max(clean["bytes"], baseline["bytes"])


@pytest.mark.parametrize("codec", CODECS)
def test_joint_attack_stands_between_the_two(
    codec: str, make_student: Callable[..., EntropicStudent], images: Tensor
) -> None:
    student = make_student(codec)
    labels = labels_of(student, images)
    of = {
        name: figures(
            student, ATTACKS[name](EPSILON, steps=8)(StudentVictim(student), images, labels), labels
        )
        for name in ("pgd_acc", "pgd_e", "pgd_joint")
    }
    assert of["pgd_joint"]["bits"] > of["pgd_acc"]["bits"]
    assert of["pgd_joint"]["loss"] > of["pgd_e"]["loss"]


@pytest.mark.parametrize("name", list(ATTACKS))
def test_the_victim_and_the_world_stay_as_they_were(
    name: str, make_student: Callable[..., EntropicStudent], images: Tensor
) -> None:
    labels = labels_of(make_student("fp"), images)
    student = make_student("mshp")
    student.tail.train()  # as while it is fine-tuned
    modes = [module.training for module in student.modules()]
    state = {key: value.clone() for key, value in student.state_dict().items()}
    before = images.clone()
    random = torch.get_rng_state()
    ATTACKS[name](EPSILON)(StudentVictim(student), images, labels)
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.equal(images, before)
    assert [module.training for module in student.modules()] == modes
    assert all(p.grad is None and p.requires_grad for p in student.parameters())
    # A tail in training mode would have taken the images into its batch statistics.
    assert all(torch.equal(value, state[key]) for key, value in student.state_dict().items())


@pytest.mark.parametrize("name", list(ATTACKS))
def test_an_image_is_attacked_alike_in_any_batch(
    name: str, make_student: Callable[..., EntropicStudent], images: Tensor
) -> None:
    student = make_student("mshp")
    victim, labels = StudentVictim(student), labels_of(student, images)
    options = {} if name == "noise" else {"steps": 1}
    attack = ATTACKS[name](EPSILON, **options)

    def noise(which: list[int]) -> NoisePerImage:
        return NoisePerImage(0, torch.tensor(which))

    whole = attack(victim, images, labels, noise([0, 1, 2, 3]))
    order = [2, 0]
    part = attack(victim, images[order], labels[order], noise(order))
    # A convolution rounds differently in a batch of another size: a sign may flip where a gradient
    # is all but zero.
    assert (whole[order] == part).float().mean() > 0.995
    other = attack(victim, images, labels, noise([4, 5, 6, 7]))
    if name in ("noise", "pgd_e"):
        assert not torch.equal(whole, other)


def test_the_hyper_synthesis_of_an_attack_has_no_loop_over_images(
    make_student: Callable[..., EntropicStudent], images: Tensor
) -> None:
    student = make_student("mshp")
    seen: list[int] = []
    student.codec.h_s.register_forward_hook(lambda _, given, __: seen.append(len(given[0])))
    victim, labels = StudentVictim(student), labels_of(student, images)
    for make in (PGDE, PGDAcc):
        counts = []
        for batch in (images[:1], images):
            seen.clear()
            # With the measurements on the ``round`` path that health and the worst image need.
            make(EPSILON, steps=3).run(victim, batch, labels[: len(batch)], health=True)
            assert set(seen) == {len(batch)}
            counts.append(len(seen))
        assert counts[0] == counts[1]
    # Nor does it say anything else of an image than the coder's way, but for rounding.
    y = victim.analyse(images)
    with torch.no_grad():
        for quantization in ("round", "straight_through"):
            response = victim.respond(y, quantization)
            y_hat, expected = student.codec.latents(y, quantization)
            for name, likelihoods in response.likelihoods.items():
                torch.testing.assert_close(likelihoods, expected[name], rtol=1e-4, atol=1e-6)
            logits = student.tail(student.codec.synthesise(y_hat)).logits
            torch.testing.assert_close(response.logits, logits, rtol=1e-4, atol=1e-5)
    # What is sent has one: both sides must choose the same tables.
    seen.clear()
    student.encode(images)
    assert seen == [1] * len(images)


def test_half_precision_and_inference_mode(
    make_student: Callable[..., EntropicStudent], images: Tensor
) -> None:
    student = make_student("mshp")
    with torch.inference_mode():
        labels = labels_of(student, images)
        half = images.half()
        attacked = PGDJoint(EPSILON, steps=2)(StudentVictim(student), half, labels)
    assert attacked.dtype == torch.half
    assert ((attacked.float() - half.float()).abs() <= EPSILON / 255 + 1e-3).all()
    assert not torch.equal(attacked, half)


def test_a_plain_classifier_is_a_victim_too(images: Tensor) -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 40 * 40, 5))
    labels = model(images).argmax(1)
    attacked = PGDAcc(EPSILON)(ClassifierVictim(model), images, labels)
    assert (model(attacked).argmax(1) != labels).any()
    with pytest.raises(ValueError, match="at least one tensor"):
        PGDE(EPSILON)(ClassifierVictim(model), images)


def test_restarts_and_worst_never_end_below_the_last(
    make_student: Callable[..., EntropicStudent], images: Tensor
) -> None:
    student = make_student("mshp")
    victim = StudentVictim(student)

    def ends(**options: Any) -> Tensor:
        keep = options.pop("keep", "last")
        preset = Preset(rate_step_rule=CosineStep(), keep=keep)
        attack = PGDE(EPSILON, 4, preset, random_start=True, **options)
        return attack.run(victim, images, health=True).health["objective_end"]

    last = ends()
    # The first run draws the same noise, so the worst of several cannot be better than it.
    assert (ends(restarts=3) >= last).all()
    assert (ends(keep="worst") >= last).all()
    assert (ends(restarts=3) > last).any()


def test_a_warm_start_never_ends_below_it(
    make_student: Callable[..., EntropicStudent], images: Tensor
) -> None:
    student = make_student("mshp")
    other, victim = StudentVictim(make_student("fp")), StudentVictim(student)
    start = PGDE(EPSILON, steps=6)(other, images)
    attack = PGDE(EPSILON, steps=6)
    warm = attack.starting_at(start)(victim, images)
    assert ((warm - images).abs() <= EPSILON / 255 + 1e-6).all()
    with torch.no_grad():
        before, after = (student(x, "round").bits for x in (start, warm))
    assert (after > before).all()
    assert attack.begin is None
    outside = attack.starting_at(torch.ones_like(images))(victim, images)
    assert ((outside - images).abs() <= EPSILON / 255 + 1e-6).all()


def test_early_stop_leaves_lost_images_alone(
    make_student: Callable[..., EntropicStudent], images: Tensor
) -> None:
    student = make_student("fp")
    victim = StudentVictim(student)
    labels = labels_of(student, images)
    lost = (labels + 1) % 8  # wrong from the start
    assert torch.equal(PGDAcc(EPSILON, early_stop=True)(victim, images, lost), images)
    attacked = PGDAcc(EPSILON, early_stop=True)(victim, images, labels)
    assert not torch.equal(attacked, images)
    with pytest.raises(ValueError, match="never reached"):
        PGDE(EPSILON, early_stop=True)


@pytest.mark.parametrize(
    "preset",
    [
        Preset(),
        Preset(keep="last", accuracy_step_rule=CosineStep()),
        Preset(accuracy_step_rule=MomentumStep()),
        Preset(accuracy=Relaxation(samples=2), average="directions"),
    ],
    ids=["adaptive", "cosine", "momentum", "noise"],
)
@pytest.mark.parametrize("objective", [CrossEntropy(), Margin(), TargetedMargin()])
def test_an_early_stop_gives_every_image_what_it_would_get_alone(
    make_student: Callable[..., EntropicStudent],
    images: Tensor,
    preset: Preset,
    objective: Objective,
) -> None:
    student = make_student("fp")
    labels = labels_of(student, images)
    labels[1] = (labels[1] + 1) % 8  # wrong from the start

    class Counting(StudentVictim):
        analysed: ClassVar[list[int]] = []

        def analyse(self, images: Tensor) -> Tensor:
            self.analysed.append(len(images))
            return super().analyse(images)

    attack = PGDAcc(4.0, 12, preset, early_stop=True, objective=objective)
    indices = torch.arange(len(images))
    Counting.analysed.clear()
    together = attack.run(Counting(student), images, labels, NoisePerImage(3, indices), health=True)
    assert min(Counting.analysed) < len(images)
    curves = []
    for i in indices:
        alone = attack.run(
            StudentVictim(student),
            images[i : i + 1],
            labels[i : i + 1],
            NoisePerImage(3, i[None]),
            health=True,
        )
        torch.testing.assert_close(together.images[i : i + 1], alone.images, atol=1e-6, rtol=0)
        assert together.curve is not None
        assert alone.curve is not None
        torch.testing.assert_close(together.curve[i : i + 1], alone.curve, atol=1e-4, rtol=1e-4)
        for name, value in alone.health.items():
            torch.testing.assert_close(
                together.health[name][i : i + 1], value, atol=1e-4, rtol=1e-4, msg=name
            )
        curves.append(alone.curve)
    assert len({curve.shape for curve in curves}) == 1


def test_health_tells_a_good_attack_from_a_broken_one(
    make_student: Callable[..., EntropicStudent], images: Tensor
) -> None:
    victim = StudentVictim(make_student("mshp"))
    good = PGDE(EPSILON, steps=8).run(victim, images, health=True).health
    assert (good["zero_gradient"] == 0).all()
    assert (good["masked_gradient"] == 0).all()
    assert (good["objective_end"] > good["objective_noise"]).all()
    assert (good["objective_last"] >= 0.98 * good["objective_middle"]).all()


def test_the_curve_is_the_objective_after_every_step(
    make_student: Callable[..., EntropicStudent], images: Tensor
) -> None:
    victim = StudentVictim(make_student("mshp"))
    result = PGDE(EPSILON, steps=8).run(victim, images, health=True)
    curve, health = result.curve, result.health
    assert curve is not None
    assert curve.shape == (len(images), 9)
    torch.testing.assert_close(curve[:, 0], health["objective_clean"])
    torch.testing.assert_close(curve[:, -1], health["objective_end"])
    assert (curve.diff(dim=1) >= 0).all()  # the worst so far
    torch.testing.assert_close(health["late_gain"], curve[:, 8] / curve[:, 6] - 1)


@pytest.mark.parametrize("keep", ["last", "worst"])
@pytest.mark.parametrize("attack_on", ["rate", "accuracy"])
def test_of_restarts_health_is_that_of_the_run_whose_image_is_kept(
    attack_on: str, keep: str, make_student: Callable[..., EntropicStudent], images: Tensor
) -> None:
    student = make_student("mshp")
    victim, labels = StudentVictim(student), labels_of(student, images)
    attack = PGDE if attack_on == "rate" else PGDAcc
    epsilon = EPSILON if attack_on == "rate" else 0.5
    rule = CosineStep()
    preset = Preset(rate_step_rule=rule, accuracy_step_rule=rule, keep=keep)
    settings = {"steps": 6, "preset": preset}

    # Each run by itself, from where the one before it has left the noise.
    generator, alone = torch.Generator().manual_seed(3), []
    for _ in range(4):
        same = torch.Generator()
        same.set_state(generator.get_state())
        one = attack(epsilon, random_start=True, **settings)
        one.run(victim, images, labels, generator)
        alone.append(one.run(victim, images, labels, same, health=True))
    several = attack(epsilon, random_start=True, restarts=4, **settings)
    generator = torch.Generator().manual_seed(3)
    together = several.run(victim, images, labels, generator, health=True)

    assert together.curve is not None
    kept = set()
    for number in range(len(images)):

        def rank(run: AttackResult, number: int = number) -> tuple[bool, float]:
            with torch.no_grad():
                named = student(run.images).logits.argmax(1)
            lost = attack_on == "accuracy" and bool(named[number] != labels[number])
            return lost, run.health["objective_end"][number].item()

        best = max(range(4), key=lambda run: rank(alone[run]))
        kept.add(best)
        assert torch.equal(together.images[number], alone[best].images[number])
        assert alone[best].curve is not None
        torch.testing.assert_close(together.curve[number], alone[best].curve[number])
        for name in ("zero_gradient", "late_gain", "objective_middle", "objective_last"):
            expected = alone[best].health[name][number]
            torch.testing.assert_close(together.health[name][number], expected, msg=name)
    assert kept != {3}  # else the last run would do


def test_a_label_lost_late_is_a_late_gain(
    make_student: Callable[..., EntropicStudent], images: Tensor
) -> None:
    student = make_student("fp")
    victim, labels = StudentVictim(student), labels_of(student, images)
    wrong = (labels + 1) % 8
    health = PGDAcc(EPSILON, steps=4).run(victim, images, wrong, health=True).health
    assert (health["late_gain"] == 0).all()  # lost from the start
    health = PGDAcc(EPSILON, steps=1).run(victim, images, labels, health=True).health
    lost = student(PGDAcc(EPSILON, steps=1)(victim, images, labels)).logits.argmax(1) != labels
    assert torch.equal(health["late_gain"].bool(), lost)  # the whole of one step is its last part


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PGDE(0), "epsilon_255 is a radius"),
        (lambda: PGDE(float("nan")), "epsilon_255 is a radius"),
        (lambda: PGDE(4).at(-1), "epsilon_255 is a radius"),
        (lambda: PGDE(4, steps=0), "steps and restarts must be >= 1"),
        (lambda: PGDE(4, restarts=2), "set random_start"),
        (lambda: LowFrequencyPGD(ratio=0), "ratio is a share"),
        (lambda: PGDAcc(4)(ClassifierVictim(lambda x: x), torch.rand(1, 3, 4, 4)), "give labels"),
        (lambda: PGDE(4)(ClassifierVictim(lambda x: x), torch.rand(3, 4, 4)), "shape"),
        (
            lambda: PGDE(4)(ClassifierVictim(lambda x: x), torch.rand(1, 3, 4, 4) * 2),
            "in \\[0, 1\\]",
        ),
        (lambda: PGDE(4)(ClassifierVictim(lambda x: x), torch.zeros(1, 3, 4, 4).int()), "floating"),
    ],
)
def test_errors(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("epsilon_255", [1.0, 2.0, 8.0])
def test_rounding_to_half_precision_stays_inside_the_ball(
    dtype: torch.dtype, epsilon_255: float, images: Tensor
) -> None:
    given = images.to(dtype)
    attacked = SignNoise(epsilon_255)(ClassifierVictim(lambda x: x), given)
    assert attacked.dtype == dtype
    moved = (attacked.float() - given.float()).abs()
    assert moved.max() <= epsilon_255 / 255 + 1e-7
    assert moved.mean() > 0.3 * epsilon_255 / 255
    assert attacked.min() >= 0
    assert attacked.max() <= 1


def test_a_mask_made_anew_does_not_change_what_runs_are_compared_by(
    make_student: Callable[..., EntropicStudent], images: Tensor
) -> None:
    victim = StudentVictim(make_student())
    once, anew = (
        RegionalPGD(EPSILON, steps=2, recompute=recompute).run(victim, images, health=True).health
        for recompute in (False, True)
    )
    assert torch.equal(once["objective_clean"], anew["objective_clean"])
