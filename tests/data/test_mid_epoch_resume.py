"""A run that is stopped and resumed sees the very batches that an uninterrupted run would see."""

from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from entres.data import Batch, ImageDataModule, ImageSource

BATCHES = 5  # per epoch: 21 images, batches of 4, the odd one is left out


class NoisySource(ImageSource):
    """Images of random pixels: a wrong augmentation seed cannot go unnoticed."""

    def __init__(self, size: int) -> None:
        self.labels = np.arange(size, dtype=np.int64) % 3

    def image(self, index: int) -> Tensor:
        return torch.randint(0, 256, (3, 4, 4), dtype=torch.uint8)


class NoisyDataModule(ImageDataModule):
    name = "noise"

    @property
    def class_names(self) -> list[str]:
        return ["a", "b", "c"]

    def training_source(self) -> ImageSource:
        return NoisySource(21)

    def evaluation_source(self) -> ImageSource:
        return NoisySource(5)


class Recorder(LightningModule):
    """Writes down every training batch: epoch, indices, pixels."""

    def __init__(self, stop_after: int | None = None) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.stop_after = stop_after
        self.seen: list[tuple[int, list[int], float]] = []

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        if self.stop_after is not None and self.trainer.global_step >= self.stop_after:
            raise KeyboardInterrupt  # a killed run: no tidy end of the epoch
        epoch = self.trainer.current_epoch
        self.seen.append((epoch, batch.indices.tolist(), batch.images.double().sum().item()))
        return self.weight * batch.images.mean()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        pass

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def run(
    folder: Path,
    workers: int = 0,
    stop_after: int | None = None,
    resume: Path | None = None,
    checkpoint: dict | None = None,
    **trainer_options: object,
) -> list[tuple[int, list[int], float]]:
    """Trains with a checkpoint after every step (by default); gives the batches that were seen."""
    when = checkpoint or {"every_n_train_steps": 1}
    saver = ModelCheckpoint(folder, save_top_k=-1, filename="{step}", **when)
    options: dict = {"max_epochs": 3, **trainer_options}
    trainer = Trainer(
        accelerator="cpu",
        logger=False,
        callbacks=[saver],
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **options,
    )
    model = Recorder(stop_after)
    data = NoisyDataModule(batch_size=4, eval_batch_size=2, num_workers=workers, seed=7)
    try:
        trainer.fit(model, data, ckpt_path=resume)
    except (KeyboardInterrupt, SystemExit):
        assert stop_after is not None
    return model.seen


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[int, list[int], float]]:
    seen = run(tmp_path_factory.mktemp("uninterrupted"))
    assert [epoch for epoch, _, _ in seen] == [0] * BATCHES + [1] * BATCHES + [2] * BATCHES
    return seen


def test_epochs_differ_in_order_and_in_augmentation(uninterrupted) -> None:
    first, second = uninterrupted[:BATCHES], uninterrupted[BATCHES : 2 * BATCHES]
    assert [indices for _, indices, _ in first] != [indices for _, indices, _ in second]
    assert not {pixels for *_, pixels in first} & {pixels for *_, pixels in second}
    for part in (first, second):
        indices = [index for _, indices, _ in part for index in indices]
        assert len(set(indices)) == len(indices) == 4 * BATCHES


@pytest.mark.parametrize(
    ("done", "workers", "options"),
    [
        (2, 0, {}),  # in the first epoch
        (BATCHES + 3, 0, {}),  # in a later one
        (BATCHES + 3, 1, {}),  # with a worker that prefetches
        (BATCHES + 4, 0, {"val_check_interval": 2}),  # right after a validation in mid-epoch
        (BATCHES, 0, {}),  # after the last batch, before the end of the epoch
        (BATCHES + 2, 0, {"max_epochs": -1, "max_steps": 3 * BATCHES}),
        (2 * BATCHES, 0, {"max_epochs": -1, "max_steps": 3 * BATCHES}),
    ],
)
def test_resumed_run_sees_what_an_uninterrupted_run_sees(
    tmp_path: Path, uninterrupted, done: int, workers: int, options: dict
) -> None:
    before = run(tmp_path, workers, stop_after=done, **options)
    assert before == uninterrupted[:done]
    after = run(tmp_path, workers, resume=tmp_path / f"step={done}.ckpt", **options)
    assert [batch[:2] for batch in after] == [batch[:2] for batch in uninterrupted[done:]]
    assert after == uninterrupted[done:]


@pytest.mark.parametrize("after_validation", [False, True])
@pytest.mark.parametrize("options", [{}, {"max_epochs": -1, "max_steps": 3 * BATCHES}])
def test_resume_at_the_end_of_an_epoch(
    tmp_path: Path, uninterrupted, after_validation: bool, options: dict
) -> None:
    when = {"save_on_train_epoch_end": not after_validation}
    run(tmp_path, stop_after=2 * BATCHES, checkpoint=when, **options)
    after = run(tmp_path, resume=tmp_path / f"step={2 * BATCHES}.ckpt", checkpoint=when, **options)
    assert after == uninterrupted[2 * BATCHES :]


def test_workers_change_nothing(tmp_path: Path, uninterrupted) -> None:
    assert run(tmp_path, workers=2) == uninterrupted


def test_other_settings_in_mid_epoch_are_warned_of_and_the_same_are_not(
    recwarn: pytest.WarningsRecorder,
) -> None:
    state = NoisyDataModule(batch_size=4, num_workers=0).train_dataloader().state_dict()
    NoisyDataModule(batch_size=4, num_workers=0).train_dataloader().load_state_dict(state)
    assert not [warning for warning in recwarn if "mid-epoch" in str(warning.message)]
    other = NoisyDataModule(batch_size=2, num_workers=0, seed=1).train_dataloader()
    with pytest.warns(UserWarning, match=r"other data settings \(batch_size 4 -> 2, seed 0 -> 1\)"):
        other.load_state_dict(state)
