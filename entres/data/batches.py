"""The batch that flows through the project, and how it comes from the loader's processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, get_worker_info

from entres.data.checks import DataError


class Batch(NamedTuple):
    """A batch of N labelled images.

    Attributes:
        images: float32 in [0, 1], *not* normalized, shape (N, 3, H, W).
        labels: int64, shape (N,).
        indices: int64, shape (N,); an image's index in its split, the same in every run, epoch and
            subset: what drops duplicates across ranks.
        notes: what was measured on each image while the batch was made (by an attack, for example),
            by name, each of shape (N,); None where nothing was.
    """

    images: Tensor
    labels: Tensor
    indices: Tensor
    notes: dict[str, Tensor] | None = None


def stack(samples: Sequence[tuple[Tensor, int, int]]) -> Batch:
    """Stacks samples of one size as they are stored: what a loader's process sends.

    Args:
        samples: image (uint8, shape (3, H, W)), label and index of each.

    Returns:
        A batch whose images are still uint8 in [0, 255]; :func:`to_float` makes them what the rest
        of the project takes.
    """
    images, labels, indices = zip(*samples, strict=True)
    batch = Batch(
        images=torch.stack(images),
        labels=torch.tensor(labels, dtype=torch.int64),
        indices=torch.tensor(indices, dtype=torch.int64),
    )
    if get_worker_info() is not None:
        # Here and not by the queue's own thread: where there is no room, that thread prints a
        # traceback and drops the batch, and the main process waits for it for ever.
        for tensor in (batch.images, batch.labels, batch.indices):
            tensor.share_memory_()  # type: ignore[no-untyped-call]
    return batch


def to_float(batch: Batch) -> Batch:
    """Makes images of bytes into floats in [0, 1]; a batch that has floats is left as it is.

    Args:
        batch: images uint8 in [0, 255], in pinned memory or not.

    Returns:
        The batch with images float32 in [0, 1], pinned where they were, and with nothing left in
        the memory that is shared with the loader's processes.
    """
    stored = batch.images
    if stored.dtype != torch.uint8:
        return batch
    images = torch.empty(stored.shape, dtype=torch.float32, pin_memory=stored.is_pinned())
    images.copy_(stored).div_(255)
    # Records keep labels and indices, and every tensor that is shared holds a file open.
    return batch._replace(images=images, labels=_own(batch.labels), indices=_own(batch.indices))


def _own(tensor: Tensor) -> Tensor:
    return tensor.clone() if tensor.is_shared() else tensor  # type: ignore[no-untyped-call]


def collate(samples: Sequence[tuple[Tensor, int, int]]) -> Batch:
    """Stacks samples of one size to a :class:`Batch`, for a loader of one's own."""
    return to_float(stack(samples))


class BatchLoader(DataLoader[Any]):
    """A loader whose processes send bytes and which gives floats.

    Batches cross from process to process in shared memory, of which a container often has 64 MiB:
    floats would need four times as much. Conversion is done here, in the process that asks for
    the batch, so that nobody who iterates has to know. The arguments are those of ``DataLoader``,
    with :func:`stack` as ``collate_fn``.
    """

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        batches = super().__iter__()
        while True:
            try:
                # Nothing here keeps the bytes while the floats are in use.
                batch = _floats(next(batches))
            except StopIteration:
                return
            except DataError as error:
                # What a process raises arrives as text, its traceback before it.
                sentence = str(error).rsplit("DataError: ", 1)[-1].strip()
                raise DataError(sentence) from error
            except (RuntimeError, OSError) as error:
                if (hint := _what_to_do(error, self.num_workers)) is None:
                    raise
                raise DataError(hint) from error
            yield batch


def _floats(batch: object) -> object:
    return to_float(batch) if isinstance(batch, Batch) else batch


NO_ROOM = (
    "shared memory",
    "Bus error",
    "unable to write to file",
    "unable to resize file",
    "unable to mmap",
    "No space left on device",
)
NO_FILES = ("Too many open files", "received 0 items of ancdata")
DIED = ("killed by signal", "exited unexpectedly")


def _what_to_do(error: BaseException, workers: int) -> str | None:
    """The sentence for a loader's process that died of what the machine lacks, else None."""
    if workers == 0:
        return None
    # torch says that a process ended, and by which signal only in what it says that from.
    cause: BaseException = error
    while (further := cause.__cause__ or cause.__context__) is not None:
        cause = further
    words = f"{error}\n{cause}"
    lines = str(cause).strip().splitlines() or [type(cause).__name__]
    reason = lines[-1].removesuffix(".").strip()

    def has(signs: tuple[str, ...]) -> bool:
        return any(sign in words for sign in signs)

    if has(NO_ROOM):
        return (
            f"the {workers} loader processes ran out of shared memory ({reason}): set "
            "num_workers: 0 or a smaller batch_size, or give the container more with "
            "--shm-size 1g"
        )
    if has(NO_FILES):
        return (
            f"the {workers} loader processes have too many files open ({reason}): raise the limit "
            "with `ulimit -n 65536`, or set num_workers: 0"
        )
    if has(DIED):
        return (
            f"one of the {workers} loader processes died ({reason}), mostly for lack of memory: "
            "set num_workers: 0 or a smaller batch_size"
        )
    return None
