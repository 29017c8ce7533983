"""Corrupted batches in the real loops, through the real command line."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer

from entres.cli import main
from entres.conditions import CorruptedDataModule
from entres.corruptions import jpeg
from entres.data import Batch, PhotosDataModule
from entres.experiment import Experiment, ExperimentError, steps
from entres.results import EXTRA_CORRUPTIONS, FIFTEEN, Row, read_summary

pytestmark = pytest.mark.usefixtures("at_the_root")


class Keeper(LightningModule):
    """Keeps the images of every loader, by their index."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[int, dict[int, torch.Tensor]] = {}

    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        images = dict(zip(batch.indices.tolist(), batch.images, strict=True))
        self.kept.setdefault(dataloader_idx, {}).update(images)


def run(batch_size: int = 16, limit: int = 2, **options: Any) -> dict[int, dict[int, torch.Tensor]]:
    data = PhotosDataModule(
        image_size=32, eval_limit_per_class=limit, num_workers=0, eval_batch_size=batch_size
    )
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    module = Keeper()
    Trainer(accelerator="cpu", devices=1, **quiet).test(
        module, CorruptedDataModule(data, **options), verbose=False
    )
    return module.kept


def test_an_image_is_corrupted_alike_in_any_evaluation() -> None:
    every = run()
    assert len(every) == 1 + 75
    some = run(batch_size=3, corruptions=["snow", "shot_noise"], severities=[5, 2], clean=False)
    place = {("snow", 5): 0, ("snow", 2): 1, ("shot_noise", 5): 2, ("shot_noise", 2): 3}
    for (name, severity), number in place.items():
        whole = every[1 + 5 * FIFTEEN.index(name) + severity - 1]
        assert all(torch.equal(image, whole[i]) for i, image in some[number].items())
        other_seed = run(corruptions=[name], severities=[severity], clean=False, seed=1)[0]
        assert not any(torch.equal(image, whole[i]) for i, image in other_seed.items())
    # Two images, and one image at two severities, have noise of their own.
    first, second = list(every[0])[:2]
    noise = [every[1][first] - every[0][first], every[2][first] - every[0][first]]
    noise.append(every[1][second] - every[0][second])
    correlation = torch.corrcoef(torch.stack([n.flatten() for n in noise]))
    assert correlation.fill_diagonal_(0).abs().max() < 0.2


def test_jpeg_comes_last() -> None:
    options: dict[str, Any] = {"corruptions": ["gaussian_noise"], "severities": [3]}
    plain, stored = run(**options), run(jpeg_quality=85, **options)
    for index, image in plain[1].items():
        assert torch.equal(stored[0][index], plain[0][index])
        assert torch.allclose(jpeg(image[None], 85)[0], stored[1][index], atol=1e-6)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"corruptions": ["rain"]}, "corruptions must be some of gaussian_noise, .*got rain"),
        ({"corruptions": ["snow", "snow"]}, "each once.*got snow, snow"),
        ({"corruptions": []}, "got none"),
        ({"severities": [0]}, "severities must be some of 1, 2, 3, 4, 5, .*got 0"),
        ({"jpeg_quality": 100}, "jpeg_quality must be from 1 to 95 or null, got 100"),
        ({"frost_textures": "/none"}, "no textures of frost in /none"),
    ],
)
def test_errors_say_what_was_wanted(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        CorruptedDataModule(PhotosDataModule(), **options)


# --- through the command line ---------------------------------------------------------------------

TINY = [
    "test",
    "--config=configs/stage/evaluation.yaml",
    "--data=configs/data/corrupted.yaml",
    "--data.data.image_size=32",
    "--data.data.num_workers=0",
    "--model.coding_workers=0",
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
]


def evaluate(student: Path, out: Path, *words: str) -> list[Row]:
    main([*TINY, f"--model.student={student}", f"--out={out}", *words])
    (path,) = out.glob("photos/*/eval/corruptions/summary.json")
    return read_summary(path)


def test_all_fifteen_through_the_command_line(
    tmp_path: Path, student_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--data.data.eval_limit_per_class=1", "--data.severities=[1,5]"]
    rows = evaluate(student_file, tmp_path, *words)
    assert [(row.condition, row.corruption, row.severity) for row in rows] == [
        ("clean", None, None),
        *(("corruption", name, severity) for name in FIFTEEN for severity in (1, 5)),
    ]
    assert {row.images for row in rows} == {8}
    (folder,) = tmp_path.glob("photos/*/eval/corruptions")
    with (folder / "records.csv").open() as file:
        records = list(csv.DictReader(file))
    assert len(records) == 31 * 8
    assert records[-1]["corruption"] == "jpeg_compression"
    printed = capsys.readouterr().out
    assert "shot_noise severity 5" in printed
    for label in ("noise", "blur", "weather", "digital", "all"):
        assert f"│ {label} " in printed

    main(["corruptions", f"--out={tmp_path}", "--markdown=true"])
    printed = capsys.readouterr().out
    (line,) = (line for line in printed.splitlines() if "| jpeg compression |" in line)
    assert [cell.split()[0] for cell in line.split("|")[3:5]] == [
        f"{row.kib_mean:.2f}" for row in rows[-2:]
    ]


def test_errors_are_sentences(tmp_path: Path, student_file: Path) -> None:
    with pytest.raises(SystemExit, match=r"^entres: corruptions must be some of .*got rain"):
        evaluate(student_file, tmp_path, "--data.corruptions=[rain]")
    with pytest.raises(SystemExit, match="no results under"):
        main(["corruptions", f"--out={tmp_path}"])


# --- what is asked for ----------------------------------------------------------------------------


def test_the_verb_knows_the_names(student_file: Path) -> None:
    given = {"student": student_file, "data": "imagenette", "data_dir": "/d"}
    asked = Experiment.of(**given, corruptions="snow  fog", severities="1 3")
    (step,) = steps(asked, "eval-corruptions")
    words = step.words
    assert words[words.index("--data") + 1] == "configs/data/corrupted.yaml"
    assert words[words.index("--data.data") + 1] == "configs/data/imagenette.yaml"
    assert words[words.index("--data.data.data_dir") + 1] == "/d"
    assert words[words.index("--data.corruptions") + 1] == "[snow, fog]"
    assert words[words.index("--data.severities") + 1] == "[1, 3]"
    # The list that it refuses by is the list of the code.
    assert Experiment.of(corruptions=list(FIFTEEN)).corruptions == FIFTEEN
    with pytest.raises(ExperimentError, match="no corruptions 'rain'"):
        Experiment.of(corruptions="rain")
    with pytest.raises(ExperimentError, match="no corruptions 'spatter'"):
        Experiment.of(corruptions="spatter")
    given |= {"data": "imagenet-c", "corruptions": list(EXTRA_CORRUPTIONS)}
    (step,) = steps(Experiment.of(**given), "eval-corruptions")
    assert "--data configs/data/imagenet-c.yaml --data.data_dir /d" in step.line
