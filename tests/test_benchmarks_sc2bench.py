"""What the benchmarks put beside sc2bench is the same student and the same objective."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from benchmarks import evaluation, sc2bench_package, training
from benchmarks.timing import memory_of
from entres.data import PhotosDataModule
from entres.models import EntropicStudent, load_student
from entres.records import read_records

MakeStudent = Callable[..., EntropicStudent]


@pytest.mark.sc2bench
@pytest.mark.parametrize("codec", ["fp", "mshp"])
def test_sizes_and_labels_of_the_package_are_ours(codec: str, make_student: MakeStudent) -> None:
    pytest.importorskip("sc2bench")
    student = make_student(codec)
    with torch.no_grad():  # a scale and a shift that would be missed
        student.codec.output_scale.mul_(1.5)
        student.codec.output_shift.add_(0.25)
    data = PhotosDataModule(image_size=64, eval_limit_per_class=2, num_workers=0)
    images = evaluation.images_of(data)
    found = sc2bench_package.evaluate(sc2bench_package.sc2bench_student(student), data.test_dataset)
    plan = student.codec.plan(student.normalize(images))
    sizes = student.codec.stream_sizes(plan).published
    labels = torch.tensor([int(data.test_dataset[i][1]) for i in range(len(images))])
    predicted = student.decode(student.encode(images)).argmax(1)
    assert len(sizes.unique()) > 5
    assert found.kib == pytest.approx(sizes.double().mean().item() / 1024, abs=1e-9)
    assert found.predictions == predicted.tolist()
    assert found.accuracy == (predicted == labels).double().mean().item()


@pytest.mark.sc2bench
@pytest.mark.parametrize("codec", ["fp", "mshp"])
def test_a_step_of_the_package_has_our_loss(codec: str, student_file: Path) -> None:
    pytest.importorskip("sc2bench")
    _, card = load_student(student_file)
    module = training.stage(card.__class__(**{**vars(card), "codec": codec}))
    with torch.no_grad():
        module.student.codec.g_a[-1].weight.mul_(20)  # type: ignore[operator, union-attr]
    (batch,) = training.batches_of(8, 64, 1)
    package = sc2bench_package.SC2BenchTraining(module.student, module.teacher, training.BETA)
    package.box.student_model.layer2.eval()  # it normalizes by the batch otherwise, as published
    theirs = package.step(batch.images, batch.labels)
    module.eval()
    with torch.no_grad():
        output = module.student(batch.images, "noise")
        distortion = module.distortion(output, module.teacher(batch.images)).sum()
        rate = training.BETA * module.rate(output).sum()
    assert rate > 0.01 * distortion  # or it would not show
    # The noise is another one.
    assert theirs == pytest.approx(float(distortion + rate), rel=0.02)
    # The step moved the codec, all of it, and nothing behind it.
    trained = package.box.student_model
    fresh = sc2bench_package.sc2bench_student(module.student, trained=False)
    for name, value in trained.named_parameters():
        moved = not torch.equal(value, fresh.get_parameter(name))
        assert moved == name.startswith("bottleneck_layer."), name


def test_without_the_package_its_absence_is_a_sentence(
    student_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(training, "is_installed", lambda: False)
    words = [str(student_file), "--batch=2", "--side=32", "--steps=2", "--repeats=1"]
    (table,) = training.main(words)
    assert list(table.seconds) == [training.OURS, training.FLOOR]
    assert table.floor == table.seconds[training.FLOOR] > 0
    assert "pip install sc2bench" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        training.main([*words, "--steps=1"])
    assert "steps >= 2" in capsys.readouterr().err


def test_what_both_evaluations_find_stands_in_a_sentence(
    student_file: Path, tmp_path: Path
) -> None:
    evaluation.evaluation(str(student_file), tmp_path, per_class=1, side=32)()
    records = read_records(tmp_path / "records.csv")
    sizes = [int(record["published_bytes"]) for record in records]
    labels = [int(record["prediction"]) for record in records]
    labels[3] += 1
    sentence = evaluation.agreement(sc2bench_package.Found(1.25, 0.5, labels), tmp_path)
    assert "sc2bench finds 1.2500 KiB" in sentence
    assert f"accounting {sum(sizes) / len(sizes) / 1024:.4f} KiB" in sentence
    assert sentence.endswith("the same label for 7 of 8 images")


def test_memory_is_that_of_each_way() -> None:
    held = memory_of(
        {"much": lambda: torch.ones(48 << 18).sum(), "little": lambda: torch.ones(1 << 18).sum()}
    )
    assert 40 < held["much"] < 60
    assert held["little"] < 12
