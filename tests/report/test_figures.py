from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from rows import CLEAN

from entres.cli import main
from entres.report.figures import attacks_over_epsilon, fig4a, fig4b, write_figures
from entres.results import write_summary

NOISE = replace(CLEAN, condition="noise", epsilon_255=8.0, kib_mean=9.75, norm="linf")
STRONG = replace(NOISE, condition="pgd_e", preset="strong", kib_mean=20.0, accuracy=0.6)
PUBLISHED = replace(STRONG, preset="published", kib_mean=12.0)
ROWS = [CLEAN, NOISE, STRONG, PUBLISHED]
OTHER = [replace(row, student="resnet50-fp-beta0.08-joint", codec="fp") for row in ROWS[:3]]


def test_a_bar_for_every_attack_preset_and_student_at_its_epsilon() -> None:
    figure = fig4b(ROWS + OTHER)
    assert figure is not None
    size, accuracy = figure.axes
    heights = sorted(
        bar.get_height() for bars in size.containers for bar in getattr(bars, "patches", [])
    )
    assert heights == [9.75, 9.75, 10.0, 10.0, 12.0, 20.0, 20.0]
    assert [label.get_text() for label in accuracy.get_xticklabels()] == ["fp", "mshp"]
    (legend,) = figure.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names == ["clean", "random noise", "PGD-E, published", "PGD-E, strong"]
    assert fig4a(ROWS) is None  # nothing at 4/255


def test_lines_over_epsilon_in_the_order_of_epsilon() -> None:
    figure = attacks_over_epsilon([replace(STRONG, epsilon_255=2.0, kib_mean=11.0), *ROWS])
    assert figure is not None
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    assert list(lines["PGD-E, strong"].get_xdata()) == [2.0, 8.0]
    assert list(lines["PGD-E, strong"].get_ydata()) == [11.0, 20.0]
    assert list(lines["clean"].get_ydata()) == [10.0, 10.0]


@pytest.mark.parametrize("change", [{"defense": "masked_tv"}, {"norm": "l2"}, {"through": "bpda"}])
def test_what_is_defended_or_of_another_ball_is_not_mixed_in(change: dict[str, str]) -> None:
    assert fig4b([CLEAN, replace(STRONG, **change)]) is None


def test_the_number_of_images_is_said() -> None:
    figure = fig4b([replace(CLEAN, images=1000), *ROWS[1:]])
    assert figure is not None
    assert "100 to 1,000 images" in figure.get_suptitle()


def test_attacks_are_compared_with_clean_images_of_the_same_number() -> None:
    figure = fig4b([replace(CLEAN, images=1000, kib_mean=99.0), *ROWS])
    assert figure is not None
    assert figure.get_suptitle().endswith(", 100 images")
    heights = {b.get_height() for c in figure.axes[0].containers for b in getattr(c, "patches", [])}
    assert 99.0 not in heights
    assert 10.0 in heights


def test_data_sets_have_figures_of_their_own(tmp_path: Path) -> None:
    photos = [replace(row, dataset="photos") for row in ROWS]
    written = write_figures([*ROWS, *photos], tmp_path)
    folders = {path.parent.name for path in written}
    assert folders == {"imagenet", "photos"}
    assert all(path.stat().st_size > 1000 for path in written)


def test_through_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "imagenet" / CLEAN.student / "eval" / "attacks-strong"
    write_summary(folder, [CLEAN])
    with pytest.raises(SystemExit, match="no figure shows the results"):
        main(["figures", "--out", str(tmp_path)])
    write_summary(folder, ROWS)
    main(["figures", "--out", str(tmp_path)])
    path = tmp_path / "figures" / "imagenet" / "fig4b.png"
    assert str(path) in capsys.readouterr().out.splitlines()
    assert path.is_file()


def test_what_stands_side_by_side_can_be_told_apart() -> None:
    presets = ["strong", "quick", "strong, 400 steps", "published"]
    conditions = ["universal_size_8_aaaaaa", "universal_size_8_bbbbbb", "square"]
    shown = [replace(STRONG, preset=preset) for preset in presets]
    shown += [replace(STRONG, condition=condition) for condition in conditions]
    figure = attacks_over_epsilon(shown)
    assert figure is not None
    lines = [line for line in figure.axes[0].lines if line.get_label() != "clean"]
    looks = {(line.get_color(), line.get_linestyle(), line.get_marker()) for line in lines}
    assert len(looks) == len(lines) == len(shown)


def test_of_two_evaluations_of_a_condition_the_larger_one_is_drawn() -> None:
    figure = attacks_over_epsilon([CLEAN, replace(STRONG, images=10, kib_mean=9.0), STRONG])
    assert figure is not None
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    assert list(lines["PGD-E"].get_ydata()) == [STRONG.kib_mean]
