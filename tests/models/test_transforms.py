"""The layers: compressai's own, quicker where there is no gradient."""

from __future__ import annotations

import compressai.layers
import pytest
import torch

from entres.models.layers import GDN1


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("inverse", [False, True])
def test_normalization_is_that_of_compressai_to_the_last_bit(
    inverse: bool, memory_format: torch.memory_format
) -> None:
    generator = torch.Generator().manual_seed(0)
    ours, theirs = GDN1(12, inverse=inverse), compressai.layers.GDN1(12, inverse=inverse)
    with torch.no_grad():
        ours.gamma.add_(torch.rand(ours.gamma.shape, generator=generator))
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 12, 9, 14, generator=generator).contiguous(memory_format=memory_format)
    before = x.clone()
    expected = theirs(x).detach()
    with torch.no_grad():
        assert torch.equal(ours(x), expected)
    assert torch.equal(ours(x), expected)
    assert torch.equal(x, before)
    ours(x.requires_grad_()).sum().backward()
    assert x.grad is not None
    assert x.grad.any()
