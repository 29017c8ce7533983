"""Defenses and their verbs through the real command line, on tiny parts of the photos."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import torch

from entres.cli import main
from entres.defenses.masks import Mask
from entres.experiment import Experiment, steps
from entres.results import Row, read_summary

TINY = [
    "test",
    "--config=configs/stage/evaluation.yaml",
    "--model.coding_workers=0",
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
]
SMALL = ["image_size=32", "eval_limit_per_class=1", "num_workers=0"]
CLEAN = ["--data=configs/data/photos.yaml", *(f"--data.{word}" for word in SMALL)]
ATTACKED = [
    "--data=configs/data/adversarial.yaml",
    *(f"--data.data.{word}" for word in SMALL),
    "--data.attack=configs/attack/pgd_e.yaml",
    "--data.attack.steps=2",
]


pytestmark = pytest.mark.usefixtures("at_the_root")


def evaluate(student: Path, out: Path, *words: str) -> list[Row]:
    main([*TINY, f"--model.student={student}", f"--out={out}", *words])
    return read_summary(folder_of(out) / "summary.json")


def folder_of(out: Path) -> Path:
    """The one evaluation of a folder."""
    (folder,) = out.glob("photos/*/eval/*")
    return folder


def records(out: Path) -> list[dict[str, str]]:
    with (folder_of(out) / "records.csv").open() as file:
        return list(csv.DictReader(file))


def test_clean_images_before_and_after(
    tmp_path: Path, student_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = evaluate(student_file, tmp_path / "plain", *CLEAN)
    defense = ["--defense=configs/defense/gaussian_blur.yaml", "--defense.strength=1.5"]
    before, after = evaluate(student_file, tmp_path / "defended", *CLEAN, *defense)
    assert (before.defense, before.defense_strength) == (None, None)
    assert (after.defense, after.defense_strength) == ("gaussian_blur", 1.5)
    # A defense beside them changes nothing of the images as they were received.
    assert (before.kib_mean, before.accuracy) == (plain[0].kib_mean, plain[0].accuracy)
    assert after.kib_mean < before.kib_mean
    assert after.extra["defense_seconds"] > 0
    assert 10 < after.extra["defense_psnr"] < 60
    assert "defense_seconds" not in before.extra
    lines = records(tmp_path / "defended")
    assert [line["defense"] for line in lines] == [""] * 8 + ["gaussian_blur"] * 8
    assert {line["index"] for line in lines[:8]} == {line["index"] for line in lines[8:]}
    assert "clean + gaussian_blur 1.5" in capsys.readouterr().out


def test_a_mask_is_made_once_for_each_batch(
    tmp_path: Path, student_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    make = Mask._make

    def count(self: Mask, *arguments: Any) -> torch.Tensor:
        made.append(self)
        return make(self, *arguments)

    monkeypatch.setattr(Mask, "_make", count)
    words = [*CLEAN, "--defense=configs/defense/masked_tv.yaml", "--example_images=0"]
    (_, after) = evaluate(student_file, tmp_path / "one", *words)
    assert len(made) == 1
    assert 0 < after.extra["mask_seconds"] < after.extra["defense_seconds"]
    assert 0 < after.extra["mask_mean"] < 1
    # An automatic one makes it for the large images only: there is no mask of the batch.
    words += ["--defense_threshold_kib=0.001"]
    (_, after) = evaluate(student_file, tmp_path / "automatic", *words)
    assert after.extra["defended"] == 1
    assert not {"mask_seconds", "mask_mean"} & after.extra.keys()


def test_several_defenses_over_the_same_attacked_batch(tmp_path: Path, student_file: Path) -> None:
    files = ",".join(f"configs/defense/{n}.yaml" for n in ("masked_tv", "published"))
    words = [f"--defense=[{files}]", "--defense_strengths=[0.01,0.1]"]
    rows = evaluate(student_file, tmp_path, *ATTACKED, *words)
    one = [(None, None), *((n, s) for n in ("masked_tv", "published") for s in (0.01, 0.1))]
    assert [(row.defense, row.defense_strength) for row in rows] == one * 2
    assert [row.condition for row in rows] == ["clean"] * 5 + ["pgd_e"] * 5
    # How the attack fared is said once, of the images it made.
    assert ["objective_end" in row.extra for row in rows] == [False] * 5 + [True] + [False] * 4
    assert len(records(tmp_path)) == 10 * 8
    main(["tradeoff", str(folder_of(tmp_path))])
    assert list(tmp_path.glob("**/tradeoff-masked_tv.png"))


def test_through_the_defense(
    tmp_path: Path, student_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*ATTACKED, "--data.clean=false", "--data.attack.epsilon_255=16"]
    words[words.index("--data.attack.steps=2")] = "--data.attack.steps=4"
    defense = "--defense=configs/defense/masked_chambolle.yaml"
    ways = ["oblivious", "unrolled", "bpda", "unrolled_mask"]
    rows = evaluate(student_file, tmp_path, *words, defense, f"--data.through=[{','.join(ways)}]")
    assert [row.through for row in rows[::2]] == [None, "unrolled", "bpda", "unrolled_mask"]
    kib = {row.through: row.kib_mean for row in rows if row.defense}
    assert kib["unrolled"] > kib[None]
    # Who knows more is no weaker, image by image.
    bits: dict[str, dict[str, float]] = {}
    for line in records(tmp_path):
        if line["defense"]:
            bits.setdefault(line["through"], {})[line["index"]] = float(line["bits"])
    for less, more in (("", "unrolled"), ("", "bpda"), ("unrolled", "unrolled_mask")):
        assert all(bits[more][index] >= 0.9999 * value for index, value in bits[less].items())
    capsys.readouterr()
    main(["strongest", str(folder_of(tmp_path))])
    printed = capsys.readouterr().out
    lines = [line for line in records(tmp_path) if line["defense"]]
    largest: dict[str, int] = {}
    for line in lines:
        largest[line["index"]] = max(largest.get(line["index"], 0), int(line["bytes"]))
    assert f"{sum(largest.values()) / 8 / 1024:.2f}" in printed


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "needs one defense, got 0"),
        (["--defense=configs/defense/jpeg.yaml"], "no gradient passes jpeg"),
        (["--defense=configs/defense/median.yaml", "--defense.strength=2"], "odd side"),
        (["--defense=configs/defense/median.yaml", "--defense_strengths=[2]"], "odd side"),
        (
            ["--defense=configs/defense/median.yaml", "--defense_threshold_kib=0"],
            "threshold_kib must be > 0",
        ),
    ],
)
def test_errors_are_sentences(
    words: list[str], sentence: str, tmp_path: Path, student_file: Path
) -> None:
    with pytest.raises(SystemExit, match=f"^entres: .*{sentence}"):
        evaluate(student_file, tmp_path, *ATTACKED, "--data.through=[unrolled]", *words)


def test_automatic_leaves_clean_images_alone(
    tmp_path: Path, student_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate(student_file, tmp_path, *CLEAN)
    capsys.readouterr()
    main(["threshold", str(folder_of(tmp_path)), "--false_alarms=0.2"])
    threshold = float(capsys.readouterr().out)
    words = ["--defense=configs/defense/masked_tv.yaml", "--model.evaluation=auto"]
    words += [f"--defense_threshold_kib={threshold}", f"--out={tmp_path}/auto"]
    rows = evaluate(student_file, tmp_path / "auto", *ATTACKED, *words)
    false_alarms, alarms = (row.extra["defended"] for row in rows if row.defense)
    assert false_alarms == pytest.approx(0.25)  # two of eight pass the quantile of 0.8
    assert alarms >= false_alarms
    assert {row.defense for row in rows} == {None, "auto_masked_tv"}


def test_short_names_are_taken(student_file: Path) -> None:
    asked = Experiment.of(defense="chambolle", LAMBDA="0.02", student=student_file)
    (step,) = steps(asked, "eval-defense")
    assert "configs/defense/masked_chambolle.yaml" in step.line
    assert "--defense_strengths '[0.02]'" in step.line
