"""The knee of a trade-off, and what a price chooses."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from entres.cli import main
from entres.report.tradeoff import Curve, best_at_price, curves, draw_tradeoff, knee, points
from entres.results import Condition, Row, write_summary


def row(condition: str, strength: float | None, kib: float, accuracy: float) -> Row:
    who: dict[str, Any] = {"student": "s", "backbone": "b", "codec": "fp", "beta": 1, "recipe": "r"}
    what = asdict(Condition(condition, defense=strength and "masked_tv", defense_strength=strength))
    figures = {"images": 9, "accuracy": accuracy, "kib_mean": kib, "kib_std": 0, "seconds": 0}
    return Row.from_dict({**who, "dataset": "d", **what, **figures})


def write(folder: Path, rows: list[Row]) -> None:
    """An evaluation of which only the rows are looked at."""
    write_summary(folder, rows)
    (folder / "records.csv").touch()


def test_the_knee_is_where_saving_ends() -> None:
    rows = [
        *(row("clean", s, 4, a) for s, a in ((None, 0.9), (0.1, 0.9), (0.2, 0.88), (0.4, 0.5))),
        *(row("pgd_e", s, k, 0.8) for s, k in ((None, 20), (0.1, 14), (0.2, 7), (0.4, 6))),
    ]
    found = curves(rows)
    assert list(found) == ["masked_tv"]
    assert knee(found["masked_tv"]).defense_strength == 0.2
    with pytest.raises(ValueError, match="on clean and on attacked images"):
        curves(rows[:4])


def test_the_knee_needs_no_loss_and_no_order_of_strengths() -> None:
    # Nothing is lost at any strength; one photo more is right at the weakest.
    free = [(None, 10.4, 0.80), (0.01, 10.0, 0.82), (0.1, 5.6, 0.80)]
    assert knee(tradeoff_of(free)).defense_strength == 0.1
    # As with JPEG's quality: a larger number is weaker.
    falling = [(None, 10.4, 0.80), (25.0, 6.0, 0.70), (50.0, 6.5, 0.79), (90.0, 10.6, 0.80)]
    assert knee(tradeoff_of(falling)).defense_strength == 50.0


def test_a_price_in_clean_accuracy_chooses_the_same_whatever_was_tried() -> None:
    clean = [row("clean", s, 4, a) for s, a in ((None, 0.9), (0.1, 0.9), (0.2, 0.88), (0.4, 0.5))]
    attacked = [row("pgd_e", s, k, 0.8) for s, k in ((None, 20), (0.1, 14), (0.2, 7), (0.4, 6))]

    def chosen(price: float, tried: int = 4) -> float | None:
        found = [Curve("clean", clean[:tried]), Curve("attacked", attacked[:tried])]
        return best_at_price(found, price).defense_strength

    assert [chosen(price) for price in (0, 0.01, 0.02, 0.4)] == [0.1, 0.1, 0.2, 0.4]
    assert chosen(0.02, tried=3) == chosen(0.02)
    # Where each costs more there is no defense; a size that grows is nobody's choice.
    clean[1:3] = [replace(one, accuracy=0.3) for one in clean[1:3]]
    assert chosen(0.02) is None
    attacked[3] = replace(attacked[3], kib_mean=30.0)
    assert chosen(1.0) == 0.2


def tradeoff_of(points: list[tuple[float | None, float, float]]) -> list[Curve]:
    """Points of (strength, size under attack, accuracy) as the curves of one defense."""
    attacked = [row("pgd_e", strength, size, accuracy) for strength, size, accuracy in points]
    return [Curve("clean", attacked), Curve("attacked", attacked)]


def test_several_defenses_are_compared_in_one_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [row("clean", None, 4, 0.9), row("pgd_e", None, 20, 0.8)]
    for name, size, accuracy in (("masked_tv", 8, 0.7), ("median", 9, 0.6)):
        for strength in (0.1, 0.2):
            defended = (row("clean", strength, 3, accuracy), row("pgd_e", strength, size, 0.1))
            rows += [replace(one, defense=name) for one in defended]
    drawn: list[tuple[list[float], list[float]]] = []
    plot = Axes.plot

    def watched(self: Axes, *args: Any, **options: Any) -> Any:
        drawn.append((list(args[0]), list(args[1])))
        return plot(self, *args, **options)

    beside: list[str] = []
    annotate = Axes.annotate

    def read(self: Axes, text: str, *args: Any, **options: Any) -> Any:
        beside.append(text)
        return annotate(self, text, *args, **options)

    monkeypatch.setattr(Axes, "plot", watched)
    monkeypatch.setattr(Axes, "annotate", read)
    write(tmp_path, rows)
    main(["tradeoff", str(tmp_path)])
    assert (tmp_path / "frontiers.png").is_file()
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1] == str(tmp_path / "frontiers.png")
    assert "; for at most 2 points of clean accuracy" in printed[0]
    assert printed[0].endswith("; few images: 9")
    with pytest.raises(SystemExit, match=r"^entres: price is in points of accuracy, 0 to 100"):
        main(["tradeoff", str(tmp_path), "--price=-1"])
    # Sizes are those under attack, accuracies those of clean images.
    assert drawn[-2:] == [
        ([20, 8, 8], pytest.approx([90, 70, 70])),
        ([20, 9, 9], pytest.approx([90, 60, 60])),
    ]
    # Every line says where it begins, in every picture.
    assert set(zip(*[iter(beside)] * 3, strict=True)) == {("none", "0.1", "0.2")}


def through(strength: float, images: int = 9) -> list[Row]:
    """An evaluation of one strength: larger streams under the attack that goes through it."""
    clean, attacked = row("clean", None, 4, 0.9), row("pgd_e", None, 20, 0.8)
    defended = row("clean", strength, 3, 0.7), row("pgd_e", strength, 5 - strength, 0.1)
    knowing = row("pgd_e", None, 15, 0.8), row("pgd_e", strength, 9 - strength, 0.1)
    known = [replace(one, through="unrolled") for one in knowing]
    rows = [clean, attacked, *defended, *known]
    return [replace(one, images=images) for one in rows]


def test_attacks_through_a_defense_have_a_line_over_its_strengths_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An attack goes through one strength: every strength is an evaluation of its own.
    folders = [tmp_path / f"lambda{strength}" for strength in (0.1, 0.2)]
    for folder, strength in zip(folders, (0.1, 0.2), strict=True):
        folder.mkdir()
        write(folder, through(strength))
    drawn: list[tuple[str, list[float], list[float]]] = []
    plot = Axes.plot

    def watched(self: Axes, *args: Any, **options: Any) -> Any:
        drawn.append((options["label"], list(args[0]), list(args[1])))
        return plot(self, *args, **options)

    monkeypatch.setattr(Axes, "plot", watched)
    main(["tradeoff", *map(str, folders)])
    # Both begin at the attack that knows of nothing.
    assert drawn[-2:] == [
        ("masked_tv", [20, 4.9, 4.8], pytest.approx([90, 70, 70])),
        ("masked_tv, through it (unrolled)", [20, 8.9, 8.8], pytest.approx([90, 70, 70])),
    ]
    assert (folders[0] / "frontiers.png").is_file()
    # The knee is that of the attacker who knows most, who stands last.
    ways = [curve.through for curve in curves([*through(0.1), *through(0.2)])["masked_tv"]]
    assert ways == [None, None, "unrolled"]


def test_the_hardest_attack_is_last_in_whatever_order_they_were_asked_for() -> None:
    weak = [replace(one, kib_mean=4.5) for one in through(0.1) if one.through]
    bpda = [replace(one, through="bpda") for one in weak]
    noise = [
        replace(one, condition="noise", kib_mean=4.2)
        for one in through(0.1)
        if one.condition == "pgd_e" and not one.through
    ]
    rows = through(0.1)
    for order in ([*noise, *rows, *bpda], [*bpda, *rows, *noise]):
        found = curves(points(order))["masked_tv"]
        assert [curve.rows[0].condition for curve in found[:3]] == ["clean", "noise", "pgd_e"]
        assert [curve.through for curve in found] == [None, None, None, "bpda", "unrolled"]
    # One that goes no further than a budget has no size of its own.
    sought = [replace(one, condition="pgd_e_over_6kib") for one in rows if one.condition == "pgd_e"]
    assert curves(points([*rows, *sought])).keys() == {"masked_tv"}
    assert len(curves(points([*rows, *sought]))["masked_tv"]) == 3


def test_points_of_other_images_are_no_trade_off(tmp_path: Path) -> None:
    folders = [tmp_path / "few", tmp_path / "many"]
    for folder, images in zip(folders, (9, 50), strict=True):
        folder.mkdir()
        write(folder, through(0.1, images))
    with pytest.raises(SystemExit, match=r"^entres: these evaluations saw 9 and 50 images"):
        main(["tradeoff", *map(str, folders)])


def test_several_evaluations_need_not_have_the_same_strengths_or_attacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Five strengths of attacks that know of nothing, two of one that does, in any order; another
    # defense under another attack, too.
    oblivious = [row("clean", None, 4, 0.9), row("pgd_e", None, 20, 0.8)]
    for strength in (0.4, 0.1, 0.2):
        oblivious += [row("clean", strength, 3, 0.7), row("pgd_e", strength, 5 - strength, 0.1)]
    far = [replace(one, epsilon_255=16.0) for one in (row("pgd_e", None, 40, 0.8),)]
    far += [replace(row("pgd_e", s, 30, 0.1), epsilon_255=16.0) for s in (0.1, 0.2)]
    rows = [*far, *oblivious, *through(0.2), *through(0.1)]
    clean, *attacked = curves(points(rows))["masked_tv"]
    assert [r.defense_strength for r in clean.rows] == [None, 0.1, 0.2, 0.4]
    assert [len(curve.rows) for curve in attacked] == [4, 3, 3]
    assert knee([clean, *attacked]) in attacked[-1].rows
    # By rising epsilon, whatever the order of the folders; what knows of the defense is last.
    assert [curve.rows[0].epsilon_255 for curve in attacked] == [None, 16.0, None]
    assert [curve.through for curve in attacked] == [None, None, "unrolled"]
    # An attack through the defense alone has nothing to begin at.
    alone = [one for one in through(0.1) if one.condition == "clean" or one.through]
    with pytest.raises(ValueError, match="begins at the attack that knows of no defense"):
        curves(alone)
    # Two defenses, each under an attack of its own.
    other = [replace(one, defense=one.defense and "median", epsilon_255=2.0) for one in oblivious]
    other = [replace(one, epsilon_255=None) if one.condition == "clean" else one for one in other]
    write(tmp_path, [*oblivious, *other])
    with pytest.raises(SystemExit, match="no attack in common"):
        main(["tradeoff", str(tmp_path)])


def test_of_two_evaluations_of_one_point_the_larger_one_counts() -> None:
    few, many = row("clean", 0.1, 3, 0.7), replace(row("clean", 0.1, 3, 0.7), top5=0.9)
    assert points([many, few]) == points([few, many]) == [many]


def test_a_picture_hides_no_strength_behind_another_nor_intervals_behind_its_legend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures: list[Figure] = []

    def kept(figure: Figure, *arguments: Any, **options: Any) -> bytes:
        figures.append(figure)
        return b""

    monkeypatch.setattr("entres.report.tradeoff.as_bytes", kept)
    # Points so near that labels to the right of each would lie on each other.
    near = [(None, 5.0, 0.80), (0.01, 5.02, 0.80), (0.02, 5.04, 0.81), (0.05, 5.05, 0.80)]
    draw_tradeoff(tmp_path / "a.png", tradeoff_of([*near, (0.1, 9.0, 0.3)]))
    (figure,) = figures
    figure.draw_without_rendering()
    (axes,), (legend,) = figure.axes, figure.legends
    frame = axes.get_window_extent()
    assert not legend.get_window_extent().overlaps(frame)
    assert axes.get_title() == "masked_tv by strength, 9 images"
    # Both curves have the same points: each strength stands twice.
    assert len(axes.texts) == 10
    boxes = [text.get_window_extent() for text in axes.texts]
    for number, box in enumerate(boxes):
        assert box.count_overlaps(boxes[:number]) == 0
        assert not box.containsx(frame.x0)
        assert not box.containsx(frame.x1)
        points = axes.transData.transform([text.xy for text in axes.texts])
        assert not any(box.contains(*point) for point in points)
