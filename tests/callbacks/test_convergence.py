"""What attacks gained step by step, beside the results of an evaluation."""

from __future__ import annotations

import csv
import warnings
from pathlib import Path
from types import SimpleNamespace

import lightning.pytorch as pl
import pytest
import torch

from entres.attacks import PGDE, SignNoise
from entres.callbacks import Accuracy, AttackHealth, BitSize, Convergence, ResultsStore
from entres.conditions import AdversarialDataModule
from entres.data import PhotosDataModule
from entres.lightning_cli import _quiet
from entres.report.convergence import draw_convergence
from entres.results import ResultsError
from entres.stages import Evaluation


@pytest.fixture
def store(tmp_path: Path, student_file: Path) -> ResultsStore:
    return evaluated(tmp_path, student_file)


def evaluated(folder: Path, student_file: Path, trial: bool = False) -> ResultsStore:
    store = ResultsStore(folder)
    photos = PhotosDataModule(
        image_size=32, eval_limit_per_class=2, num_workers=0, eval_batch_size=3
    )
    data = AdversarialDataModule(photos, [SignNoise(), PGDE(steps=4)], [2, 8])
    callbacks = [BitSize(), Accuracy(), AttackHealth(), Convergence(), store]
    pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        inference_mode=False,
        fast_dev_run=trial,
        callbacks=callbacks,
    ).test(Evaluation(str(student_file), coding_workers=0), data, verbose=False)
    return store


def test_its_ends_are_those_of_the_results(store: ResultsStore) -> None:
    with (store.folder / "convergence.csv").open(newline="") as file:
        lines = [SimpleNamespace(**line) for line in csv.DictReader(file)]
    attacked = [row for row in store.rows if row.condition == "pgd_e"]
    assert len(lines) == 5 * len(attacked)  # noise takes no steps
    for row, start in zip(attacked, (0, 5), strict=True):
        curve = lines[start : start + 5]
        assert {float(line.epsilon_255) for line in curve} == {row.epsilon_255}
        assert [int(line.step) for line in curve] == [0, 1, 2, 3, 4]
        assert {int(line.images) for line in curve} == {row.images}
        ends = [float(curve[number].objective) for number in (0, -1)]
        expected = [row.extra["objective_clean"], row.extra["objective_end"]]
        assert ends == pytest.approx(expected, rel=1e-4)


def test_a_trial_leaves_what_is_there(tmp_path: Path, student_file: Path) -> None:
    (tmp_path / "convergence.csv").write_text("of a finished evaluation")
    assert evaluated(tmp_path, student_file, trial=True).rows
    assert (tmp_path / "convergence.csv").read_text() == "of a finished evaluation"


def test_the_command_line_keeps_back_what_its_table_says() -> None:
    bad = {f"objective_{name}": 1.0 for name in ("clean", "end", "noise", "middle", "last")}
    columns = {name: torch.tensor([value]) for name, value in {**bad, "late_gain": 0.0}.items()}
    with pytest.warns(UserWarning, match="random noise of the same epsilon does more"):
        AttackHealth().summary(columns)
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        _quiet()
        assert AttackHealth().summary(columns)["attack_warnings"]
    assert not shown


def test_it_is_drawn(store: ResultsStore, tmp_path: Path) -> None:
    pictures = draw_convergence(store.folder)
    assert [path.name for path in pictures] == ["convergence.png", "convergence.pdf"]
    assert all(path.stat().st_size > 5000 for path in pictures)
    (store.folder / "convergence.csv").write_text("step\n0\n")
    with pytest.raises(ResultsError, match="no file of curves"):
        draw_convergence(store.folder)
    assert draw_convergence(tmp_path / "elsewhere") == []
