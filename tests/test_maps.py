"""What maps are made of, and their figures."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import scipy.stats
import torch

from entres.bitstream import KIB
from entres.maps import (
    STATISTICS,
    ImageMaps,
    bootstrap_interval,
    grad_cam,
    image_maps,
    rank_correlation,
    statistics,
    summary,
)
from entres.models import EntropicStudent


def test_rank_correlation_is_scipys() -> None:
    a = torch.randint(0, 6, (9, 11), generator=torch.Generator().manual_seed(0)).float()
    b = a + torch.randint(0, 4, a.shape, generator=torch.Generator().manual_seed(1))
    expected = scipy.stats.spearmanr(a.flatten(), b.flatten()).statistic
    assert rank_correlation(a, b) == pytest.approx(expected)
    assert rank_correlation(a, torch.exp(a)) == pytest.approx(1)


def test_bootstrap_covers_as_it_says() -> None:
    generator = torch.Generator().manual_seed(0)
    covered = 0
    for _ in range(100):
        sample = torch.randn(40, generator=generator).tolist()
        low, high = bootstrap_interval(sample, draws=400)
        covered += low < 0 < high
    assert 86 <= covered <= 100


def test_shares_of_the_background() -> None:
    saliency = torch.tensor([[[1.0, 0.9], [0.1, 0.0]]])
    ones = torch.ones(1, 2, 2)
    added = torch.tensor([[[1.0, -5.0], [3.0, 0.0]]])
    found = statistics(ImageMaps(ones, torch.rand(1, 2, 2), added, ones, saliency))
    assert tuple(found) == STATISTICS
    assert found["background_area"].tolist() == [0.5]
    assert found["background_clean"].tolist() == [0.5]
    assert found["background_pgd_e"].tolist() == [0.75]  # of what rises
    assert found["kib_pgd_e"].tolist() == pytest.approx([-1 / (8 * KIB)])


def test_an_image_without_a_figure_is_left_out_of_its_mean() -> None:
    columns = {name: torch.tensor([1.0, 3.0, 5.0]) for name in STATISTICS}
    columns["rank_correlation"][0] = float("nan")
    found = summary(columns)
    assert found["images"] == 3
    assert found["rank_correlation"]["mean"] == 4
    assert found["kib_clean"]["mean"] == 3
    assert found["background_clean_over_area"] == {"mean": 0.0, "interval": (0.0, 0.0)}
    columns["rank_correlation"][:] = float("nan")
    assert "rank_correlation" not in summary(columns)


def test_grad_cam_is_where_the_evidence_is(make_student: Callable[..., EntropicStudent]) -> None:
    student = make_student()
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    found = grad_cam(student, images, (15, 15))
    assert found.shape == (2, 15, 15)
    assert found.min() >= 0
    assert found.amax((1, 2)).sub(1).abs().max() < 1e-6
    with torch.inference_mode():
        assert torch.equal(grad_cam(student, images.clone(), (15, 15)), found)


def test_maps_of_an_image_do_not_depend_on_its_batch(
    make_student: Callable[..., EntropicStudent],
) -> None:
    student = make_student()
    images = torch.rand(2, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([1, 2])
    both = image_maps(student, images, labels, 8, 2, 0, torch.tensor([5, 6]))
    alone = image_maps(student, images[1:], labels[1:], 8, 2, 0, torch.tensor([6]))
    for of_both, of_one in zip(both, alone, strict=True):
        # A convolution may round differently in a batch of another size.
        assert torch.allclose(of_both[1:], of_one, atol=1e-2)
    assert both.added_e.sum() > 0
    bits = student(images, "round").likelihoods["y"].log2().neg().sum((1, 2, 3))
    assert torch.allclose(both.bits.sum((1, 2)), bits)
