"""What all data modules share: batches, ranks, subsets, argument checks."""

import pickle
from types import SimpleNamespace

import pytest
import torch

from entres.data import Batch, DataError, PhotosDataModule


def photos(**options: object) -> PhotosDataModule:
    defaults: dict = {"image_size": 32, "train_per_class": 4, "test_per_class": 3}
    return PhotosDataModule(**{**defaults, **options})


def attach(data: PhotosDataModule, world_size: int, rank: int) -> PhotosDataModule:
    data.trainer = SimpleNamespace(world_size=world_size, global_rank=rank)  # type: ignore
    return data


def test_batch_has_the_promised_types_and_range() -> None:
    data = photos(eval_batch_size=5)
    batch = next(iter(data.test_dataloader()))
    assert isinstance(batch, Batch)
    assert batch.images.dtype == torch.float32
    assert batch.images.shape == (5, 3, 32, 32)
    assert 0 <= batch.images.min() < 0.2
    assert 0.6 < batch.images.max() <= 1
    assert torch.equal(batch.images * 255, (batch.images * 255).round())
    assert batch.labels.dtype == batch.indices.dtype == torch.int64
    assert batch.indices.tolist() == [0, 1, 2, 3, 4]
    assert batch.labels.tolist() == [0, 0, 0, 1, 1]


@pytest.mark.parametrize("loader", ["val_dataloader", "test_dataloader"])
def test_every_evaluation_image_counts_once_on_two_ranks(loader: str) -> None:
    parts = []
    for rank in range(2):
        data = attach(photos(test_per_class=1, eval_limit_per_class=1), 2, rank)
        data.test_dataset.indices = data.val_dataset.indices = torch.arange(5).numpy()
        parts += [index for batch in getattr(data, loader)() for index in batch.indices.tolist()]
    assert sorted(parts) == [0, 1, 2, 3, 4]


def test_training_ranks_have_as_many_batches_and_no_common_image() -> None:
    parts = []
    for rank in range(3):
        loader = attach(photos(batch_size=4), 3, rank).train_dataloader()
        assert len(loader) == 2
        parts.append({position for position, _ in loader.sampler})
    assert [len(part) for part in parts] == [10, 10, 10]
    assert len(set().union(*parts)) == 30


def test_more_ranks_than_test_images_is_an_error() -> None:
    with pytest.raises(DataError, match="got 8 images for 9 ranks"):
        attach(photos(test_per_class=1), 9, 0).test_dataloader()


def test_small_set_trains_although_whole_batches_are_kept() -> None:
    data = photos(batch_size=100)
    assert [len(batch.labels) for batch in data.train_dataloader()] == [32]
    data = photos(batch_size=10)
    assert [len(batch.labels) for batch in data.train_dataloader()] == [10, 10, 10]


def test_limits_are_per_class_and_keep_the_indices_of_the_split() -> None:
    data = photos(
        train_per_class=9, test_per_class=9, limit_per_class=2, eval_limit_per_class=3,
        val_limit_per_class=1,
    )  # fmt: skip
    assert len(data.train_dataset) == 2 * 8
    assert data.test_dataset.indices[:4].tolist() == [1, 4, 7, 10]
    assert data.val_dataset.indices.tolist() == [9 * label + 4 for label in range(8)]
    assert len(photos(test_per_class=3, eval_limit_per_class=99).test_dataset) == 3 * 8


def test_setup_again_keeps_the_data_sets() -> None:
    data = photos()
    data.setup("fit")
    before = data.train_dataset, data.val_dataset
    data.setup("test")
    data.setup()
    assert (data.train_dataset, data.val_dataset) == before


def test_data_sets_survive_pickling() -> None:
    data = photos()
    copy = pickle.loads(pickle.dumps(data.train_dataset))
    image, label, index = copy[(5, 3)]
    assert torch.equal(image, data.train_dataset[(5, 3)][0])
    assert (label, index) == (1, 5)
    assert type(label) is int


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("batch_size", 0, "batch_size must be >= 1, got 0"),
        ("eval_batch_size", -1, "eval_batch_size must be >= 1, got -1"),
        ("num_workers", -1, "num_workers must be >= 0, got -1"),
        ("seed", -1, "seed must be >= 0, got -1"),
        ("limit_per_class", 0, "limit_per_class must be >= 1 or null, got 0"),
        ("val_limit_per_class", 0, "val_limit_per_class must be >= 1 or null, got 0"),
        ("image_size", 31, "image_size must be >= 32, got 31"),
        ("train_per_class", 0, "train_per_class must be >= 1, got 0"),
    ],
)
def test_bad_values_are_named(argument: str, value: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        photos(**{argument: value})
