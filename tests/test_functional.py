"""The pure tensor functions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.fft
import torch

from entres.functional import (
    bits_from_likelihoods,
    dct_matrix,
    low_pass,
    relative_error,
    squared_error,
)


def test_bits_of_halves_and_quarters() -> None:
    halves = torch.full((2, 3, 4, 5), 0.5)
    quarters = torch.full((2, 7), 0.25)
    assert bits_from_likelihoods([halves, quarters]).tolist() == [60 + 14, 60 + 14]


def test_bits_are_counted_per_image() -> None:
    generator = torch.Generator().manual_seed(0)
    likelihoods = [torch.rand(3, 2, 4, 4, generator=generator) * 0.9 + 0.1 for _ in range(2)]
    bits = bits_from_likelihoods(likelihoods)
    for i in range(3):
        expected = sum(-math.log2(p) for t in likelihoods for p in t[i].flatten().tolist())
        assert bits[i].item() == pytest.approx(expected, rel=1e-5)


def test_bits_are_differentiable() -> None:
    p = torch.tensor([[0.5, 0.25]], requires_grad=True)
    bits_from_likelihoods([p]).sum().backward()
    assert p.grad is not None
    # d(-log2 p)/dp = -1 / (p ln 2)
    torch.testing.assert_close(p.grad, -1 / (p.detach() * math.log(2)))


def test_bits_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one tensor, got none"):
        bits_from_likelihoods([])


def test_squared_error_sums_each_image() -> None:
    a = torch.tensor([[[1.0, 2.0]], [[0.0, 0.0]]])
    b = torch.tensor([[[0.0, 4.0]], [[3.0, 0.0]]])
    assert squared_error(a, b).tolist() == [5.0, 9.0]


def test_squared_error_does_not_broadcast() -> None:
    with pytest.raises(ValueError, match=r"shapes differ: \(2, 3, 4\) and \(2, 1, 4\)"):
        squared_error(torch.zeros(2, 3, 4), torch.zeros(2, 1, 4))


def test_a_relative_error_is_in_units_of_the_targets_energy() -> None:
    target = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    # Energies 25 and 4, whose errors count alike; a target of zero that is met has none.
    other = torch.tensor([[2.0], [1.0]])
    inputs = [torch.tensor([[3.0, 5.0], [0.0, 0.0]]), torch.tensor([[0.0], [0.0]])]
    assert relative_error(inputs, [target, other]).tolist() == pytest.approx(
        [(1 / 25 + 1) / 2, (0 + 1) / 2]
    )
    with pytest.raises(ValueError, match="zip"):
        relative_error(inputs, [target])
    large = torch.full((1, 4096), 100.0)
    assert relative_error([0.9 * large.half()], [large.half()]).item() == pytest.approx(0.01, 0.02)
    nothing = torch.zeros(1, 4)
    assert relative_error([nothing + 3], [nothing]).item() == 36


def test_low_pass_is_a_mask_in_scipys_dct() -> None:
    x = torch.rand(2, 3, 20, 30, generator=torch.Generator().manual_seed(0))
    kept = np.zeros((20, 30))
    kept[:6, :9] = 1  # 0.3 of each side
    spectrum = scipy.fft.dctn(x.double().numpy(), axes=(-2, -1), norm="ortho")
    expected = scipy.fft.idctn(spectrum * kept, axes=(-2, -1), norm="ortho")
    assert np.allclose(low_pass(x, 0.3).numpy(), expected, atol=1e-6)
    assert torch.allclose(low_pass(x, 1.0), x, atol=1e-5)
    once = low_pass(x, 0.25)
    assert torch.allclose(low_pass(once, 0.25), once, atol=1e-5)
    mean = x.mean((-2, -1), keepdim=True).expand_as(x)
    assert torch.allclose(low_pass(x, 1e-9), mean, atol=1e-5)
    with pytest.raises(ValueError, match="ratio is a share"):
        low_pass(x, 0.0)


@pytest.mark.parametrize("size", [1, 2, 7, 224])
def test_dct_matrix_is_scipys(size: int) -> None:
    expected = scipy.fft.dct(np.eye(size), axis=0, norm="ortho")
    assert np.allclose(dct_matrix(size).numpy(), expected, atol=1e-6)
