"""What a CPU and a GPU share: streams, sizes, features, attacks."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from skimage import data
from torch import Tensor

from entres.attacks import PGDE, SignNoise, StudentVictim
from entres.models import EntropicStudent, NoisePerImage

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
MakeStudent = Callable[..., EntropicStudent]


@pytest.fixture(params=["fp", "mshp"])
def student(request: pytest.FixtureRequest, make_student: MakeStudent) -> EntropicStudent:
    return make_student(request.param)


@pytest.fixture
def images() -> Tensor:
    """Six pieces of a photograph, shape (6, 3, 128, 128)."""
    photo = torch.from_numpy(data.astronaut()).permute(2, 0, 1).float() / 255
    return torch.stack([photo[:, 60 * i : 60 * i + 128, 100:228] for i in range(6)])


def on_gpu(student: EntropicStudent) -> EntropicStudent:
    return copy.deepcopy(student).cuda()


def close(there: Tensor, here: Tensor, share: float = 1e-6) -> bool:
    """Whether values differ by at most this share of the largest."""
    return bool((there.cpu() - here.cpu()).abs().max() <= share * here.abs().max().cpu())


@torch.no_grad()
def test_a_stream_of_either_decodes_on_the_other(student: EntropicStudent, images: Tensor) -> None:
    there = on_gpu(student)
    for sender, receiver, x in ((student, there, images), (there, student, images.cuda())):
        streams = sender.encode(x)
        sent = sender.codec.decode_latents(streams)
        received = receiver.codec.decode_latents(streams)
        assert sent.abs().max() > 2
        assert torch.equal(sent.cpu(), received.cpu())
        assert close(receiver.codec.decompress(streams), sender.codec.decompress(streams), 1e-5)
        assert torch.equal(
            receiver.decode(streams).argmax(1).cpu(), sender.decode(streams).argmax(1).cpu()
        )


@torch.no_grad()
def test_of_the_same_symbols_sizes_and_features_are_the_same(
    student: EntropicStudent, images: Tensor
) -> None:
    there = on_gpu(student)
    x = images.cuda()
    plan = there.codec.plan(there.normalize(x))
    sizes = there.codec.stream_sizes(plan)
    streams = there.encode(x)
    assert sizes.stream.tolist() == [len(stream) for stream in streams]
    # A CPU's convolutions may round a few values to the other side: sizes agree but for those.
    here = [len(stream) for stream in student.encode(images)]
    assert sizes.stream.tolist() == pytest.approx(here, rel=0.01)
    latents = student.codec.decode_latents(streams)
    features = there.codec.synthesise(latents.cuda())
    assert close(features, student.codec.synthesise(latents), 1e-6)


def test_an_attack_runs_on_a_gpu_and_does_the_same(
    student: EntropicStudent, images: Tensor
) -> None:
    attacked = {}
    for device in ("cpu", "cuda"):
        victim = StudentVictim(copy.deepcopy(student).to(device))
        x = images.to(device)
        result = PGDE(8, steps=5)(victim, x, None)
        assert result.device.type == device
        assert (result - x).abs().max() <= 8 / 255 + 1e-6
        assert 0 <= result.min() <= result.max() <= 1
        with torch.no_grad():
            attacked[device] = sum(map(len, student.encode(result.cpu())))
    with torch.no_grad():
        clean = sum(map(len, student.encode(images)))
    assert attacked["cuda"] > 1.05 * clean
    assert attacked["cuda"] == pytest.approx(attacked["cpu"], rel=0.1)


def test_random_signs_are_the_same_and_an_attack_is_the_same_in_any_batch(
    student: EntropicStudent, images: Tensor
) -> None:
    there = StudentVictim(on_gpu(student))
    indices = torch.arange(len(images))
    x, places = images.cuda(), indices.cuda()
    here = SignNoise(8)(StudentVictim(student), images, None, NoisePerImage(0, indices))
    assert torch.equal(SignNoise(8)(there, x, None, NoisePerImage(0, places)).cpu(), here)
    attack = PGDE(8, steps=1)
    whole = attack(there, x, None, NoisePerImage(0, places))
    some = attack(there, x[[4, 1]], None, NoisePerImage(0, places[[4, 1]]))
    # A sign may flip where a gradient is all but zero.
    assert (whole[[4, 1]] == some).float().mean() > 0.99
