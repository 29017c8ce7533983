"""What the benchmarks conclude from what they measure."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from torchvision.io import write_png

from benchmarks.__main__ import ratios
from benchmarks.curves import Curve, Point, growth, line
from benchmarks.kills import KINDS, KillError, differences, finished, shares
from benchmarks.mask_gradient import promised_and_found
from benchmarks.step_rules import RULES
from benchmarks.step_rules import main as compare_step_rules
from benchmarks.timing import Timed, clear_peak, peak_mib
from entres.models.checkpoints import write_state
from entres.records import write_records
from entres.results import Condition, Row, write_summary


@pytest.mark.parametrize("power", [0.0, 1.0, 2.0, 0.5])
def test_growth_is_the_power_of_a_power_law(power: float) -> None:
    sizes = [8, 16, 64, 100]
    assert growth(sizes, [3 * size**power for size in sizes]) == pytest.approx(power, abs=1e-12)


def test_a_curve_that_grows_faster_than_its_work_is_named() -> None:
    curve = Curve("sorting", "length", 1, [1, 2, 4, 8, 16], lambda size: lambda: None)

    def verdict(power: float) -> str:
        # Where it is small, it is all overhead: the first point has no say.
        points = [Point(1, 50.0, 1)] + [Point(n, n**power, 8) for n in (2, 4, 8, 16)]
        return line(curve, points)

    assert "**faster than its work**" in verdict(1.3)
    assert "no faster" in verdict(1.1)
    assert "| 1.30 | 1 |" in verdict(1.3)


def test_the_peak_is_of_what_was_held_since_it_was_cleared() -> None:
    tensor = torch.ones(64 << 18)  # 64 MiB
    del tensor
    clear_peak()
    before = peak_mib()
    assert peak_mib() - before < 8
    tensor = torch.ones(32 << 18)
    assert 30 < peak_mib() - before < 40
    del tensor


def test_ratios_are_to_the_first_way_and_to_the_floor() -> None:
    timed = Timed("head", {"published way": 4.0, "entres": 2.0, "floor: g_a": 1.0}, "s an image")
    rows = list(ratios([timed, Timed("jpeg", {"ours": 3.0}, "s")]))[2:]
    assert rows[1] == "| head | entres | 2 | s an image | 2.00 | 2.00 |"
    assert rows[3] == "| jpeg | ours | 3 | s | 1.00 | - |"


def test_all_kills_are_dealt_out() -> None:
    for kills in (1, 4, 20, 23):
        dealt = shares(kills)
        assert sum(dealt.values()) == kills
        assert set(dealt) == {kind.name for kind in KINDS}


def run_of(folder: Path, seconds: float, label: int, weight: float) -> Path:
    words = dict.fromkeys(("student", "backbone", "codec", "recipe", "dataset"), "x")
    numbers = dict.fromkeys(("beta", "seed", "images", "accuracy", "conditions_asked"), 1)
    sizes = dict.fromkeys(("kib_mean", "kib_std"), 0.5)
    clean = asdict(Condition())
    row = Row.from_dict({**clean, **words, **numbers, **sizes, "seconds": seconds})
    there = folder / "runs" / "photos" / "student"
    write_summary(there / "eval" / "clean", [row])
    write_records(there / "eval" / "clean", [{"index": 0, "label": label}])
    write_state(there / "student.safetensors", {"w": torch.tensor([weight])})
    return folder


def test_the_kill_test_sees_every_difference_but_the_clocks(tmp_path: Path) -> None:
    whole = finished(run_of(tmp_path / "a", 1.0, 3, 0.5))
    assert len(whole) == 3
    assert not differences(finished(run_of(tmp_path / "b", 9.0, 3, 0.5)), whole)
    (wrong,) = differences(finished(run_of(tmp_path / "c", 1.0, 4, 0.5)), whole)
    assert wrong.endswith("records.csv is another one")
    nearly = torch.nextafter(torch.tensor(0.5), torch.tensor(1.0)).item()
    (wrong,) = differences(finished(run_of(tmp_path / "d", 1.0, 3, nearly)), whole)
    assert wrong.endswith("student.safetensors is another one")
    (weights,) = (tmp_path / "d").glob("**/*.safetensors")
    weights.unlink()
    assert differences(finished(tmp_path / "d"), whole) == [
        "runs/photos/student/student.safetensors is missing"
    ]


def test_the_kill_test_knows_what_is_half_done(tmp_path: Path) -> None:
    folder = run_of(tmp_path, 1.0, 3, 0.5)
    (summary,) = folder.glob("**/summary.json")
    rows = json.loads(summary.read_text())
    summary.write_text(json.dumps([{**rows[0], "conditions_asked": 2}]))
    assert list(finished(folder)) == ["runs/photos/student/student.safetensors"]
    summary.write_text(summary.read_text()[:-9])
    with pytest.raises(KillError, match=r"half a file: .*summary\.json"):
        finished(folder)


def test_a_gradient_keeps_its_promise_as_far_as_a_function_is_straight() -> None:
    images = torch.linspace(-0.02, 0.03, 12, dtype=torch.float64).reshape(1, 3, 2, 2)
    weights = torch.arange(1.0, 13.0, dtype=torch.float64).reshape(1, 3, 2, 2) - 5.5
    straight = promised_and_found(lambda x: (x * weights).sum(), images, [0.1, 2, 50])
    assert straight == pytest.approx([1, 1, 1])
    # Steps from 0 to 1, a level wide: beyond that nothing more is to be had.
    short = promised_and_found(lambda x: torch.sigmoid(x * 255 * 4).sum(), images * 0, [0.01, 8])
    # At 0 it rises by 1 a level, so 16 are promised over 8 to both sides, and 1 is found.
    assert short == pytest.approx([1, 1 / 16], abs=1e-3)


def test_step_rules_are_compared_on_the_same_photos(
    student_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = []
    for seed in range(2):
        pixels = torch.randint(0, 256, (3, 32, 32), generator=torch.Generator().manual_seed(seed))
        photos.append(tmp_path / f"{seed}.png")
        write_png(pixels.to(torch.uint8), str(photos[-1]))
    words = [str(student_file), *map(str, photos), "--steps", "1", "3"]
    found = compare_step_rules(words)
    assert set(found) == {(name, steps) for name in RULES for steps in (1, 3)}
    assert all(len(each) == 2 for each in found.values())
    table = capsys.readouterr().out.splitlines()
    assert [row.split(" |")[0][2:] for row in table[3:]] == list(RULES)
    for row in table[3:]:
        name, *means = row.strip("| ").split(" | ")
        assert means == [f"{sum(found[name, steps]) / 2:.2f}" for steps in (1, 3)]
    # Different rules were asked for.
    assert len({tuple(found[name, 3]) for name in RULES}) > 1
