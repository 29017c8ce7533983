"""One perturbation for several students at once: what it aims at, and that it pays."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from entres.attacks import (
    PGDE,
    AccuracyEnsemble,
    CrossEntropy,
    MaskedRate,
    OverStudents,
    PGDAcc,
    PGDJoint,
    Rate,
    RegionalPGD,
    SignNoise,
    Square,
    StudentVictim,
    StudentVictims,
    UniversalLearner,
)
from entres.conditions import AdversarialDataModule
from entres.data import PhotosDataModule
from entres.models import EntropicStudent

EPSILON = 8
Make = Callable[..., EntropicStudent]


@pytest.fixture(scope="module")
def photos() -> Tensor:
    data = PhotosDataModule(image_size=48, eval_limit_per_class=1, num_workers=0)
    data.setup("test")
    return torch.cat([batch.images for batch in data.test_dataloader()])[:6]


def bits(student: EntropicStudent, images: Tensor) -> Tensor:
    with torch.no_grad():
        return student(images, "round").bits


def gains(students: list[EntropicStudent], attacked: Tensor, images: Tensor) -> Tensor:
    """Mean over the students of the bits relative to the clean image, per image."""
    return torch.stack([bits(s, attacked) / bits(s, images) for s in students]).mean(0)


def test_no_attack_on_one_gains_as_much_over_both(make_student: Make, photos: Tensor) -> None:
    students = [make_student("mshp"), make_student("mshp", seed=5)]
    # One sends far less than the other, as of another beta: it must count as much.
    with torch.no_grad():
        students[1].codec.g_a[-1].weight.mul_(0.25)
    assert (2 * bits(students[1], photos) < bits(students[0], photos)).all()
    attack = PGDE(EPSILON, steps=40)
    shared = attack(StudentVictims(students), photos)
    assert (shared - photos).abs().max() <= EPSILON / 255 + 1e-6
    over_both = gains(students, shared, photos)
    for student in students:
        alone = gains(students, attack(StudentVictim(student), photos), photos)
        assert over_both.mean() > alone.mean()


def test_several_of_one_are_that_one(make_student: Make, photos: Tensor) -> None:
    student = make_student("mshp")
    attack = PGDE(EPSILON, steps=6)
    alone = attack.run(StudentVictim(student), photos, health=True)
    for students in ([student], [student, student]):
        several = attack.run(StudentVictims(students), photos, health=True)
        if len(students) == 1:  # twice the students, twice the noise that is drawn
            torch.testing.assert_close(several.images, alone.images, rtol=0, atol=1e-4)
        # Relative to the clean image, not bits.
        clean = bits(student, photos)
        ends = several.health["objective_end"]
        torch.testing.assert_close(ends, bits(student, several.images) / clean, rtol=1e-4, atol=0)
        torch.testing.assert_close(several.health["objective_clean"], torch.ones(len(photos)))


@pytest.mark.parametrize("objective", [Rate(), MaskedRate(), CrossEntropy()])
def test_the_objective_and_its_gradient_are_means_over_the_students(
    objective: Rate | MaskedRate | CrossEntropy, make_student: Make, photos: Tensor
) -> None:
    students = [make_student("mshp"), make_student("fp", seed=5), make_student("mshp", seed=2)]
    labels = students[0](photos).logits.argmax(1)
    together = StudentVictims(students)
    with torch.no_grad():
        clean = together.respond(together.analyse(photos), "round")
    shared = OverStudents(objective, clean)
    moved = (photos + 0.03 * torch.randn(photos.shape)).clamp(0, 1)
    x = moved.clone().requires_grad_()
    value = shared(together.respond(together.analyse(x), "straight_through"), labels, clean)
    (gradient,) = torch.autograd.grad(value.sum(), x)

    expected = torch.zeros(len(photos))
    at = torch.zeros_like(photos)
    for student in students:
        victim = StudentVictim(student)
        with torch.no_grad():
            own = victim.respond(victim.analyse(photos), "round")
        x = moved.clone().requires_grad_()
        of_one = objective(victim.respond(victim.analyse(x), "straight_through"), labels, own)
        if not isinstance(objective, CrossEntropy):
            of_one = of_one / objective(own, labels, own).detach()
        expected += of_one.detach() / 3
        at += torch.autograd.grad(of_one.sum(), x)[0] / 3
    torch.testing.assert_close(value.detach(), expected, rtol=1e-4, atol=1e-5)
    assert (gradient - at).norm() < 1e-3 * at.norm()


@pytest.mark.parametrize("objective", [Rate, MaskedRate])
def test_clean_bits_are_counted_once_for_each_choice_of_latents(
    objective: type[Rate | MaskedRate], make_student: Make, photos: Tensor
) -> None:
    evaluations: list[tuple[str, ...]] = []

    class Counting(objective):  # type: ignore[misc, valid-type]
        def __call__(self, response, labels, reference):  # type: ignore[no-untyped-def]
            evaluations.append(tuple(response.likelihoods))
            return super().__call__(response, labels, reference)

    students = [make_student("mshp"), make_student("fp", seed=5)]
    together = StudentVictims(students)
    with torch.no_grad():
        clean = together.respond(together.analyse(photos), "round")
    shared, moved = OverStudents(Counting(), clean), (photos + 0.03).clamp(0, 1)
    response = together.respond(together.analyse(moved), "straight_through")
    values = []
    for names in (None, ("y",)) * 3:
        seen = response.only(names)
        values.append(shared(seen, None, clean))
        # As of one that has counted nothing yet.
        assert torch.equal(values[-1], OverStudents(objective(), clean)(seen, None, clean))
    assert not torch.equal(values[0], values[1])
    # One of each student at every step, and the clean ones: y and z, y alone, and y of fp.
    assert len(evaluations) == 3 * 2 * 2 + 3


def test_an_image_is_lost_when_every_student_has_lost_it(
    make_student: Make, photos: Tensor
) -> None:
    students = [make_student("fp"), make_student("fp", seed=5)]
    together = StudentVictims(students)
    with torch.no_grad():
        named = [student(photos).logits.argmax(1) for student in students]
        clean = together.respond(together.analyse(photos), "round")
    shared = OverStudents(CrossEntropy(), clean)
    for labels in (*named, (named[0] + 1) % 8):
        lost = (named[0] != labels) & (named[1] != labels)
        assert torch.equal(shared.reached(clean, labels), lost)


def test_attacks_on_the_accuracy_hurt_all_of_them(make_student: Make, photos: Tensor) -> None:
    students, photos = [make_student("fp"), make_student("fp", seed=5)], photos[:3]
    labels = students[0](photos).logits.argmax(1)

    def hurt(attacked: Tensor, by: str) -> float:
        """Mean over students and images of the cross-entropy, or of the gap to the label."""
        values = []
        for student in students:
            with torch.no_grad():
                logits = student(attacked).logits
            at_label = logits.gather(1, labels[:, None])[:, 0]
            others = logits.scatter(1, labels[:, None], -torch.inf)
            nats = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
            values.append(nats if by == "nats" else others.amax(1) - at_label)
        return torch.stack(values).mean().item()

    for attack, by in (
        (PGDAcc(EPSILON, steps=10), "nats"),
        (AccuracyEnsemble(EPSILON, steps=10, targets=1), "gap"),
    ):
        shared = hurt(attack(StudentVictims(students), photos, labels), by)
        alone = [hurt(attack(StudentVictim(s), photos, labels), by) for s in students]
        assert shared > max(alone) > hurt(photos, by)


def test_other_attacks_take_several_and_square_says_that_it_does_not(
    make_student: Make, photos: Tensor
) -> None:
    students = [make_student("mshp"), make_student("fp", seed=5)]
    together, few = StudentVictims(students), photos[:3]
    labels = students[0](few).logits.argmax(1)
    for attack in (RegionalPGD(EPSILON, 6, recompute=True), PGDJoint(EPSILON, 6)):
        attacked = attack(together, few, labels)
        assert (gains(students, attacked, few) > 1).all()
    learner = UniversalLearner(together, Rate(), (48, 48), 8, EPSILON)
    means = [learner.step(photos, photos.new_zeros(6).long()) for _ in range(8)]
    # Relative to the clean images, and rising.
    assert means[0] == pytest.approx(1, abs=0.2)
    learned = (photos + learner.values).clamp(0, 1)
    assert (gains(students, learned, photos) > 1).all()
    with pytest.raises(ValueError, match="which StudentVictims does not make: attack one"):
        Square(EPSILON, queries=1)(together, few)
    with pytest.raises(ValueError, match="have no logits in common"):
        _ = together.respond(together.analyse(few), "round").logits
    with pytest.raises(ValueError, match="at least one student"):
        StudentVictims([])


def test_modes_and_gradients_stay_as_they_were(make_student: Make, photos: Tensor) -> None:
    students = [make_student("mshp"), make_student("fp", seed=5).train()]
    before = [p.clone() for student in students for p in student.parameters()]
    PGDAcc(EPSILON, steps=2)(StudentVictims(students), photos[:2], torch.tensor([0, 1]))
    assert all(map(torch.equal, before, (p for s in students for p in s.parameters())))
    assert all(p.grad is None and p.requires_grad for s in students for p in s.parameters())
    assert [student.tail.training for student in students] == [False, True]


def test_a_file_that_is_named_twice_is_a_sentence() -> None:
    with pytest.raises(ValueError, match=r"victim must name each file once, got a\.x, a\.x"):
        AdversarialDataModule(PhotosDataModule(), SignNoise(), victim=["a.x", "a.x"])
