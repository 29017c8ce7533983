"""Attacks that know of the cap: what they see is what is sent, and accuracy is all that is left."""

from __future__ import annotations

import csv
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from entres.attacks import PGDE, QUICK, Attack, PGDAcc, PGDJoint, StudentVictim
from entres.bitstream import KIB
from entres.cli import main
from entres.defenses import Budget, DefendedStudent, Through
from entres.functional import bits_from_likelihoods
from entres.models import EntropicStudent, NoisePerImage
from entres.results import read_summary

CODECS = ["fp", "mshp"]
MakeStudent = Callable[..., EntropicStudent]


@pytest.fixture
def images(make_waves: Callable[..., Tensor]) -> Tensor:
    return make_waves(6)


def sizes(student: EntropicStudent, images: Tensor) -> list[int]:
    return [len(stream) for stream in student.encode(images)]


@pytest.mark.parametrize("tight", [False, True])
@pytest.mark.parametrize("codec", CODECS)
def test_what_an_attack_sees_is_what_is_decoded(
    codec: str,
    tight: bool,
    images: Tensor,
    make_student: MakeStudent,
    smallest_budget: Callable[[EntropicStudent, Tensor], int],
) -> None:
    student = make_student(codec)
    if codec == "mshp":  # a hyper-latent that is not cheap
        with torch.no_grad():
            student.codec.h_a[-1].weight.mul_(4)  # type: ignore[union-attr, operator]
    plain = sizes(student, images)
    budget = smallest_budget(student, images) if tight else sorted(plain)[2]
    capped = DefendedStudent(student, Budget(budget / KIB), "bpda")
    streams = capped.encode(images)
    assert max(map(len, streams)) <= budget < max(plain)
    victim = StudentVictim(capped)
    plan = capped.plan(capped.normalize(images))
    unlimited = student.codec.plan(capped.normalize(images))
    # Of the hyper-latent too, where it alone would be too large.
    assert (plan.values[-1] != unlimited.values[-1]).any() == (tight or codec == "fp")
    with torch.no_grad():
        for quantization in ("round", "straight_through"):
            response = victim.respond(victim.analyse(images), quantization)
            torch.testing.assert_close(
                response.logits, student.decode(streams), rtol=1e-4, atol=1e-4
            )
            bits = bits_from_likelihoods(student.codec.likelihoods(plan).values())
            torch.testing.assert_close(response.bits, bits, rtol=1e-4, atol=1e-2)
            # The student that libraries of attacks are given is the same one.
            torch.testing.assert_close(capped(images, quantization).logits, response.logits)
        open_bits = StudentVictim(student).respond(victim.analyse(images), "round").bits
    touched = (plan.values[0] != unlimited.values[0]).flatten(1).any(1)
    assert touched.any()
    assert (bits[touched] < open_bits[touched]).all()
    torch.testing.assert_close(bits[~touched], open_bits[~touched], rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("quantization", ["straight_through", "noise"])
@pytest.mark.parametrize("codec", CODECS)
def test_the_gradient_passes_as_if_nothing_had_been_replaced(
    codec: str, quantization: str, images: Tensor, make_student: MakeStudent
) -> None:
    student = make_student(codec)
    budget = Budget(sorted(sizes(student, images))[1] / KIB)
    limit = partial(budget.limit, student.codec)
    with torch.no_grad():
        latent = student.codec.analyse(student.normalize(images))
    weights = torch.randn(latent.shape, generator=torch.Generator().manual_seed(1))
    found = {}
    for name, given in (("capped", limit), ("open", None)):
        y = latent.clone().requires_grad_()
        noise = NoisePerImage(0, torch.arange(6))
        y_hat, likelihoods = student.codec.latents(y, quantization, noise, limit=given)  # type: ignore[arg-type]
        bits = bits_from_likelihoods(likelihoods.values()).sum()
        grads = [
            torch.autograd.grad(value, y, retain_graph=True)[0]
            for value in ((y_hat * weights).sum(), bits)
        ]
        found[name] = (y_hat.detach(), *grads)
    changed = found["capped"][0] != found["open"][0]
    assert changed.any()
    assert not changed.all()
    # Of any function of what is sent the gradient is taken there, and passed on unchanged.
    assert torch.equal(found["capped"][1], found["open"][1])
    if codec == "fp":
        assert torch.equal(found["capped"][2][~changed], found["open"][2][~changed])
        assert not torch.equal(found["capped"][2][changed], found["open"][2][changed])


@pytest.mark.parametrize("through", ["unrolled", "bpda"])
@pytest.mark.parametrize("make", [PGDAcc, PGDE, PGDJoint])
@pytest.mark.parametrize("codec", CODECS)
def test_no_attack_passes_the_cap_and_accuracy_is_what_it_costs(
    codec: str,
    make: type[PGDAcc | PGDE | PGDJoint],
    through: Through,
    images: Tensor,
    make_student: MakeStudent,
) -> None:
    student = make_student(codec)
    budget = sorted(sizes(student, images))[3]
    capped = DefendedStudent(student, Budget(budget / KIB), through)
    with torch.no_grad():
        labels = capped(images, "round").logits.argmax(1)

    def right(attacked: Tensor) -> int:
        streams = capped.encode(attacked)
        assert max(map(len, streams)) <= budget
        assert torch.equal(
            StudentVictim(capped).stream_bytes(attacked), torch.tensor([*map(len, streams)])
        )
        return int((student.decode(streams).argmax(1) == labels).sum())

    noise = partial(NoisePerImage, 0, torch.arange(6))
    attack: Attack = make(2, steps=4)
    oblivious = attack(StudentVictim(student), images, labels, noise())
    assert max(sizes(student, oblivious)) > budget
    knowing = attack.starting_at(oblivious)(StudentVictim(capped), images, labels, noise())
    assert (knowing - images).abs().max() <= 2 / 255 + 1e-6
    costs = right(oblivious), right(knowing)
    if make is PGDAcc:
        assert costs[1] <= costs[0] < len(images)


def test_an_attack_through_the_cap_finds_more_than_one_that_does_not_know_it(
    images: Tensor, make_student: MakeStudent
) -> None:
    student = make_student("mshp")
    capped = DefendedStudent(student, Budget(sorted(sizes(student, images))[0] / KIB), "bpda")
    with torch.no_grad():
        labels = capped(images, "round").logits.argmax(1)

    def loss(attacked: Tensor) -> float:
        logits = student.decode(capped.encode(attacked))
        return float(torch.nn.functional.cross_entropy(logits, labels))

    attack = PGDAcc(1, steps=8, preset=QUICK)
    oblivious = attack(StudentVictim(student), images, labels)
    knowing = attack(StudentVictim(capped), images, labels)
    assert loss(knowing) > loss(oblivious) > loss(images)


@pytest.mark.usefixtures("at_the_root")
def test_through_the_cap_on_the_command_line(tmp_path: Path, student_file: Path) -> None:
    words = [
        "test",
        "--config=configs/stage/evaluation.yaml",
        f"--model.student={student_file}",
        "--model.coding_workers=0",
        "--model.verify_every=1",
        "--trainer.accelerator=cpu",
        "--trainer.enable_progress_bar=false",
        "--data=configs/data/adversarial.yaml",
        *(f"--data.data.{w}" for w in ("image_size=32", "eval_limit_per_class=1", "num_workers=0")),
        "--data.attack=configs/attack/pgd_acc.yaml",
        "--data.attack.steps=3",
        "--data.attack.epsilon_255=4",
        "--data.through=[oblivious,unrolled,bpda]",
        f"--out={tmp_path}",
    ]
    main([*words, "--budget_kib=0.4"])
    (folder,) = tmp_path.glob("photos/*/eval/*")
    rows = [row for row in read_summary(folder / "summary.json") if row.defense == "budget"]
    assert [(row.condition, row.through) for row in rows] == [
        ("clean", None),
        *(("pgd_acc", way) for way in (None, "unrolled", "bpda")),
    ]
    with (folder / "records.csv").open() as file:
        lines = list(csv.DictReader(file))
    largest = {bool(line["defense"]): 0 for line in lines}
    for line in lines:
        largest[bool(line["defense"])] = max(largest[bool(line["defense"])], int(line["bytes"]))
    assert largest[True] <= int(0.4 * KIB) < largest[False]
    accuracy = {row.through: row.accuracy for row in rows if row.condition == "pgd_acc"}
    assert accuracy["bpda"] <= accuracy[None]
    assert accuracy["unrolled"] <= accuracy[None]
    two = ["--budget_kib=0.4", "--defense=configs/defense/gaussian_blur.yaml"]
    with pytest.raises(SystemExit, match=r"got 2 \(gaussian_blur, budget\)"):
        main([*words, *two, "--model.evaluation=two"])
