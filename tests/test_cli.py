"""The real command line, on tiny parts of the embedded photos."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny import CONFIGS, STUDENT, TEACHER, TINY, fit, start

import entres.lightning_cli  # noqa: F401  # Lightning logs to the stream of its import
from entres.cli import main
from entres.models import load_student
from entres.results import read_summary

pytestmark = pytest.mark.usefixtures("at_the_root")


def chain(out: Path, recipe: str) -> Path:
    """Teacher, distillation, fine-tuning: the file of the student."""
    main(fit("teacher", out))
    teacher = f"--model.teacher_weights={out}/{TEACHER}/teacher.safetensors"
    main(fit("distilled", out, teacher, "--model.beta=0.08"))
    start = f"--model.student_weights={out / STUDENT.format('distilled')}/student.safetensors"
    main(fit(recipe, out, teacher, start, "--model.beta=0.08"))
    return out / STUDENT.format(recipe) / "student.safetensors"


@pytest.mark.parametrize("recipe", ["joint", "frozen-encoder"])
def test_from_photos_to_results(
    recipe: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = chain(tmp_path, recipe)
    student, card = load_student(path)
    assert card.recipe == recipe
    words = ["test", "--config=configs/stage/evaluation.yaml", *TINY, f"--out={tmp_path}"]
    main(
        [*words, f"--model.student={path}", "--model.coding_workers=1", "--model.with_teacher=true"]
    )
    folder = path.parent / "eval" / "clean"
    (row,) = read_summary(folder / "summary.json")
    assert (row.student, row.images) == (card.name, 16)
    assert row.kib_mean is not None
    assert row.kib_mean > 0
    assert row.teacher_accuracy is not None
    assert 0 < row.extra["feature_error"] < 2  # tiny students have learned next to nothing
    printed = capsys.readouterr().out
    assert str(folder / "records.csv") in printed

    main(["results", f"--out={tmp_path}"])
    assert f"{row.kib_mean:.2f}" in capsys.readouterr().out
    curves = (path.parent / "logs" / "version_0" / "metrics.csv").read_text().splitlines()[0]
    wanted = {"train/loss_step", "train/loss_epoch", "train/bits_step", "train/kib_epoch"}
    wanted |= {"train/distortion_step", "train/accuracy_step", "val/kib", "val/accuracy"}
    assert wanted <= set(curves.split(","))
    assert any(name.startswith("lr-") for name in curves.split(","))
    assert student.tail.model.num_classes == 8


BACKBONES = sorted(p.stem for p in (CONFIGS / "backbone").glob("*.yaml"))
COMBINATIONS = [("distilled", b, c) for b in BACKBONES for c in ("fp", "mshp")]
COMBINATIONS += [("joint", "resnet50", "mshp"), ("frozen-encoder", "regnety_064", "fp")]


@pytest.mark.parametrize(("stage", "backbone", "codec"), COMBINATIONS)
def test_configs_fit_together(
    stage: str, backbone: str, codec: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["fit", f"--config=configs/stage/{stage}.yaml"]
    words += [f"--config=configs/backbone/{backbone}.yaml"]
    words += [f"--config=configs/codec/{codec}.yaml", "--data=configs/data/photos.yaml"]
    with pytest.raises(SystemExit) as stop:
        main([*words, "--model.beta=0.32", "--print_config"])
    assert not stop.value.code
    printed = capsys.readouterr().out
    name = {"fp": "FactorizedPrior", "mshp": "MeanScaleHyperprior"}[codec]
    assert f"class_path: entres.models.{name}" in printed
    assert f"backbone: {backbone}" in printed
    assert "beta: 0.32" in printed


@pytest.mark.parametrize("path", sorted((CONFIGS / "data").glob("*.yaml")), ids=lambda p: p.stem)
def test_data_configs_are_taken(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["test", "--config=configs/stage/evaluation.yaml", f"--data={path}"]
    more = {"photos": [], "corrupted": []}
    more["adversarial"] = ["--data.attack=configs/attack/pgd_e.yaml"]
    more["huggingface"] = ["--data.path=/nowhere"]
    folder = more.get(path.stem, ["--data.data_dir=/nowhere"])
    with pytest.raises(SystemExit) as stop:
        main([*words, *folder, "--model.student=none", "--print_config"])
    assert not stop.value.code
    room = "conditions" if path.stem in ("adversarial", "corrupted") else "data"
    assert f"class_path: entres.{room}." in capsys.readouterr().out


def test_a_finished_run_is_compared_with_what_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(fit("teacher", tmp_path))
    result = tmp_path / TEACHER / "teacher.safetensors"
    written, logs = result.stat().st_mtime_ns, result.parent / "logs"
    # Neither how it is watched nor where it is written changes what was trained.
    main(fit("teacher", tmp_path, "--data.num_workers=1", "--trainer.log_every_n_steps=5"))
    assert f"finished already: {result}" in capsys.readouterr().out
    assert (result.stat().st_mtime_ns, len(list(logs.iterdir()))) == (written, 1)
    differ = r"model.label_smoothing: 0.1 there, 0.2 now; data.batch_size: 8 there, 4 now\)"
    with pytest.raises(SystemExit, match=differ):
        main(fit("teacher", tmp_path, "--data.batch_size=4", "--model.label_smoothing=0.2"))
    with pytest.raises(SystemExit, match=r"\(trainer.max_epochs: 1 there, 2 now\)"):
        main(fit("teacher", tmp_path, epochs=2))
    # Weights that were put there are nobody's run.
    (result.parent / "asked.json").unlink()
    main(fit("teacher", tmp_path, epochs=2))
    assert result.stat().st_mtime_ns == written


def test_other_settings_are_refused_in_the_middle_of_a_run_too(tmp_path: Path) -> None:
    main(fit("teacher", tmp_path))
    (tmp_path / TEACHER / "teacher.safetensors").unlink()
    with pytest.raises(SystemExit, match=r"other settings \(data.batch_size: 8 there, 4 now; tr"):
        main(fit("teacher", tmp_path, "--data.batch_size=4", epochs=2))


def test_a_run_does_without_loggers(tmp_path: Path) -> None:
    main(fit("teacher", tmp_path, "--trainer.logger=false"))
    assert (tmp_path / TEACHER / "teacher.safetensors").is_file()
    assert not (tmp_path / TEACHER / "logs").exists()
    with pytest.raises(SystemExit, match=r"max_epochs: 1 there, 2 now"):
        main(fit("teacher", tmp_path, epochs=2))


@pytest.mark.parametrize(
    "flag", ["--model.optimizer.init_args.lr=1000000", "--trainer.precision=16-true"]
)
def test_a_run_that_diverges_leaves_no_result(flag: str, tmp_path: Path) -> None:
    # argmax of NaN is class 0: it would have ended with an accuracy, and a file.
    with pytest.raises(SystemExit, match=r"^entres: the loss is not finite at step \d+: the train"):
        main(fit("teacher", tmp_path, flag, epochs=2))
    assert not list(tmp_path.glob("**/*.safetensors"))


def test_weights_that_are_not_finite_replace_no_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The last step of an epoch ruins them, and no validation comes before the checkpoint.
    step = torch.optim.AdamW.step
    steps = []

    def ruin(self: torch.optim.AdamW, *arguments: Any, **more: Any) -> Any:
        loss = step(self, *arguments, **more)
        steps.append(loss)
        if len(steps) == 16:
            with torch.no_grad():
                self.param_groups[0]["params"][0].fill_(float("inf"))
        return loss

    words = ["--trainer.limit_val_batches=0", "--trainer.limit_train_batches=8"]
    monkeypatch.setattr(torch.optim.AdamW, "step", ruin)
    with pytest.raises(SystemExit, match=r"the weight .* is not finite at step 16"):
        main(fit("teacher", tmp_path, *words, epochs=2))
    last = torch.load(tmp_path / TEACHER / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["global_step"] == 8
    assert all(value.isfinite().all() for value in last["state_dict"].values())
    assert not list(tmp_path.glob("**/*.safetensors"))


def test_a_student_whose_weights_are_not_finite_is_refused(
    tmp_path: Path, student_file: Path
) -> None:
    with safe_open(student_file, "pt") as file:
        metadata = file.metadata()
    state = load_file(student_file)
    state["tail.model.fc.bias"][3] = float("nan")
    save_file(state, student_file, metadata=metadata)
    refused = "values that are not finite, first in tail.model.fc.bias"
    words = ["test", "--config=configs/stage/evaluation.yaml", *TINY, f"--out={tmp_path}"]
    with pytest.raises(SystemExit, match=refused):
        main([*words, f"--model.student={student_file}"])
    start = f"--model.student_weights={student_file}"
    with pytest.raises(SystemExit, match=refused):
        main(fit("joint", tmp_path, start, "--model.beta=0.08"))


def test_a_trial_of_one_batch_is_no_result(tmp_path: Path) -> None:
    main(fit("teacher", tmp_path, "--trainer.fast_dev_run=true"))
    assert not list(tmp_path.glob("**/teacher.safetensors"))


def test_a_student_trained_on_attacks_is_known_again(
    tmp_path: Path, student_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = [word.replace("--data.", "--data.data.") for word in TINY[1:]]
    words = ["fit", "--config=configs/stage/joint.yaml", "--data=configs/data/adversarial.yaml"]
    words += ["--data.data=configs/data/photos.yaml", *tiny, "--trainer.max_epochs=1"]
    words += ["--data.attack=[configs/attack/noise.yaml,configs/attack/pgd_e.yaml]"]
    words += [f"--model.student_weights={student_file}", "--model.beta=0.08", f"--out={tmp_path}"]
    main(words)
    main([*words, "--data.clean=false"])
    assert "finished already" in capsys.readouterr().out
    preset = "--data.preset=configs/preset/published.yaml"
    with pytest.raises(SystemExit, match=r"\(data.preset: null there, published now\)"):
        main([*words, preset])


def test_a_finished_evaluation_is_kept_where_that_is_wanted(
    tmp_path: Path, student_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    denoiser = tmp_path / "denoiser.yaml"
    denoiser.write_text("class_path: entres.defenses.GaussianBlur\n")
    words = ["test", "--config=configs/stage/evaluation.yaml", f"--model.student={student_file}"]
    words += ["--data=configs/data/photos.yaml", "--data.num_workers=0"]
    words += ["--data.eval_limit_per_class=1", f"--defense={denoiser}", f"--out={tmp_path}/runs"]
    words += ["--trainer.enable_progress_bar=false", "--keep_finished=true"]

    def is_kept() -> bool:
        capsys.readouterr()
        main(words)
        return "finished already" in capsys.readouterr().out

    assert not is_kept()
    assert is_kept()
    (records,) = tmp_path.rglob("records.csv")
    records.unlink()
    assert not is_kept()
    # The same line, but another file under the same name.
    denoiser.write_text("class_path: entres.defenses.GaussianBlur\ninit_args: {strength: 2}\n")
    with pytest.raises(SystemExit, match=r"holds an evaluation of \d+ images with other settings"):
        main(words)
    denoiser.write_text("class_path: entres.defenses.GaussianBlur\n")
    assert is_kept()
    # Results of other weights are not this student's.
    summary = records.with_name("summary.json")
    summary.write_text(re.sub('"weights": "......"', '"weights": "000000"', summary.read_text()))
    assert not is_kept()


def test_other_data_are_not_taken_for_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["fit", "--config=configs/stage/teacher.yaml", "--data=configs/data/imagefolder.yaml"]
    words += ["--data.image_size=32", "--data.batch_size=2", "--data.num_workers=0"]
    words += ["--model.backbone=test_resnet", "--trainer.max_epochs=1", f"--out={tmp_path}/runs"]
    words += ["--trainer.enable_progress_bar=false"]
    for name in ("birds", "cars"):
        for path in (f"{split}/{label}" for split in ("train", "val") for label in "ab"):
            (tmp_path / name / path).mkdir(parents=True)
            for number in range(2):
                Image.new("RGB", (40, 40)).save(tmp_path / name / path / f"{number}.png")
    main([*words, f"--data.data_dir={tmp_path}/birds"])
    # Other data have a place of their own; other classes under one name are refused.
    main([*words, f"--data.data_dir={tmp_path}/cars"])
    assert {p.parts[-3] for p in tmp_path.glob("runs/**/teacher.safetensors")} == {"birds", "cars"}
    shutil.move(tmp_path / "birds", tmp_path / "elsewhere" / "birds")
    main([*words, f"--data.data_dir={tmp_path}/elsewhere/birds"])
    assert "finished already" in capsys.readouterr().out
    for split in ("train", "val"):
        (tmp_path / "elsewhere" / "birds" / split / "b").rename(
            tmp_path / "elsewhere" / "birds" / split / "c"
        )
    with pytest.raises(SystemExit, match=r"\(classes.classes\[1\]: b there, c now\)"):
        main([*words, f"--data.data_dir={tmp_path}/elsewhere/birds"])


def test_missing_files_end_in_a_sentence(tmp_path: Path) -> None:
    words = ["test", "--config=configs/stage/evaluation.yaml", *TINY]
    with pytest.raises(SystemExit, match="no student at"):
        main([*words, f"--model.student={tmp_path}/none.safetensors"])
    with pytest.raises(SystemExit, match="beta must be > 0, got -1"):
        main(fit("distilled", tmp_path, "--model.beta=-1"))
    elsewhere = ["--data=configs/data/imagenet.yaml", f"--data.data_dir={tmp_path}/none"]
    with pytest.raises(SystemExit, match="check data_dir"):
        main(["fit", "--config=configs/stage/distilled.yaml", "--model.beta=1", *elsewhere])
    with pytest.raises(SystemExit, match="unknown backbone 'resnet5'"):
        main(fit("distilled", tmp_path, "--model.beta=1", "--model.backbone=resnet5"))
    with pytest.raises(SystemExit, match="no results under"):
        main(["results", f"--out={tmp_path}"])


def test_damaged_files_end_in_a_sentence(tmp_path: Path) -> None:
    last = tmp_path / TEACHER / "checkpoints" / "last.ckpt"
    last.parent.mkdir(parents=True)
    last.write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(
        SystemExit, match=r"^entres: .*last.ckpt .*delete it, and the run begins anew"
    ):
        main(fit("teacher", tmp_path))
    summary = tmp_path / "some-student" / "eval" / "clean" / "summary.json"
    summary.parent.mkdir(parents=True)
    for content in ("", '[{"student": "some"}]', "[1]"):
        summary.write_text(content)
        # Alone it is nothing to show; beside others it is named (tests/report).
        sentences = r"no results under .*; .*summary.json holds no results"
        with pytest.raises(SystemExit, match=sentences):
            main(["results", f"--out={tmp_path}"])


def test_a_result_that_was_lost_is_written_again(tmp_path: Path) -> None:
    # As after a kill between the last checkpoint and the result.
    main(fit("teacher", tmp_path))
    result = tmp_path / TEACHER / "teacher.safetensors"
    before = load_file(result)
    result.unlink()
    main(fit("teacher", tmp_path))
    after = load_file(result)
    assert all(torch.equal(value, after[key]) for key, value in before.items())


def test_an_unreadable_image_is_named(tmp_path: Path, student_file: Path) -> None:
    for split in ("train", "val"):
        for number in range(8):
            (tmp_path / split / f"class{number}").mkdir(parents=True)
            (tmp_path / split / f"class{number}" / "photo.png").write_bytes(b"no image")
    words = ["test", "--config=configs/stage/evaluation.yaml", f"--out={tmp_path}"]
    words += ["--data=configs/data/imagefolder.yaml", f"--data.data_dir={tmp_path}"]
    words += [f"--model.student={student_file}", "--model.coding_workers=0"]
    with pytest.raises(SystemExit, match=r"^entres: cannot read the image .*photo.png"):
        main([*words, "--trainer.enable_progress_bar=false", "--data.num_workers=1"])


@pytest.mark.slow
def test_every_image_counts_once_on_two_ranks(tmp_path: Path, student_file: Path) -> None:
    words = ["test", "--config=configs/stage/evaluation.yaml", *TINY]
    words += ["--data.eval_limit_per_class=3", "--data.eval_batch_size=5", "--data.num_workers=0"]
    words += [f"--model.student={student_file}", "--model.coding_workers=0"]
    two = ["--trainer.devices=2", "--trainer.strategy=ddp"]
    main([*words, f"--out={tmp_path}/one", "--trainer.devices=1"])
    assert start([*words, f"--out={tmp_path}/two", *two]).wait() == 0
    rows = []
    for out in ("one", "two"):
        (folder,) = (tmp_path / out).glob("photos/*/eval/clean")
        rows.append(read_summary(folder / "summary.json")[0].as_dict() | {"seconds": None})
        records = (folder / "records.csv").read_text().splitlines()
        assert len(records) == 1 + 24
    assert rows[0]["images"] == 24
    # The batches differ, and a convolution may round differently in a batch of another size.
    for key, value in rows[0].items():
        assert rows[1][key] == (
            pytest.approx(value, rel=1e-3) if isinstance(value, float) else value
        )


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["distilled", "frozen-encoder"])
def test_stages_train_on_two_ranks(stage: str, tmp_path: Path, student_file: Path) -> None:
    # DDP stops where a frozen part still wants a gradient, and hangs where ranks see unequal data.
    out = tmp_path / "out"
    words = fit(stage, out, "--model.beta=0.08", "--trainer.devices=2", epochs=2)
    words += [f"--model.student_weights={student_file}", "--data.eval_limit_per_class=1"]
    words += ["--data.limit_per_class=9", "--data.batch_size=4", "--data.eval_batch_size=3"]
    process = start(words)
    assert process.wait(timeout=300) == 0
    (path,) = out.glob("*/*/student.safetensors")
    load_student(path)
    # Eight images in shards of four and batches of three and one: a mean of eight, all the same.
    lines = (path.parent / "logs" / "version_0" / "metrics.csv").read_text().splitlines()
    rows = [dict(zip(lines[0].split(","), line.split(","), strict=True)) for line in lines[1:]]
    accuracy = [float(r["val/accuracy"]) for r in rows if r["val/accuracy"]]
    assert accuracy
    assert all((8 * a).is_integer() for a in accuracy)
