"""Which image comes when: subsets, the order of an epoch, and going on in mid-epoch.

The order and the augmentation of a training epoch are pure functions of ``(seed, epoch, index)``.
A run that was killed and resumed, with any number of workers, therefore sees what an uninterrupted
run would have seen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from lightning.pytorch.overrides.distributed import UnrepeatedDistributedSampler
from lightning.pytorch.utilities import rank_zero_warn
from numpy.typing import NDArray
from torch.utils.data import Dataset, DistributedSampler

from entres.data.batches import BatchLoader
from entres.data.checks import DataError, require_at_least

Key = tuple[int, int]
"""``(position, epoch)``: what the training sampler yields and the training data set takes."""


def mix_seed(*parts: int) -> int:
    """Hashes non-negative integers to a seed, so that neighbouring inputs give unrelated streams.

    Args:
        parts: for example seed, epoch and index.

    Returns:
        An integer in [0, 2**63).
    """
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> np.uint64(1))


def evenly_spaced(labels: NDArray[np.int64], limit: int | None) -> NDArray[np.int64]:
    """Chooses at most ``limit`` images of every class, evenly spaced over the class.

    The first images of a class are often of one source or one day, so they would be a biased
    choice; a random choice would change with the seed. Evenly spaced images are neither.

    An odd multiple of a limit keeps all that the limit keeps (1, 5, 15, 45), so that two
    evaluations can be paired by image. An even multiple need not.

    Args:
        labels: label of every image, shape (N,).
        limit: number of images kept per class; a class with fewer keeps all; ``None`` keeps all.

    Returns:
        Positions of the images that are kept, ascending, shape (M,).
    """
    if limit is None:
        return np.arange(len(labels), dtype=np.int64)
    order = np.argsort(labels, kind="stable")
    _, counts = np.unique(labels, return_counts=True)
    kept = []
    for members in np.split(order, np.cumsum(counts)[:-1]):
        count = min(limit, len(members))
        # The middles of `count` equal parts of the class.
        kept.append(members[(2 * np.arange(count) + 1) * len(members) // (2 * count)])
    return np.sort(np.concatenate(kept)).astype(np.int64)


def held_out(keys: Sequence[str], labels: NDArray[np.int64], share: float) -> NDArray[np.bool_]:
    """Chooses a part of every class for test, by the images' names alone.

    Those whose hash is smallest are taken: the choice is as good as random, the same on every
    machine, and an image that is added or removed changes that of few others.

    Args:
        keys: name of every image, N different ones.
        labels: class of every image, shape (N,); at least two images of each class.
        share: part of a class that is chosen, in (0, 1); at least one image, and never all.

    Returns:
        Whether an image is chosen, shape (N,).
    """
    # A name of a file may hold bytes that are no Unicode.
    names = [key.encode("utf-8", "surrogateescape") for key in keys]
    hashes = np.array([hashlib.blake2b(name, digest_size=8).digest() for name in names], "V8")
    ranks = hashes.view(">u8")
    chosen = np.zeros(len(labels), dtype=np.bool_)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        count = min(max(round(share * len(members)), 1), len(members) - 1)
        chosen[members[np.argsort(ranks[members], kind="stable")[:count]]] = True
    return chosen


class ResumableSampler(DistributedSampler[Any]):
    """Yields ``(position, epoch)`` in an order that depends on seed and epoch only.

    Every rank gets the same number of positions: the last ``size % num_replicas`` of the shuffled
    order are left out, other ones in every epoch. It is a ``DistributedSampler`` because Lightning
    leaves those alone and calls their ``set_epoch``.

    Args:
        size: number of images in the data set.
        num_replicas: number of ranks.
        rank: this rank.
        seed: the run's seed.
        start: number of this rank's positions to skip in the next pass, and only in that one:
            those that were consumed before a run was interrupted in mid-epoch.

    Raises:
        ValueError: if a value is out of range.
        DataError: if there are fewer images than ranks.
    """

    def __init__(
        self, size: int, *, num_replicas: int = 1, rank: int = 0, seed: int = 0, start: int = 0
    ) -> None:
        require_at_least("num_replicas", num_replicas, 1)
        require_at_least("seed", seed, 0)
        require_at_least("start", start, 0)
        if size < num_replicas:
            raise DataError(
                f"training needs at least one image per rank, got {size} images for "
                f"{num_replicas} ranks: raise limit_per_class or use fewer devices"
            )
        super().__init__(range(size), num_replicas, rank, seed=seed, drop_last=True)  # type: ignore[arg-type]
        self.size = size
        self.start = start

    def __len__(self) -> int:
        """Number of positions of this rank in a whole epoch, whatever ``start`` is."""
        return self.size // self.num_replicas

    def __iter__(self) -> Iterator[Key]:
        start, self.start = self.start, 0
        epoch = self.epoch
        generator = torch.Generator().manual_seed(mix_seed(self.seed, epoch))
        order = torch.randperm(self.size, generator=generator)
        mine = order[self.rank :: self.num_replicas][: len(self)]
        for position in mine[start:].tolist():
            yield position, epoch


class RemainingSampler(UnrepeatedDistributedSampler):
    """Positions of the images that are not evaluated yet, in order, each on exactly one rank.

    Where fewer are left than there are ranks, some of the others come again, so that every rank has
    one; where none is left, no rank has any.

    Args:
        indices: index of the image at every position, shape (N,).
        evaluated: indices that are left out.
        num_replicas: number of ranks.
        rank: this rank.
    """

    def __init__(
        self,
        indices: NDArray[np.int64],
        evaluated: Collection[int] = (),
        *,
        num_replicas: int = 1,
        rank: int = 0,
    ) -> None:
        done = np.isin(indices, list(evaluated))
        self.evaluated = frozenset(evaluated)
        positions = np.flatnonzero(~done).tolist()
        if positions:
            positions += np.flatnonzero(done).tolist()[: max(num_replicas - len(positions), 0)]
        self.positions: list[int] = positions
        super().__init__(positions, num_replicas, rank, shuffle=False)

    def __iter__(self) -> Iterator[int]:  # type: ignore[override]
        return iter(self.positions[self.rank :: self.num_replicas])


class TrainingLoader(BatchLoader):
    """A loader of batches that goes on where a run was interrupted in mid-epoch.

    Lightning restores its own counters and then draws from the loader as if the loader had
    already skipped what was consumed: it skips nothing itself. It calls ``load_state_dict`` only
    when it resumes an unfinished epoch; the next pass then starts after the batches that Lightning
    counts as done.

    Args:
        dataset: takes the sampler's keys.
        sampler: a :class:`ResumableSampler` (Lightning's ``overfit_batches`` puts another).
        progress: the trainer's current epoch and the number of its batches that are done;
            ``None`` without a trainer.
        kwargs: for ``DataLoader``.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        sampler: Any,
        progress: Callable[[], tuple[int, int]] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(dataset, sampler=sampler, **kwargs)
        self.progress = progress
        self._resuming = False

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        # A generator, so that nothing is drawn before the first batch is asked for. Lightning makes
        # the first iterator before it sets the sampler's epoch and settles its batch counter, and
        # an eager iterator with workers would prefetch from the wrong epoch.
        if self.progress is not None and isinstance(self.sampler, ResumableSampler):
            epoch, batches = self.progress()
            # Not left to Lightning's own call of set_epoch: with max_steps, the number it passes
            # is one too high ever after a checkpoint from the end of an epoch was resumed.
            self.sampler.set_epoch(epoch)
            self.sampler.start = batches * (self.batch_size or 1) if self._resuming else 0
        self._resuming = False
        yield from super().__iter__()

    def state_dict(self) -> dict[str, int]:
        """What the position in an epoch depends on; Lightning keeps it in its checkpoints."""
        state = {"batch_size": self.batch_size or 1}
        if isinstance(self.sampler, ResumableSampler):
            sampler = self.sampler
            state |= {
                "seed": sampler.seed,
                "size": sampler.size,
                "num_replicas": sampler.num_replicas,
            }
        return state

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Makes the next pass start after the batches that were done.

        Args:
            state: what :meth:`state_dict` gave when the checkpoint was written.
        """
        self._resuming = True
        now = self.state_dict()
        changed = [
            f"{key} {state.get(key)} -> {now[key]}" for key in now if state.get(key) != now[key]
        ]
        if changed:
            rank_zero_warn(
                f"resuming in mid-epoch with other data settings ({', '.join(changed)}): the rest "
                "of this epoch repeats some images and leaves out others; give the settings of the "
                "interrupted run to avoid it"
            )
