"""A network is not evaluated on, or trained for, classes that it does not know."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from entres.cli import main
from entres.data import DataError
from entres.data.checks import require_same_classes
from entres.models import EntropicStudent, StudentCard
from entres.stages.base import classes_of_teacher

TEN = [f"class{number}" for number in range(10)]


@pytest.mark.parametrize(
    ("known", "present"),
    [
        (None, ["a"]),
        (["a"], None),
        (["tench, Tinca tinca", "b"], ["Tench", "b, c"]),
        (["automobile", *TEN[1:]], ["car", *TEN[1:]]),
        (["n01440764", "n01443537"], ["tench", "goldfish"]),
    ],
)
def test_the_same_classes_may_have_other_names(
    known: list[str] | None, present: list[str] | None
) -> None:
    require_same_classes("it", known, present)


@pytest.mark.parametrize(
    ("known", "present", "what"),
    [
        (["a", "b", "d"], ["a", "c", "d"], "number 1 is 'b' there and 'c' here"),
        (["b", "a", *TEN[2:]], ["a", "b", *TEN[2:]], "number 0 is 'b' there and 'a' here"),
        (["a", "b"], ["a"], "number 1 is 'b' there and 'none' here"),
        (["n01440764", "n01443537"], ["n01440764", "n01484850"], "number 1 is 'n01443537'"),
    ],
)
def test_other_classes_are_refused(known: list[str], present: list[str], what: str) -> None:
    with pytest.raises(DataError, match=f"it knows other classes than the data have: {what}"):
        require_same_classes("it", known, present)


def write_images(folder: Path, classes: str) -> Path:
    pixels = np.random.default_rng(0)
    shutil.rmtree(folder, ignore_errors=True)
    for split in ("train", "val"):
        for name in classes:
            (folder / split / name).mkdir(parents=True)
            for number in range(4):
                image = Image.fromarray(pixels.integers(0, 256, (32, 32, 3), dtype=np.uint8))
                image.save(folder / split / name / f"{number}.png")
    return folder


def lines(stage: str, data: Path, out: Path) -> list[str]:
    return [
        *(f"--config=configs/stage/{stage}.yaml", "--data=configs/data/imagefolder.yaml"),
        *(f"--data.data_dir={data}", "--data.image_size=32", "--data.num_workers=0"),
        *("--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", f"--out={out}"),
    ]


@pytest.mark.usefixtures("at_the_root")
def test_a_folder_of_the_same_name_with_other_classes_is_none_that_is_known(
    tmp_path: Path, make_student: Callable[..., EntropicStudent]
) -> None:
    first, second = (
        write_images(tmp_path / name / "mine", classes)
        for name, classes in (("one", "ab"), ("two", "cd"))
    )
    out = tmp_path / "out"
    short = ["--data.batch_size=4", "--trainer.max_epochs=1"]
    main(["fit", *lines("teacher", first, out), *short])
    (teacher,) = out.glob("mine/*/teacher.safetensors")
    assert classes_of_teacher(teacher) == ("a", "b")
    distillation = ["--model.beta=0.08", f"--model.teacher_weights={teacher}", *short]
    sentence = r"teacher.safetensors knows other classes .* 'a' there and 'c' here"
    with pytest.raises(SystemExit, match=sentence):
        main(["fit", *lines("distilled", second, out), *distillation])

    student = make_student(num_classes=2)
    widths = student.codec.analysis_widths, student.codec.synthesis_widths
    card = StudentCard("test_resnet", "mshp", 0.08, "joint", 2, *widths, class_names=("a", "b"))
    student.save(tmp_path / "student.safetensors", card)
    evaluation = [f"--model.student={tmp_path / 'student.safetensors'}", "--data.resize=32"]
    main(["test", *lines("evaluation", first, out), *evaluation])
    sentence = r"student.safetensors knows other classes .* 'a' there and 'c' here"
    with pytest.raises(SystemExit, match=sentence):
        main(["test", *lines("evaluation", second, out), *evaluation])
