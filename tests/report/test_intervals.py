from __future__ import annotations

import csv
import io
from dataclasses import replace

import numpy as np
import pytest
from rows import CLEAN

from entres.report import tables
from entres.report.figures import fig4b
from entres.report.formats import Share, as_csv, as_markdown
from entres.report.intervals import mcnemar, newcombe, wilson


@pytest.mark.parametrize(("right", "images"), [(0, 8), (8, 8), (1, 2), (93, 100), (35_665, 50_000)])
def test_the_same_interval_as_scipys(right: int, images: int) -> None:
    from scipy.stats import binomtest

    found = binomtest(right, images).proportion_ci(method="wilson")
    assert wilson(right / images, images) == pytest.approx((found.low, found.high), abs=1e-12)


def test_what_is_no_share_is_refused() -> None:
    for fraction, images in ((1.5, 10), (float("nan"), 10), (0.5, 0)):
        with pytest.raises(ValueError, match="a share in"):
            wilson(fraction, images)


def test_every_accuracy_has_its_interval() -> None:
    assert str(Share(0.93, 100)) == "93.0% [86.3, 96.6]"
    row = replace(CLEAN, top5=0.9, teacher_accuracy=0.7, accuracy_present=0.85)
    table = tables.results([row])
    (line,) = csv.DictReader(io.StringIO(as_csv(table)))
    for name, fraction in {"top-1": 0.8, "top-5": 0.9, "teacher": 0.7, "top-1*": 0.85}.items():
        ends = (float(line[f"{name} low"]), float(line[f"{name} high"]))
        assert float(line[name]) == fraction
        assert ends == pytest.approx(wilson(fraction, 100))
    assert "80.0% [71.1, 86.7]" in as_markdown(table)
    blur = replace(CLEAN, condition="corruption", corruption="snow", severity=1)
    wide = next(csv.DictReader(io.StringIO(as_csv(tables.severities([CLEAN, blur], gaps=False)))))
    low, high = wilson(0.8, 100)
    assert float(wide["severity 1 top-1 low"]) == pytest.approx(low)
    assert float(wide["severity 1 top-1 high"]) == pytest.approx(high)


def test_a_table_of_few_images_says_so() -> None:
    few = replace(CLEAN, images=8)
    for make in (tables.clean, tables.results, tables.figure_means):
        assert "few images: 8" in make([few]).note
        assert "few" not in make([CLEAN]).note
    assert "few images: 8 to 100" in tables.results([few, CLEAN]).note


def test_accuracies_in_figures_have_bars() -> None:
    attacked = replace(CLEAN, condition="noise", epsilon_255=8.0, accuracy=0.5)
    figure = fig4b([CLEAN, attacked])
    assert figure is not None
    segments = [s for c in figure.axes[1].collections for s in c.get_segments()]
    found = sorted((segment[0][1] / 100, segment[1][1] / 100) for segment in segments)
    assert found == [pytest.approx(wilson(0.5, 100)), pytest.approx(wilson(0.8, 100))]


@pytest.mark.parametrize(
    ("lost", "gained"), [(0, 0), (1, 0), (5, 0), (3, 9), (40, 40), (900, 1100)]
)
def test_the_same_p_value_as_scipys(lost: int, gained: int) -> None:
    from scipy.stats import binomtest

    wanted = binomtest(lost, lost + gained).pvalue if lost + gained else 1.0
    assert mcnemar(lost, gained) == pytest.approx(wanted, rel=1e-9)
    assert mcnemar(gained, lost) == mcnemar(lost, gained)
    with pytest.raises(ValueError, match="numbers of images"):
        mcnemar(-1, 2)


def test_the_interval_of_a_difference_is_newcombes() -> None:
    # An example of Newcombe 1998 and its interval by method 10, there the first less the second.
    assert newcombe(36, 2, 12, 0) == pytest.approx((0.0569, 0.3404), abs=1e-4)
    low, high = newcombe(36, 12, 2, 0)
    assert (low, high) == pytest.approx((-0.3404, -0.0569), abs=1e-4)
    # Corrected for continuity these do not go together: both ends are those of two samples.
    first, second = wilson(25 / 33, 33), wilson(26 / 33, 33)
    low = 1 / 33 - np.hypot(26 / 33 - second[0], first[1] - 25 / 33)
    high = 1 / 33 + np.hypot(second[1] - 26 / 33, 25 / 33 - first[0])
    assert newcombe(20, 5, 6, 2) == pytest.approx((low, high))
    low, high = newcombe(10, 0, 0, 0)
    assert low < 0 < high  # none differs, of ten
    with pytest.raises(ValueError, match="a share in"):
        newcombe(0, 0, 0, 0)


def test_a_difference_is_held_about_as_often_as_said() -> None:
    generator = np.random.default_rng(0)
    chances, held = [0.55, 0.2, 0.08, 0.17], 0
    for both, lost, gained, neither in generator.multinomial(60, chances, 1000):
        low, high = newcombe(both, lost, gained, neither)
        held += low <= -0.12 <= high
    assert 0.92 <= held / 1000 <= 0.98
