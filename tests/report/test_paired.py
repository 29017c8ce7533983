"""Rows of the same images, image by image."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rows import CLEAN, evaluation

from entres.records import read_records, write_records
from entres.report import tables
from entres.report.bootstrap import change_interval, mean_interval
from entres.report.figures import fig4b
from entres.report.formats import Change, Number, Size, as_csv
from entres.report.intervals import mcnemar, newcombe
from entres.report.paired import (
    common_images,
    compare,
    contrast,
    mean_over_conditions,
    mean_size_interval,
)
from entres.report.records import images_of, size_interval
from entres.results import ResultsError, Row

NOISE = replace(CLEAN, condition="noise", epsilon_255=8.0, norm="linf")
PGD_E = replace(NOISE, condition="pgd_e", preset="strong")
DEFENDED = replace(PGD_E, defense="tv", defense_strength=0.02)
GENERATOR = np.random.default_rng(3)
SIZES = GENERATOR.integers(2000, 9000, 40)
LARGER = (SIZES * GENERATOR.uniform(1.2, 1.5, 40)).astype(int)
RIGHT, WORSE = GENERATOR.random((2, 40)) < np.array([[0.8], [0.4]])


@pytest.fixture
def rows(tmp_path: Path) -> list[Row]:
    measured = [
        (CLEAN, SIZES, RIGHT),
        (NOISE, SIZES[::-1], RIGHT),
        (PGD_E, LARGER, WORSE),
        (replace(PGD_E, through="bpda"), SIZES, RIGHT),  # its lines begin alike, nearly
        (DEFENDED, SIZES, RIGHT),
    ]
    return evaluation(tmp_path / "eval" / "attacks", measured)


def test_the_images_of_a_row_are_those_of_its_condition(rows: list[Row]) -> None:
    for row, sizes, right in (
        (rows[0], SIZES, RIGHT),
        (rows[1], SIZES[::-1], RIGHT),
        (rows[2], LARGER, WORSE),  # not those behind the defense, which begin alike
    ):
        images = images_of(row)
        np.testing.assert_array_equal(images.index, np.arange(40))
        np.testing.assert_allclose(images.sizes * 1024, sizes)
        np.testing.assert_array_equal(images.right, right)
        assert size_interval(row) == mean_interval(np.array(sizes) / 1024)


def test_files_of_earlier_versions_can_be_read(rows: list[Row]) -> None:
    assert rows[0].folder is not None
    path = rows[0].folder / "records.csv"
    records = read_records(path)
    write_records(path.parent, [{n: v for n, v in r.items() if n != "victim"} for r in records])
    assert "victim" not in path.read_text().splitlines()[0]
    for row, sizes in zip(rows, (SIZES, SIZES[::-1], LARGER, SIZES, SIZES), strict=True):
        np.testing.assert_array_equal(images_of(row).sizes, sizes / 1024)


def test_images_that_were_made_for_another_student_stand_apart(rows: list[Row]) -> None:
    assert rows[2].folder is not None
    other = replace(PGD_E, victim="resnet50-fp-beta0.08-joint (abcdef)")
    folder = rows[2].folder.with_name("both")
    mine, theirs = evaluation(folder, [(PGD_E, LARGER, WORSE), (other, SIZES, RIGHT)])
    np.testing.assert_array_equal(images_of(mine).sizes, LARGER / 1024)
    np.testing.assert_array_equal(images_of(theirs).sizes, SIZES / 1024)


def test_size_and_accuracy_are_compared_image_by_image(rows: list[Row]) -> None:
    clean, noise, attacked, *_ = rows
    found = compare([(clean, attacked)])
    assert (found.images, found.alone) == (40, 0)
    assert found.size.value == pytest.approx(LARGER.mean() / SIZES.mean() - 1)
    wanted = change_interval(SIZES[None].astype(float), LARGER[None].astype(float))
    assert isinstance(found.size, Change)
    assert found.size.interval == pytest.approx(wanted)
    lost, gained = int((RIGHT & ~WORSE).sum()), int((WORSE & ~RIGHT).sum())
    both, neither = int((RIGHT & WORSE).sum()), int((~RIGHT & ~WORSE).sum())
    assert isinstance(found.accuracy, Change)
    assert found.accuracy.value == pytest.approx(100 * (gained - lost) / 40)
    assert found.accuracy.p_value == pytest.approx(mcnemar(lost, gained))
    ends = [100 * end for end in newcombe(both, lost, gained, neither)]
    assert found.accuracy.interval == pytest.approx(ends)
    assert found.size.is_shown
    # The same sizes in another order: nothing is shown.
    same = compare([(clean, noise)])
    assert same.size.value == pytest.approx(0)
    assert str(same.size).endswith("] not shown")
    assert str(same.accuracy).endswith("not shown")


def test_of_several_pairs_the_mean_change_is_taken(rows: list[Row]) -> None:
    clean, noise, attacked, *_ = rows
    found = compare([(clean, attacked), (noise, attacked)])
    before, after = np.stack([SIZES, SIZES[::-1]]), np.stack([LARGER, LARGER])
    assert found.size.value == pytest.approx((after.mean(1) / before.mean(1) - 1).mean())
    assert isinstance(found.size, Change)
    assert found.size.interval == pytest.approx(change_interval(before * 1.0, after * 1.0))
    assert isinstance(found.accuracy, Change)
    assert found.accuracy.p_value is None
    points = 100 * (WORSE.astype(float) - RIGHT)
    assert found.accuracy.interval == pytest.approx(mean_interval(points))


def test_one_pair_changes_more_than_another_image_by_image(rows: list[Row]) -> None:
    clean, noise, attacked, *_ = rows
    found = contrast((noise, clean), (clean, attacked))
    before, after = SIZES.mean(), LARGER.mean()
    assert found.images == 40
    assert found.size.value == pytest.approx(after / before - 1 - (before / before - 1))
    assert found.accuracy.value == pytest.approx(100 * (WORSE.mean() - RIGHT.mean()))
    assert isinstance(found.accuracy, Change)
    lost = 100 * (WORSE.astype(float) - RIGHT)  # the other pair loses nothing
    assert found.accuracy.interval == mean_interval(lost)
    same = contrast((clean, attacked), (clean, attacked))
    assert isinstance(same.size, Change)
    assert (same.size.value, same.size.interval) == (0, pytest.approx((0, 0), abs=1e-12))


def test_a_test_that_finds_nothing_outweighs_an_interval() -> None:
    assert Change(-5, (-9.9, -0.1), "+.1f").is_shown
    change = Change(-5, (-9.9, -0.1), "+.1f", p_value=0.064)
    assert str(change) == "-5.0 [-9.9, -0.1] not shown"
    assert str(Change(0.5, (0.25, 0.75), "+.1%")) == "+50.0% [+25.0, +75.0]"


def test_images_of_one_row_alone_are_left_out_and_counted(rows: list[Row], tmp_path: Path) -> None:
    (other,) = evaluation(tmp_path / "other", [(PGD_E, LARGER[:25], WORSE[:25])], first=20)
    found = compare([(rows[0], other)])
    assert (found.images, found.alone) == (20, 25)
    assert found.size.value == pytest.approx(LARGER[:20].mean() / SIZES[20:].mean() - 1)
    assert isinstance(found.size, Change)
    assert isinstance(found.accuracy, Change)
    assert found.size.alone == found.accuracy.alone == 25
    noted = tables.attacks([rows[0], other]).note
    assert "changes are paired by image (up to 25 that one of two rows has alone" in noted
    (apart,) = evaluation(tmp_path / "apart", [(PGD_E, LARGER, WORSE)], first=40)
    with pytest.raises(ResultsError, match="have no image in common"):
        compare([(rows[0], apart)])


def test_what_cannot_be_compared_is_said(rows: list[Row], tmp_path: Path) -> None:
    clean, _, attacked, *_ = rows
    with pytest.raises(ResultsError, match="nobody knows which"):
        compare([(clean, PGD_E)])
    with pytest.raises(ResultsError, match="images of imagenet and photos"):
        compare([(clean, replace(attacked, dataset="photos"))])
    with pytest.raises(ResultsError, match="holds 0 of the 40 images of pgd_e 16/255"):
        compare([(clean, replace(attacked, epsilon_255=16.0))])
    with pytest.raises(ResultsError, match="is not there: evaluate again"):
        compare([(clean, replace(attacked, folder=tmp_path))])
    for text in ("", "a,b\n1,2\n", "condition\nclean\n"):
        (tmp_path / "records.csv").write_text(text)
        with pytest.raises(ResultsError, match="holds no records"):
            compare([(clean, replace(attacked, folder=tmp_path))])
    assert attacked.folder is not None
    path = attacked.folder / "records.csv"
    records = read_records(path)
    for record in records[80:]:
        record["label"] = "7"
    write_records(path.parent, records)
    with pytest.raises(ResultsError, match="of other classes: not the same data"):
        compare([(clean, attacked)])


def test_imagenet_c_is_told_by_the_names_of_its_files(rows: list[Row], tmp_path: Path) -> None:
    blur = replace(CLEAN, dataset="imagenet-c", condition="corruption", corruption="snow")
    (row,) = evaluation(tmp_path / "c", [(replace(blur, severity=1), SIZES, RIGHT)])
    records = read_records(tmp_path / "c" / "records.csv")
    for record in records:  # counted from another image on
        record["index"] = str((int(record["index"]) + 7) % 40)
    write_records(tmp_path / "c", records)
    found = compare([(rows[0], row)])
    assert isinstance(found.size, Change)
    assert found.size.interval == pytest.approx((0, 0), abs=1e-12)
    for record in records:
        del record["image"]
    write_records(tmp_path / "c", records)
    with pytest.raises(ResultsError, match="have no names"):
        compare([(rows[0], row)])


def test_an_image_that_was_removed_moves_no_other(rows: list[Row], tmp_path: Path) -> None:
    folder, removed = tmp_path / "later", 7
    (row,) = evaluation(folder, [(PGD_E, LARGER, WORSE)])
    records = read_records(folder / "records.csv")
    kept = [record for record in records if int(record["index"]) != removed]
    for record in kept:
        record["index"] = str(int(record["index"]) - (int(record["index"]) > removed))
    write_records(folder, kept)
    row, others = replace(row, images=39), np.arange(40) != removed
    found = compare([(rows[0], row)])
    assert (found.images, found.alone) == (39, 1)
    wanted = change_interval(SIZES[others][None] / 1024, LARGER[others][None] / 1024)
    assert isinstance(found.size, Change)
    assert found.size.interval == pytest.approx(wanted)
    points = 100 * (WORSE[others].mean() - RIGHT[others].mean())
    assert found.accuracy.value == pytest.approx(points)
    common = common_images([row, rows[0]])
    assert common.keys.tolist() == list(range(39))
    np.testing.assert_array_equal(common.sizes[1] * 1024, SIZES[others])


@pytest.mark.parametrize("name", [None, "bad?.jpg"])
def test_without_names_of_their_own_images_are_told_apart_by_their_index(
    name: str | None, rows: list[Row], tmp_path: Path
) -> None:
    (row,) = evaluation(tmp_path / "later", [(PGD_E, LARGER, WORSE)])
    records = read_records(tmp_path / "later" / "records.csv")
    for record in records:
        record["image"] = name
    if name is None:
        records = [{k: v for k, v in record.items() if k != "image"} for record in records]
    write_records(tmp_path / "later", records)
    found = compare([(rows[0], row)])
    assert found == compare([(rows[0], rows[2])])
    assert found.images == 40


@pytest.mark.parametrize("quote", [True, False])
def test_names_are_told_apart_with_and_without_quotes(
    quote: bool, rows: list[Row], tmp_path: Path
) -> None:
    def named(index: int) -> str:
        return f"ä{index}" + (", b" if quote else "")

    both = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        both += evaluation(folder, [(PGD_E, LARGER, WORSE)])
        records = read_records(folder / "records.csv")
        for record in records:
            index = int(record["index"])
            record["image"] = named(index)
            record["index"] = str((index + 20 * len(both)) % 40)
        write_records(folder, records)
        assert ('"' in (folder / "records.csv").read_text()) is quote
    found = compare([(both[0], both[1])])
    assert isinstance(found.size, Change)
    assert (found.images, found.size.interval) == (40, pytest.approx((0, 0), abs=1e-12))


def test_means_over_conditions_are_of_the_same_images(rows: list[Row]) -> None:
    clean, noise, attacked, *_ = rows
    found = mean_over_conditions([noise, attacked], [0.25, 0.75], clean)
    sizes = (0.25 * SIZES[::-1] + 0.75 * LARGER) / 1024
    assert found.size == pytest.approx(mean_interval(sizes))
    assert found.size_change == pytest.approx(change_interval(SIZES[None] / 1024, sizes[None]))
    points = 100 * (0.25 * RIGHT + 0.75 * WORSE - RIGHT)
    assert found.points == pytest.approx(mean_interval(points))
    assert mean_size_interval([noise, attacked], [0.25, 0.75]) == pytest.approx(found.size)
    assert found.points_present is not None
    path = noise.folder / "records.csv"  # type: ignore[operator]
    records = [
        {k: v for k, v in r.items() if k != "prediction_present"} for r in read_records(path)
    ]
    write_records(path.parent, records)
    again = mean_over_conditions([noise, attacked], [0.25, 0.75], clean)
    assert again == found._replace(points_present=None)
    # Without the records it is as wide as those of the conditions, never narrower.
    low, high = mean_size_interval([replace(r, folder=None) for r in (clean, noise)]) or (0, 0)
    both_low, both_high = mean_size_interval([clean, noise]) or (0, 0)
    assert low < both_low < both_high < high


def test_tables_and_figures_have_them(rows: list[Row]) -> None:
    (line,) = csv.DictReader(io.StringIO(as_csv(tables.clean(rows))))
    low, high = size_interval(rows[0]) or (0, 0)
    assert (float(line["KiB low"]), float(line["KiB high"])) == pytest.approx((low, high))
    change = compare([(rows[0], rows[2])]).size
    attacks = tables.attacks(rows)
    assert change in [line[4] for line in attacks.rows]
    assert "changes are paired by image" in attacks.note
    (found,) = (r for r in tables.figure_means(rows).rows if r[0] == "Fig. 4b" and r[3] is not None)
    assert found[3] == compare([(rows[1], rows[2])]).size
    assert found[4] == compare([(rows[1], rows[2])]).accuracy
    figure = fig4b(rows)
    assert figure is not None
    segments = [s for c in figure.axes[0].collections for s in c.get_segments()]
    ends = sorted((segment[0][1], segment[1][1]) for segment in segments)
    assert ends == [pytest.approx(e) for e in sorted(map(size_interval, rows[:3]))]  # type: ignore[type-var]


def test_without_records_the_intervals_of_sizes_are_normal_and_changes_have_none() -> None:
    assert size_interval(CLEAN) == pytest.approx((9.7045, 10.2955), abs=1e-4)
    assert size_interval(replace(CLEAN, images=1)) is None
    assert str(Size(10, 1.5)) == "10.00 ± 1.50"
    assert isinstance(tables.attacks([CLEAN, NOISE]).rows[0][4], Number)
