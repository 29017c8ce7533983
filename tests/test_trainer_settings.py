"""Lightning's own settings: each works, or is refused in one sentence and leaves nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny import TEACHER, TINY, fit

from entres.cli import main

pytestmark = pytest.mark.usefixtures("at_the_root")


REFUSED = {
    "--trainer.overfit_batches=1": "overfit_batches 1: the order of the training images is",
    "--trainer.max_epochs=-1": "max_epochs -1: the rate of learning follows a schedule",
    "--trainer.max_epochs=0": "max_epochs 0: nothing would be trained; give 1 or more",
    "--trainer.max_steps=0": "max_steps 0: nothing would be trained; give 1 or more",
    "--trainer.limit_train_batches=0": "limit_train_batches 0: nothing would be trained",
    "--trainer.limit_train_batches=1.5": "invalid value 1.5 for limit_train_batches",
    "--trainer.accumulate_grad_batches=0": "accumulate_grad_batches 0: give 1 or more batches",
    "--trainer.gradient_clip_val=-1": "gradient_clip_val -1: give a norm > 0",
    "--trainer.barebones=true": "barebones True: it would write nothing",
    "--trainer.val_check_interval=100": r"`val_check_interval` \(100\) must be less than or equal",
    "--trainer.accelerator=cuda": r"\(accelerator cuda\): .*; --trainer.accelerator auto takes",
    "--trainer.accelerator=tpu": r"\(accelerator tpu\): .*; --trainer.accelerator auto takes",
    "--trainer.accelerator=mps": r"\(accelerator mps\): .*; --trainer.accelerator auto takes",
    "--trainer.accelerator=foo": r"\(accelerator foo\): .*; --trainer.accelerator auto takes",
    "--trainer.devices=0": r"\(accelerator cpu, devices 0\): ",
    "--trainer.devices=-1": r"\(accelerator cpu, devices -1\): ",
    "--trainer.devices=1000": r"devices 1000: without an accelerator each is a process",
    "--trainer.strategy=foo": r"strategy foo\): You selected an invalid strategy name",
    "--trainer.precision=transformer-engine": "precision transformer-engine",
    "--trainer.profiler=foo": r"profiler foo\): ",
    "--trainer.max_time=foo": "'foo'.* is not a valid duration",
    "--trainer.callbacks=foo": "trainer.callbacks: no such file, and no class: foo",
    "--seed_everything=true": r"seed_everything must be a whole number >= 0 .*, got true",
    "--seed_everything=null": r"seed_everything must be a whole number >= 0 .*, got null",
    "--seed_everything=-1": r"seed_everything must be a whole number >= 0 .*, got -1",
    "--ckpt_path=nowhere.ckpt": "no checkpoint at nowhere.ckpt: give a file",
    "--ckpt_path=best": "no checkpoint at best: give a file",
    "--ckpt_path=README.md": "--ckpt_path README.md is no checkpoint of a run",
    "--data=null": "data must be given: --data",
    "--data=nowhere.yaml": "data: no such file, and no class: nowhere.yaml",
}


@pytest.mark.parametrize("flag", REFUSED)
def test_what_makes_no_sense_is_refused_and_leaves_nothing(flag: str, tmp_path: Path) -> None:
    if flag == "--trainer.accelerator=cuda" and torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(SystemExit, match=f"^entres: .*{REFUSED[flag]}") as stop:
        main(fit("teacher", tmp_path / "out", flag))
    assert "\n" not in str(stop.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "flags",
    [
        ["--trainer.max_epochs=-1", "--trainer.max_steps=2"],
        ["--trainer.enable_checkpointing=false"],
        ["--trainer.limit_val_batches=0"],
        ["--trainer.num_sanity_val_steps=0", "--trainer.precision=bf16-true"],
        ["--trainer.precision=64-true", "--trainer.profiler=simple"],
        ["--trainer.logger=true", "--trainer.accumulate_grad_batches=2"],
    ],
    ids=lambda flags: flags[0],
)
def test_others_work(flags: list[str], tmp_path: Path) -> None:
    main(fit("teacher", tmp_path, "--trainer.limit_train_batches=2", *flags))
    assert (tmp_path / TEACHER / "teacher.safetensors").is_file()
    checkpoint = tmp_path / TEACHER / "checkpoints" / "last.ckpt"
    assert checkpoint.exists() == ("--trainer.enable_checkpointing=false" not in flags)


@pytest.mark.parametrize("precision", ["16-true", "bf16-true", "64-true"])
def test_a_student_is_computed_in_float32(
    precision: str, tmp_path: Path, student_file: Path
) -> None:
    flag, refused = f"--trainer.precision={precision}", f"precision {precision}: a student's prob"
    with pytest.raises(SystemExit, match=refused):
        main(fit("distilled", tmp_path / "out", flag, "--model.beta=0.08"))
    with pytest.raises(SystemExit, match=refused):
        main(evaluation(tmp_path / "out", student_file, flag))
    assert not (tmp_path / "out").exists()


def evaluation(out: Path, student: Path, *arguments: str) -> list[str]:
    words = ["test", "--config=configs/stage/evaluation.yaml", *TINY, f"--out={out}"]
    words += [f"--model.student={student}", "--model.coding_workers=0", "--data.num_workers=0"]
    return [*words, *arguments]


@pytest.mark.parametrize(
    ("flag", "refused"),
    [
        ("--trainer.limit_test_batches=0", "limit_test_batches 0: nothing would be evaluated"),
        ("--ckpt_path=best", "--ckpt_path best: an evaluation is of --model.student FILE"),
        ("--model.coding_workers=-1", r"coding_workers must be >= 0 \(.*\) or null, got -1"),
        ("--model.verify_every=0", "verify_every must be >= 1 .*, got 0"),
        ("--defense=foo", "defense: no such file, and no class: foo"),
    ],
)
def test_an_evaluation_that_makes_no_sense_is_refused_too(
    flag: str, refused: str, tmp_path: Path, student_file: Path
) -> None:
    with pytest.raises(SystemExit, match=f"^entres: .*{refused}"):
        main(evaluation(tmp_path / "out", student_file, flag))
    assert not (tmp_path / "out").exists()


# --- runs that end before their last step ---------------------------------------------------------

EARLY = [
    "--trainer.callbacks+=lightning.pytorch.callbacks.EarlyStopping",
    "--trainer.callbacks.monitor=val/loss",
    "--trainer.callbacks.patience=1",
    "--trainer.callbacks.min_delta=10",
]


@pytest.mark.parametrize(
    "flags", [EARLY, ["--trainer.max_time=00:00:00:01"]], ids=["early", "time"]
)
def test_a_run_that_a_condition_of_its_own_ends_has_a_result(
    flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = fit("teacher", tmp_path, *flags, "--data.num_workers=0", epochs=900)
    main(words)
    assert "ended by a condition of its own, after " in capsys.readouterr().out
    result = tmp_path / TEACHER / "teacher.safetensors"
    assert result.is_file()
    main(words)
    assert f"finished already: {result}" in capsys.readouterr().out
    if flags is not EARLY:
        # As after a kill before the result was written: the time is up, and stays so.
        checkpoint = tmp_path / TEACHER / "checkpoints" / "last.ckpt"
        before = torch.load(checkpoint, weights_only=True)["global_step"]
        result.unlink()
        main(words)
        assert result.is_file()
        assert torch.load(checkpoint, weights_only=True)["global_step"] <= before + 8


# --- what a user writes ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "refused"),
    [
        ("class_path: x".encode("utf-16"), "is no text in UTF-8: save it as that"),
        ("# Zürich".encode("latin-1"), "is no text in UTF-8: save it as that"),
        (b"", "is empty: it must hold settings"),
        (b"# nothing yet\n", "is empty: it must hold settings"),
        (b"{{{", "is no YAML: "),
    ],
    ids=["utf-16", "latin-1", "empty", "comment", "braces"],
)
@pytest.mark.parametrize("flag", ["config", "data"])
def test_a_file_that_holds_no_settings_is_named(
    flag: str, content: bytes, refused: str, tmp_path: Path
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    with pytest.raises(SystemExit, match=f"^entres: {path} {refused}"):
        main(fit("teacher", tmp_path / "out", f"--{flag}={path}"))


@pytest.mark.parametrize("name", ["a" * 300, "../../elsewhere", "a/b", "ä b"])
def test_an_evaluation_of_any_name_has_one_folder_of_its_own(
    name: str, tmp_path: Path, student_file: Path
) -> None:
    flag = "--data.eval_limit_per_class=1"
    main(evaluation(tmp_path / "out", student_file, flag, f"--model.evaluation={name}"))
    (summary,) = (tmp_path / "out").glob("photos/*/eval/*/summary.json")
    assert len(summary.parent.name) <= 100
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["out"]


@pytest.mark.parametrize(
    ("flags", "refused"),
    [
        (["--data.epsilons_255=[4,4]"], "epsilons_255 must name each value once, got 4, 4"),
        (["--data.epsilons_255=4,8"], r"epsilons_255 must be a list, such as \[1, 2\], got '4,8'"),
        (["--data.epsilons_255=[]"], "give at least one attack, and one epsilon"),
        (["--data.attack=[]"], "give at least one attack, and one epsilon"),
    ],
)
def test_attacks_that_make_no_sense_are_refused(
    flags: list[str], refused: str, tmp_path: Path, student_file: Path
) -> None:
    words = ["test", "--config=configs/stage/evaluation.yaml", f"--model.student={student_file}"]
    words += ["--data=configs/data/adversarial.yaml", "--data.attack=configs/attack/noise.yaml"]
    with pytest.raises(SystemExit, match=f"^entres: {refused}"):
        main([*words, f"--out={tmp_path}/out", *flags])


def test_square_brackets_in_a_path_are_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "[red]runs[/bold]"
    words = fit("teacher", out, "--trainer.limit_train_batches=1", "--data.num_workers=0")
    main([word for word in words if "progress" not in word])
    assert str(out / TEACHER / "teacher.safetensors") in capsys.readouterr().out


# --- evaluations and trials -----------------------------------------------------------------------


def test_a_trial_never_takes_the_place_of_a_finished_evaluation(
    tmp_path: Path, student_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*flags: str) -> None:
        main(evaluation(tmp_path, student_file, "--data.eval_batch_size=4", *flags))

    run()
    (summary,) = tmp_path.glob("photos/*/eval/clean/summary.json")
    written = {path.name: path.read_bytes() for path in summary.parent.glob("*.*")}
    assert summary.name in written
    for flags, changed in (
        (["--trainer.limit_test_batches=1"], "trainer.limit_test_batches: null there, 1 now"),
        (["--data.eval_limit_per_class=1"], "data.eval_limit_per_class: 2 there, 1 now"),
    ):
        with pytest.raises(
            SystemExit, match=rf"evaluation of 16 images .*\({changed}\): name this"
        ):
            run(*flags)
    capsys.readouterr()
    run("--trainer.fast_dev_run=true")
    assert str(summary) not in capsys.readouterr().out
    assert {path.name: path.read_bytes() for path in summary.parent.glob("*.*")} == written
    assert sorted(p.name for p in summary.parent.glob("logs/*")) == ["version_0"]
    # A larger one takes it.
    run("--data.eval_limit_per_class=3")
    assert '"images": 24' in summary.read_text()


def test_a_run_that_is_refused_before_it_begins_leaves_nothing(
    tmp_path: Path, student_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Lightning has made a folder of logs by then.
    from entres.data import ImageDataModule

    def fail(*arguments: object) -> None:
        raise OSError("no such disk")

    main(fit("teacher", tmp_path / "there"))
    result = tmp_path / "there" / TEACHER / "teacher.safetensors"
    result.unlink()
    before = sorted(path for path in (tmp_path / "there").rglob("*"))
    monkeypatch.setattr(ImageDataModule, "train_dataloader", fail)
    monkeypatch.setattr(ImageDataModule, "test_dataloader", fail)
    for words in (
        fit("teacher", tmp_path / "out"),
        fit("distilled", tmp_path / "out", "--model.beta=0.08"),
        evaluation(tmp_path / "out", student_file),
        fit("teacher", tmp_path / "there"),
    ):
        with pytest.raises(OSError, match="no such disk"):
            main(words)
    assert not (tmp_path / "out").exists()
    assert sorted(path for path in (tmp_path / "there").rglob("*")) == before


def test_a_whole_number_of_batches_stays_one_in_a_process_of_its_own() -> None:
    # There Lightning itself evaluates `float | int` before `int | float`.
    words = ["--data=configs/data/photos.yaml", "--trainer.limit_train_batches=0"]
    stage = ["--config=configs/stage/distilled.yaml", "--model.beta=0.08"]
    command = [sys.executable, "-W", "ignore", "-m", "entres", "fit", *stage, *words]
    root = Path(__file__).parent.parent
    ended = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert "--trainer.limit_train_batches 0: nothing would be trained" in ended.stderr


SEEKING = "class_path: entres.attacks.SmallestEpsilon\ninit_args:\n  "
ATTACK = "attack: {class_path: entres.attacks.PGDE}\n  "


@pytest.mark.parametrize(
    ("content", "refused"),
    [
        (SEEKING + ATTACK + "budget_kib: -1", "budget_kib must be > 0, got -1"),
        (SEEKING + ATTACK + "budget_kib: six", "budget_kib must be a number, got 'six'"),
        ("class_path: entres.attacks.Gnoise", "there is no class entres.attacks.Gnoise"),
        ("class_path: entres.attacks.PGDE\ninit_args: {stepps: 3}", "it has no setting 'stepps'"),
    ],
)
def test_of_several_attacks_the_file_that_cannot_be_made_is_named(
    content: str, refused: str, tmp_path: Path, student_file: Path
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(content)
    words = ["test", "--config=configs/stage/evaluation.yaml", f"--model.student={student_file}"]
    words += ["--data=configs/data/adversarial.yaml", "--data.data=configs/data/photos.yaml"]
    words += [f"--data.attack=[configs/attack/noise.yaml,{path}]", f"--out={tmp_path}/out"]
    with pytest.raises(SystemExit, match=f"^entres: {path}: {refused}"):
        main(words)
