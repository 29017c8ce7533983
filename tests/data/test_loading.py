"""What crosses from the loader's processes, and what is said when they fail."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from entres.data import DataError, EvaluationDataset, ImageSource, PhotosDataModule
from entres.data.batches import BatchLoader, collate, stack, to_float


def photos(**options: object) -> PhotosDataModule:
    defaults: dict = {"image_size": 32, "train_per_class": 4, "test_per_class": 3}
    return PhotosDataModule(**{**defaults, **options})


@pytest.mark.parametrize("loader", ["train_dataloader", "val_dataloader", "test_dataloader"])
def test_the_loaders_processes_send_bytes_and_the_loader_gives_floats(loader: str) -> None:
    data = photos(num_workers=1, batch_size=8, eval_batch_size=8)
    sent = next(DataLoader.__iter__(getattr(data, loader)()))
    assert sent.images.dtype == torch.uint8
    assert sent.images.is_shared()
    assert sent.images.nbytes == 8 * 3 * 32 * 32
    given = next(iter(getattr(data, loader)()))
    assert given.images.dtype == torch.float32
    assert not any(tensor.is_shared() for tensor in given[:3])
    assert torch.equal(given.images, sent.images.to(torch.float32).div_(255))


def test_processes_and_none_give_the_same_batches() -> None:
    one, other = (photos(num_workers=n, batch_size=8).train_dataloader() for n in (0, 2))
    for batch, same in zip(one, other, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(batch[:3], same[:3], strict=True))


def test_every_byte_becomes_its_255th_part_once() -> None:
    stored = torch.arange(256, dtype=torch.uint8).expand(3, 1, 256)
    batch = collate([(stored, 1, 2)])
    assert torch.equal(batch.images[0, 0, 0], torch.arange(256.0) / 255)
    assert to_float(batch) is batch
    assert stack([(stored, 1, 2)]).images.dtype == torch.uint8


class Failing(ImageSource):
    """Fails the way it is told to."""

    def __init__(self, how: str) -> None:
        self.labels = np.zeros(4, dtype=np.int64)
        self.how = how

    def image(self, index: int) -> Tensor:
        if self.how == "data":
            raise DataError("cannot read the image /a: DataError: is in its name too")
        if self.how == "bug":
            raise RuntimeError("a mistake of ours")
        os.kill(os.getpid(), getattr(signal, self.how))
        raise AssertionError


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("SIGBUS", r"2 loader processes ran out of shared memory .*num_workers: 0.*--shm-size"),
        ("SIGKILL", r"one of the 2 loader processes died .*Killed.*num_workers: 0"),
    ],
)
def test_a_process_that_dies_says_what_to_do(how: str, message: str) -> None:
    loader = BatchLoader(EvaluationDataset(Failing(how), [0, 1]), num_workers=2, collate_fn=stack)
    with pytest.raises(DataError, match=message):
        list(loader)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_of_the_data_is_one_sentence_from_a_process_too(workers: int) -> None:
    dataset = EvaluationDataset(Failing("data"), [0])
    with pytest.raises(DataError) as caught:
        list(BatchLoader(dataset, num_workers=workers, collate_fn=stack))
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith("is in its name too")
    dataset = EvaluationDataset(Failing("bug"), [0])
    with pytest.raises(RuntimeError, match="a mistake of ours"):
        list(BatchLoader(dataset, num_workers=workers, collate_fn=stack))


@pytest.mark.parametrize(
    "error",
    [
        "unable to write to file </torch_81_2>: No space left on device (28)",
        "unable to allocate shared memory(shm) for file </torch_8_1>: No space left on device",
    ],
)
def test_no_room_in_a_process_is_said_and_does_not_hang(
    monkeypatch: pytest.MonkeyPatch, error: str
) -> None:
    def full(tensor: Tensor) -> Tensor:
        raise RuntimeError(error)

    monkeypatch.setattr(Tensor, "share_memory_", full)  # a forked process has it too
    with pytest.raises(DataError, match=r"1 loader processes ran out of shared memory .*space"):
        list(photos(num_workers=1).test_dataloader())


LITTLE = """
import os
from entres.data import DataError, PhotosDataModule
data = PhotosDataModule(image_size=128, batch_size=32, train_per_class=16, num_workers=1)
print(len(list(data.train_dataloader())), "batches")
os.system("mount -o remount,size=1m /dev/shm")
try:
    list(data.train_dataloader())
except DataError as error:
    print(error)
"""


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("unshare"), reason="needs unshare")
def test_little_shared_memory_is_enough_for_bytes_and_said_where_it_is_not() -> None:
    # A batch has 1.5 MiB as bytes and 6 MiB as floats; three are there at a time.
    script = f"mount -t tmpfs -o size=6m tmpfs /dev/shm && exec {sys.executable} -c '{LITTLE}'"
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    if done.returncode and ("mount" in done.stderr or "unshare" in done.stderr):
        pytest.skip("mounting is not allowed here")
    batches, sentence = done.stdout.splitlines()
    assert batches == "4 batches"
    assert sentence.startswith("the 1 loader processes ran out of shared memory")
