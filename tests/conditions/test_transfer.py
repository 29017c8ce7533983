"""Images attacked against one student, seen by another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from entres.cli import main
from entres.experiment.layout import weights_digest
from entres.models import EntropicStudent, StudentCard
from entres.records import read_records
from entres.results import Row, is_plain, read_summary

pytestmark = pytest.mark.usefixtures("at_the_root")


def saved(path: Path, student: EntropicStudent, codec: str, classes: int = 8) -> Path:
    widths = (student.codec.analysis_widths, student.codec.synthesis_widths)
    card = StudentCard("test_resnet", codec, 0.08, "joint", classes, *widths)
    student.save(path, card)
    return path


def evaluate(student: Path, out: Path, *words: str) -> list[Row]:
    line = ["test", "--config=configs/stage/evaluation.yaml", f"--model.student={student}"]
    line += ["--data=configs/data/adversarial.yaml", "--data.data.image_size=32"]
    line += ["--data.data.eval_limit_per_class=1", "--data.data.num_workers=0"]
    line += ["--data.attack=configs/attack/pgd_e.yaml", "--data.attack.steps=6"]
    line += ["--model.coding_workers=0", "--trainer.accelerator=cpu", f"--out={out}"]
    main([*line, *words])
    (path,) = out.glob("photos/*/eval/*/summary.json")
    return read_summary(path)


def test_the_other_student_is_attacked_and_this_one_evaluated(
    tmp_path: Path, make_student: Callable[..., EntropicStudent], capsys: pytest.CaptureFixture[str]
) -> None:
    own = saved(tmp_path / "own.safetensors", make_student("mshp"), "mshp")
    other = saved(tmp_path / "other.safetensors", make_student("mshp", seed=5), "mshp")
    rows = {
        name: evaluate(own, tmp_path / name, *words)
        for name, words in {
            "own": [],
            "same": [f"--data.victim={own}"],
            "other": [f"--data.victim={other}"],
        }.items()
    }
    assert [row.victim for row in rows["own"]] == [None, None]
    name = f"test_resnet-mshp-beta0.08-joint ({weights_digest(other)})"
    assert [row.victim for row in rows["other"]] == [None, name]
    # Of the student under test; made for itself by way of its file, it is the attack as ever.
    assert rows["same"][1].kib_mean == rows["own"][1].kib_mean
    kib = {key: [row.kib_mean for row in of] for key, of in rows.items()}
    assert kib["other"][0] == kib["own"][0]
    assert kib["other"][1] < kib["own"][1]
    assert rows["other"][1].label == f"pgd_e 8/255 (strong, 6 steps) made for {name}"
    assert f"made for {name}" in " ".join(capsys.readouterr().out.split())
    assert [is_plain(of[1]) for of in rows.values()] == [True, False, False]
    # One key more, and nothing else is new.
    (path,) = (tmp_path / "other").glob("photos/*/eval/*/records.csv")
    assert {record["victim"] for record in read_records(path)} == {"", name}
    assert (path.parent / "convergence.png").is_file()


def test_several_students_are_attacked_at_once(
    tmp_path: Path, make_student: Callable[..., EntropicStudent]
) -> None:
    own = saved(tmp_path / "own.safetensors", make_student("mshp"), "mshp")
    other = saved(tmp_path / "other.safetensors", make_student("mshp", seed=5), "mshp")
    rows = {
        name: evaluate(own, tmp_path / name, f"--data.victim={victims}")
        for name, victims in {"other": other, "both": f"[{own},{other}]"}.items()
    }
    name = "test_resnet-mshp-beta0.08-joint"
    made_for = f"{name} ({weights_digest(own)}) and {name} ({weights_digest(other)})"
    assert [row.victim for row in rows["both"]] == [None, made_for]
    assert rows["both"][1].label == f"pgd_e 8/255 (strong, 6 steps) made for {made_for}"
    # Better for this student than one that is made for the other alone.
    assert rows["both"][1].kib_mean > rows["other"][1].kib_mean > rows["both"][0].kib_mean
    # Relative to the clean images of each.
    assert rows["both"][1].extra["objective_clean"] == pytest.approx(1)
    assert rows["both"][1].extra["objective_end"] > 1


def test_what_cannot_be_transferred_is_a_sentence(
    tmp_path: Path, student_file: Path, make_student: Callable[..., EntropicStudent]
) -> None:
    fewer = saved(tmp_path / "fewer.safetensors", make_student("fp", num_classes=5), "fp", 5)
    with pytest.raises(SystemExit, match=r"^entres: the victim .* knows 5 classes, the student"):
        evaluate(student_file, tmp_path / "out", f"--data.victim={fewer}")
    with pytest.raises(SystemExit, match=r"^entres: the victim .*fewer.* knows 5 classes"):
        evaluate(student_file, tmp_path / "out", f"--data.victim=[{student_file},{fewer}]")
    with pytest.raises(SystemExit, match="victim must name each file once"):
        evaluate(student_file, tmp_path / "out", f"--data.victim=[{fewer},{fewer}]")
    with pytest.raises(SystemExit, match=r"^entres: .*nowhere.safetensors"):
        evaluate(student_file, tmp_path / "out", "--data.victim=nowhere.safetensors")
    fit = ["fit", "--config=configs/stage/joint.yaml", "--data=configs/data/adversarial.yaml"]
    fit += ["--data.attack=configs/attack/pgd_e.yaml", f"--data.victim={student_file}"]
    fit += ["--data.data.image_size=32", "--model.beta=0.08", f"--out={tmp_path}/fit"]
    fit += ["--trainer.accelerator=cpu", f"--model.student_weights={student_file}"]
    with pytest.raises(SystemExit, match="victim is for evaluations: a training attacks its own"):
        main(fit)
