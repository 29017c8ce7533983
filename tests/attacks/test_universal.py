"""One perturbation for all images: what is learned helps on images that it has never seen."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from entres.attacks import (
    L2,
    ClassifierVictim,
    CrossEntropy,
    CrossEntropyAndRate,
    Perturbation,
    Rate,
    SignNoise,
    StudentVictim,
    Universal,
    UniversalLearner,
)
from entres.cli import main
from entres.conditions import AdversarialDataModule
from entres.data import PhotosDataModule
from entres.experiment.layout import weights_digest
from entres.models import EntropicStudent, load_student
from entres.results import read_summary

EPSILON = 8


def pictures(number: int, seed: int) -> Tensor:
    noise = torch.rand(number, 3, 5, 5, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(noise * 1.2 - 0.1, size=40, mode="bicubic").clamp(0, 1)


@pytest.mark.parametrize("norm", [None, L2()])
def test_of_a_linear_objective_the_best_perturbation_is_learned(norm: L2 | None) -> None:
    # Of labels from a linear network the best direction is known in closed form.
    weights = torch.randn(3 * 8 * 8, 2, generator=torch.Generator().manual_seed(0)) / 50

    def network(x: Tensor) -> Tensor:
        return x.flatten(1) @ weights

    images = 0.3 + 0.4 * torch.rand(16, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    labels = torch.zeros(16, dtype=torch.long)
    victim = ClassifierVictim(network)
    learner = UniversalLearner(victim, CrossEntropy(), (8, 8), 30, EPSILON, norm)
    for _ in range(30):
        learner.step(images, labels)
    up = (weights[:, 1] - weights[:, 0]).view(3, 8, 8)
    best = up.sign() if norm is None else up / up.square().mean().sqrt()
    torch.testing.assert_close(learner.values, best * EPSILON / 255, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("aim", ["size", "accuracy"])
def test_it_works_on_images_that_it_has_never_seen(
    aim: str, tmp_path: Path, make_student: Callable[..., EntropicStudent]
) -> None:
    student = make_student("mshp")
    victim = StudentVictim(student)
    training, test = pictures(16, 1), pictures(16, 2)

    def named(x: Tensor) -> Tensor:
        with torch.no_grad():
            return student(x).logits.argmax(1)

    learner = UniversalLearner(
        victim, Rate() if aim == "size" else CrossEntropy(), (40, 40), 24, EPSILON
    )
    before = [parameter.clone() for parameter in student.parameters()]
    for number in range(24):
        generator = torch.Generator().manual_seed(number)
        part = training[number % 2 * 8 :][:8]
        learner.step(part, named(part), generator)
    assert all(map(torch.equal, before, student.parameters()))
    assert all(parameter.grad is None for parameter in student.parameters())

    file = tmp_path / "learned.safetensors"
    Perturbation(learner.values, EPSILON, {"aim": aim}).write(file)
    attack = Universal(str(file), EPSILON)
    attacked, noisy = attack(victim, test), SignNoise(EPSILON)(victim, test)
    assert (attacked - test).abs().max() <= EPSILON / 255 + 1e-6
    assert attacked.min() >= 0
    assert attacked.max() <= 1
    # One and the same, wherever it does not lead out of the range.
    free = ((test > 0.05) & (test < 0.95)).all(0)
    same = (attacked - test)[:, free]
    assert (same - same[0]).abs().max() < 1e-6
    if aim == "size":
        sizes = [sum(map(len, student.encode(x))) for x in (attacked, noisy, test)]
        assert sizes[0] > max(sizes[1:])
    else:
        changed = [(named(x) != named(test)).sum() for x in (attacked, noisy)]
        assert changed[0] > changed[1]
    # At half of the radius it is half of it.
    half = attack.at(EPSILON / 2)(victim, test)
    torch.testing.assert_close((half - test)[:, free] * 2, same, rtol=0, atol=1e-6)


def test_what_is_no_such_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no universal perturbation"):
        Universal(str(tmp_path / "missing.safetensors"))
    (tmp_path / "text.safetensors").write_text("hello")
    with pytest.raises(ValueError, match="holds no universal perturbation"):
        Universal(str(tmp_path / "text.safetensors"))
    file = tmp_path / "flat.safetensors"
    Perturbation(torch.zeros(8, 8), 8, {}).write(file)
    with pytest.raises(ValueError, match="holds no perturbation of finite values and three"):
        Universal(str(file))
    for epsilon_255 in (0.0, -8.0, float("nan")):
        Perturbation(torch.zeros(3, 8, 8), epsilon_255, {}).write(file)
        with pytest.raises(ValueError, match=r"no universal perturbation \(learned at"):
            Universal(str(file))
    for notes in ("[]", "null", '{"epsilon_255": null}'):
        save_file({"perturbation": torch.zeros(3, 8, 8)}, file, {"perturbation": notes})
        with pytest.raises(ValueError, match="holds no universal perturbation"):
            Universal(str(file))
    file = tmp_path / "small.safetensors"
    Perturbation(torch.zeros(3, 8, 9), 8, {}).write(file)
    victim = ClassifierVictim(lambda x: x)
    with pytest.raises(ValueError, match="is for images of 8 x 9 px, got 8 x 8: learn one"):
        Universal(str(file))(victim, torch.rand(1, 3, 8, 8))
    with pytest.raises(ValueError, match="compares with clean images"):
        UniversalLearner(victim, CrossEntropyAndRate(), (8, 8), 2)
    with pytest.raises(ValueError, match="steps must be >= 1"):
        UniversalLearner(victim, Rate(), (8, 8), 0)
    learner = UniversalLearner(victim, Rate(), (8, 8), 1)
    with pytest.raises(ValueError, match=r"images must all be of \(8, 8\) px, got \(9, 9\)"):
        learner.step(torch.rand(1, 3, 9, 9), torch.tensor([0]))


def learning(student: Path, per_class: int = 1) -> list[str]:
    """A small learn-universal."""
    words = ["learn-universal", f"--student={student}", "--data.num_workers=0"]
    small = ["--data.image_size=32", f"--data.limit_per_class={per_class}", "--data.batch_size=8"]
    return [*words, *small]


@pytest.mark.usefixtures("at_the_root")
def test_the_verb_learns_goes_on_and_makes_an_attack(
    tmp_path: Path,
    student_file: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "mine.safetensors"
    words = learning(student_file, per_class=2)
    main([*words, f"--to={file}", "--passes=3"])
    printed = capsys.readouterr().out
    assert re.search(r"pass 3 of 3: \d+\.\d+ KiB", printed)
    whole = Perturbation.read(file)
    assert whole.values.shape == (3, 32, 32)
    assert whole.values.abs().max() <= 8 / 255 + 1e-7
    # Stopped after a pass and asked again, it comes out the same.
    Perturbation.write, write = _stops_after_one(Perturbation.write), Perturbation.write  # type: ignore[method-assign]
    other = tmp_path / "other.safetensors"
    try:
        with pytest.raises(KeyboardInterrupt):
            main([*words, f"--to={other}", "--passes=3"])
    finally:
        Perturbation.write = write  # type: ignore[method-assign]
    assert Perturbation.read(other).made["passes_done"] == 1
    main([*words, f"--to={other}", "--passes=3"])
    printed = capsys.readouterr().out
    assert "pass 2 of 3" in printed
    assert "pass 1 of 3" not in printed
    assert torch.equal(Perturbation.read(other).values, whole.values)
    with pytest.raises(SystemExit, match="was learned with another aim, epsilon_255: give another"):
        main([*words, f"--to={other}", "--passes=3", "--aim=accuracy", "--epsilon_255=4"])

    line = ["test", "--config=configs/stage/evaluation.yaml", f"--model.student={student_file}"]
    line += ["--data=configs/data/adversarial.yaml", "--data.data.image_size=32"]
    line += ["--data.data.eval_limit_per_class=1", "--data.data.num_workers=0"]
    line += [f"--data.attack=[{file.with_suffix('.yaml')}]", "--data.epsilons_255=[4,8]"]
    line += ["--data.preset=configs/preset/quick.yaml", f"--out={tmp_path}"]
    line += ["--model.coding_workers=0", "--trainer.accelerator=cpu"]
    main(line)
    (path,) = tmp_path.glob("photos/*/eval/*/summary.json")
    rows = read_summary(path)
    name = f"universal_size_8_{weights_digest(student_file)}"
    assert [(r.condition, r.epsilon_255) for r in rows[1:]] == [(name, 4), (name, 8)]


def test_the_file_is_called_after_aim_epsilon_and_student(
    tmp_path: Path, student_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.chdir(tmp_path)
    words = [*learning(student_file), "--passes=1"]
    whose = weights_digest(student_file)
    for aim, epsilon in (("size", "8"), ("accuracy", "8"), ("size", "0.5")):
        main([*words, f"--aim={aim}", f"--epsilon_255={epsilon}"])
        file = tmp_path / f"universal-{aim}-{epsilon}-{whose}.safetensors"
        assert Universal(str(file)).condition == f"universal_{aim}_{epsilon}_{whose}"
        assert file.name in file.with_suffix(".yaml").read_text()
    assert len(list(tmp_path.glob("universal-*.yaml"))) == 3
    # Two in one evaluation are two conditions.
    attacks = [Universal(str(file)) for file in tmp_path.glob("universal-*.safetensors")]
    data = AdversarialDataModule(PhotosDataModule(), [a.at(4) for a in attacks])
    assert len({condition.label for condition in data.conditions}) == 4
    # Made by hand, it says what is known.
    some = [torch.zeros(3, 4, 4), torch.ones(3, 4, 4)]
    names = [Perturbation(values, 2, {}).name for values in some]
    assert [bool(re.fullmatch(r"2_[0-9a-f]{6}", name)) for name in names] == [True, True]
    assert names[0] != names[1]


@pytest.mark.parametrize("aim", ["size", "accuracy"])
def test_one_for_several_students(
    aim: str,
    tmp_path: Path,
    make_student: Callable[..., EntropicStudent],
    student_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.chdir(tmp_path)
    other = tmp_path / "an other.safetensors"
    _, card = load_student(student_file)
    make_student("fp", seed=1).save(other, replace(card, codec="fp"))
    words = [*learning(student_file), "--passes=10"]
    main([*words, f"--aim={aim}", f"--also={other}"])
    unit = "times clean" if aim == "size" else "nats"
    assert re.search(rf"pass 10 of 10: \d\.\d+ {unit}", capsys.readouterr().out)
    whose = f"{weights_digest(student_file)}-{weights_digest(other)}"
    file = tmp_path / f"universal-{aim}-8-{whose}.safetensors"
    assert Universal(str(file)).condition == f"universal_{aim}_8_{whose}"
    main([*words, f"--aim={aim}"])
    alone = Perturbation.read(
        tmp_path / f"universal-{aim}-8-{weights_digest(student_file)}.safetensors"
    )
    assert not torch.equal(Perturbation.read(file).values, alone.values)  # the other one has a say
    if aim == "size":
        images = pictures(8, 3)[..., :32, :32]
        grown = []
        for each in (student_file, other):
            victim = StudentVictim(load_student(each)[0])
            attacked, clean = (
                victim.respond(victim.analyse(x), "round").bits.mean()
                for x in (Universal(str(file))(victim, images), images)
            )
            grown.append(attacked / clean)
        assert sum(grown) / 2 > 1.001
    copied = tmp_path / "copied.safetensors"
    copied.write_bytes(student_file.read_bytes())
    with pytest.raises(SystemExit, match="each student once"):
        main([*words, f"--aim={aim}", f"--also=[{copied}]"])


def _stops_after_one(write: Callable[..., None]) -> Callable[..., None]:
    def written(self: Perturbation, path: str | Path) -> None:
        write(self, path)
        raise KeyboardInterrupt

    return written


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("--aim=sise", "no aim 'sise': did you mean size"),
        ("--epsilon_255=0", r"epsilon_255 is a radius in 1/255, in \(0, 255\], got 0"),
        ("--passes=0", "passes must be >= 1, got 0"),
        ("--to=mine.npz", "to must end in .safetensors, got mine.npz"),
    ],
)
def test_wrong_words_are_sentences(word: str, sentence: str) -> None:
    with pytest.raises(SystemExit, match=f"^entres: .*{sentence}"):
        main(["learn-universal", word])
