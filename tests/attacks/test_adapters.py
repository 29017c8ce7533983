"""Students in the hands of other libraries: their attacks see the gradient that ours see."""

from __future__ import annotations

import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from entres.attacks import LogitsModule, StudentVictim
from entres.defenses import JPEG, DefendedStudent, MaskedChambolle
from entres.models import EntropicStudent

ROOT = Path(__file__).parents[2]
EPSILON = 8 / 255


@pytest.fixture
def images() -> Tensor:
    noise = torch.rand(8, 3, 5, 5, generator=torch.Generator().manual_seed(1))
    return torch.nn.functional.interpolate(noise * 1.2 - 0.1, size=40, mode="bicubic").clamp(0, 1)


def gradient_of(logits: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor) -> Tensor:
    x = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(cross_entropy(logits(x), labels, reduction="sum"), x)
    return gradient


@pytest.mark.parametrize("codec", ["fp", "mshp"])
def test_a_student_as_it_is_called_has_a_gradient_and_the_values_of_what_travels(
    codec: str, images: Tensor, make_student: Callable[..., EntropicStudent]
) -> None:
    student = make_student(codec)
    labels = student(images).logits.argmax(1)
    gradients = []
    for training in (False, True):
        student.train(training)
        student.tail.eval()  # of batch normalization, which is no part of the question
        as_called, rounded = student(images), student(images, "round")
        assert torch.equal(as_called.logits, rounded.logits)
        assert torch.equal(as_called.bits, rounded.bits)
        assert all(map(torch.equal, as_called.features, rounded.features))
        gradients.append(gradient_of(lambda x: student(x).logits, images, labels))
    assert (gradients[0].flatten(1).abs().amax(1) > 0).all()
    assert torch.equal(gradients[0], gradients[1])
    student.eval()
    assert torch.equal(student.decode(student.encode(images)), student(images).logits)
    # And none where it is asked for by name (but through the means, which are not rounded).
    if codec == "fp":
        hidden = gradient_of(lambda x: student(x, "round").logits, images, labels)
        assert not hidden.any()


@pytest.mark.parametrize("defended", [False, True])
def test_its_gradient_is_that_of_our_attacks(
    defended: bool, images: Tensor, make_student: Callable[..., EntropicStudent]
) -> None:
    student = make_student()
    if defended:
        student = DefendedStudent(student, MaskedChambolle(0.05, steps=5))
    model, victim = LogitsModule(student), StudentVictim(student)
    labels = model(images).argmax(1)
    assert torch.equal(model(images), student(images, "round").logits)
    ours = gradient_of(
        lambda x: victim.respond(victim.analyse(x), "straight_through").logits, images, labels
    )
    theirs = gradient_of(model, images, labels)
    assert theirs.flatten(1).any(1).all()
    torch.testing.assert_close(theirs, ours)


def test_the_student_stays_as_it_was(
    images: Tensor, make_student: Callable[..., EntropicStudent]
) -> None:
    student = make_student()
    student.tail.train()
    student.codec.g_a[0].weight.requires_grad_(False)
    before = [module.training for module in student.modules()]
    wanted = [parameter.requires_grad for parameter in student.parameters()]
    state = {key: value.clone() for key, value in student.state_dict().items()}
    model = LogitsModule(student)
    assert not model.eval().train().training
    x = images.clone().requires_grad_()
    cross_entropy(model(x), torch.zeros(8, dtype=torch.long)).backward()
    assert x.grad is not None
    assert x.grad.any()
    assert [module.training for module in student.modules()] == before
    assert [parameter.requires_grad for parameter in student.parameters()] == wanted
    assert all(parameter.grad is None for parameter in student.parameters())
    assert all(torch.equal(value, state[key]) for key, value in student.state_dict().items())


def test_a_hidden_gradient_is_refused(
    images: Tensor, make_student: Callable[..., EntropicStudent]
) -> None:
    student = make_student()
    with pytest.raises(ValueError, match="which have a gradient, got 'round'"):
        LogitsModule(student, "round")  # type: ignore[arg-type]
    model = LogitsModule(DefendedStudent(student, JPEG(30)))
    with pytest.raises(ValueError, match="attack it through bpda"):
        model(images.clone().requires_grad_())


def attacked_by(library: str, model: LogitsModule, images: Tensor, labels: Tensor) -> Tensor:
    if library == "foolbox":
        foolbox = pytest.importorskip("foolbox")
        attack = foolbox.attacks.LinfPGD(steps=10, random_start=False)
        bounded = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
        attacked: Tensor = attack(bounded, images, labels, epsilons=EPSILON)[0]
        return attacked
    torchattacks = pytest.importorskip("torchattacks")
    attack = torchattacks.PGD(model, eps=EPSILON, alpha=EPSILON / 4, steps=10, random_start=False)
    attacked = attack(images, labels)
    return attacked


@pytest.mark.parametrize("library", ["foolbox", "torchattacks"])
@pytest.mark.parametrize("defended", [False, True])
def test_their_attacks_succeed(
    library: str, defended: bool, images: Tensor, make_student: Callable[..., EntropicStudent]
) -> None:
    student: Any = make_student()
    if defended:
        student = DefendedStudent(student, MaskedChambolle(0.02, steps=5))
    model = LogitsModule(student)
    labels = model(images).argmax(1)
    attacked = attacked_by(library, model, images, labels)
    assert ((attacked - images).abs() <= EPSILON + 1e-6).all()
    signs = torch.rand(images.shape, generator=torch.Generator().manual_seed(0)).sub(0.5).sign()
    noisy = (images + EPSILON * signs).clamp(0, 1)
    loss, beside, clean = (
        cross_entropy(model(x), labels).item() for x in (attacked, noisy, images)
    )
    assert loss - clean > 5 * abs(beside - clean)
    # What they find holds for the bytes.
    right = student.decode(student.encode(attacked)).argmax(1) == labels
    assert not right.all()
    assert all(parameter.grad is None for parameter in student.parameters())


@pytest.mark.slow
def test_the_documented_example_runs_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("foolbox")
    found = re.search(
        r"^```python\n(# with_foolbox\.py\n.*?)^```$",
        (ROOT / "docs" / "attacks.md").read_text(),
        re.MULTILINE | re.DOTALL,
    )
    assert found is not None
    (tmp_path / "with_foolbox.py").write_text(found[1])
    (tmp_path / "zoo").symlink_to(ROOT / "zoo")
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    runpy.run_path("with_foolbox.py", run_name="__main__")
    assert "still right: [" in capsys.readouterr().out
