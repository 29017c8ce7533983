"""Subsets, the order of an epoch, and the seeds of the augmentation."""

from itertools import chain

import numpy as np
import pytest
import torch
from torch import Tensor

from entres.data import DataError, ImageSource, ResumableSampler, TrainingDataset, evenly_spaced
from entres.data.sampling import RemainingSampler, mix_seed


class NoiseSource(ImageSource):
    """One random pixel value per image."""

    def __init__(self, size: int) -> None:
        self.labels = np.zeros(size, dtype=np.int64)

    def image(self, index: int) -> Tensor:
        return torch.randint(0, 2**31, (1,))


def epoch_of(sampler: ResumableSampler, epoch: int) -> list[int]:
    sampler.set_epoch(epoch)
    keys = list(sampler)
    assert {key[1] for key in keys} == {epoch}
    return [position for position, _ in keys]


def test_order_is_a_function_of_seed_and_epoch_alone() -> None:
    first, second = ResumableSampler(50, seed=3), ResumableSampler(50, seed=3)
    epoch_of(first, 0)
    torch.manual_seed(123)  # the global state must not matter, nor the epochs before
    assert epoch_of(first, 5) == epoch_of(second, 5)
    assert epoch_of(first, 5) != epoch_of(first, 6)
    assert epoch_of(first, 5) != epoch_of(ResumableSampler(50, seed=4), 5)
    assert sorted(epoch_of(first, 5)) == list(range(50))


def test_ranks_share_an_epoch_without_overlap_and_in_equal_parts() -> None:
    parts = [epoch_of(ResumableSampler(11, num_replicas=3, rank=rank), 2) for rank in range(3)]
    assert [len(part) for part in parts] == [3, 3, 3]
    assert len(set().union(*parts)) == 9
    assert len(ResumableSampler(11, num_replicas=3, rank=1)) == 3


def test_images_left_out_differ_between_epochs() -> None:
    sampler = ResumableSampler(5, num_replicas=2)
    seen = set().union(*(epoch_of(sampler, epoch) for epoch in range(8)))
    assert seen == set(range(5))


def test_start_skips_in_one_pass_only() -> None:
    whole = epoch_of(ResumableSampler(20, num_replicas=2, rank=1, seed=1), 4)
    sampler = ResumableSampler(20, num_replicas=2, rank=1, seed=1, start=6)
    assert len(sampler) == 10
    assert epoch_of(sampler, 4) == whole[6:]
    assert epoch_of(sampler, 4) == whole


def test_more_ranks_than_images_is_an_error() -> None:
    with pytest.raises(DataError, match="got 2 images for 3 ranks"):
        ResumableSampler(2, num_replicas=3)


def test_augmentation_depends_on_seed_epoch_and_stable_index_only() -> None:
    every = TrainingDataset(NoiseSource(10), range(10), seed=1)
    subset = TrainingDataset(NoiseSource(10), [4, 7], seed=1)
    every[(3, 0)]
    torch.manual_seed(9)
    value = every[(7, 2)][0]
    assert torch.equal(subset[(1, 2)][0], value), "the place in a subset must not matter"
    assert subset[(1, 2)][2] == 7
    other_seed = TrainingDataset(NoiseSource(10), range(10), seed=2)
    draws = [value, every[(7, 3)][0], every[(6, 2)][0], other_seed[(7, 2)][0]]
    assert len({int(draw) for draw in draws}) == 4


def test_augmentation_leaves_the_random_state_of_the_caller() -> None:
    data = TrainingDataset(NoiseSource(3), range(3), seed=0)
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    data[(0, 0)]
    assert torch.equal(torch.rand(2), expected)


def test_mixed_seeds_do_not_collide_where_sums_or_products_would() -> None:
    seeds = {mix_seed(a, b, c) for a in range(8) for b in range(8) for c in range(8)}
    assert len(seeds) == 8**3
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_evenly_spaced_keeps_every_class_and_spans_it() -> None:
    labels = np.array([0, 1] * 50 + [2] * 3)
    kept = evenly_spaced(labels, 5)
    assert [int((labels[kept] == label).sum()) for label in range(3)] == [5, 5, 3]
    of_class_0 = kept[labels[kept] == 0] // 2
    assert of_class_0.tolist() == [5, 15, 25, 35, 45]
    assert kept.tolist() == sorted(kept)
    assert evenly_spaced(labels, None).tolist() == list(range(103))


def test_an_odd_multiple_of_a_limit_keeps_what_the_limit_keeps() -> None:
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [50, 387, 409]))
    kept = [set(evenly_spaced(labels, limit).tolist()) for limit in (1, 5, 15, 45)]
    assert kept[0] < kept[1] < kept[2] < kept[3]
    assert not kept[1] <= set(evenly_spaced(labels, 10).tolist())


@pytest.mark.parametrize("replicas", [1, 2, 3])
def test_what_remains_is_on_one_rank_each_and_no_rank_goes_without(replicas: int) -> None:
    indices = np.array([3, 5, 8, 13, 21, 34, 55])

    def on_ranks(evaluated: set[int]) -> list[list[int]]:
        samplers = [
            RemainingSampler(indices, evaluated, num_replicas=replicas, rank=rank)
            for rank in range(replicas)
        ]
        assert all(len(sampler) == len(list(sampler)) for sampler in samplers)
        return [indices[list(sampler)].tolist() for sampler in samplers]

    assert sorted(chain(*on_ranks(set()))) == indices.tolist()
    assert sorted(chain(*on_ranks({5, 21, 4}))) == [3, 8, 13, 34, 55]
    assert on_ranks({3, 5})[0][0] == 8
    last = on_ranks({3, 5, 8, 13, 21, 34})
    assert all(last)
    assert last[0] == [55]
    assert on_ranks(set(indices.tolist())) == [[]] * replicas
