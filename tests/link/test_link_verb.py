"""`entres link` as a user calls it, and what the report makes of its files."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_evaluation import CLEAN, PGD_E, SIZES, behind, made_evaluation

from entres.cli import main
from entres.link.study import Study
from entres.report import link
from entres.results import ResultsError

LITTLE = ["--frames", "8000"]
DEFENDED = {**SIZES, behind(CLEAN): [4000, 5000, 6000], behind(PGD_E): [5000, 6000, 7000]}


@pytest.fixture
def evaluation(tmp_path: Path) -> Path:
    return made_evaluation(tmp_path / "runs" / "imagenet" / "student" / "eval" / "some", DEFENDED)


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An evaluation with the files of its link; tests leave it as it is."""
    folder = tmp_path_factory.mktemp("runs") / "imagenet" / "student" / "eval" / "some"
    main(["link", str(made_evaluation(folder, DEFENDED)), *LITTLE])
    return folder


def lines(folder: Path) -> list[dict[str, str]]:
    with (folder / link.TABLE).open(newline="") as file:
        return list(csv.DictReader(file))


def test_it_writes_every_share_and_prints_where(
    evaluation: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["link", str(evaluation), *LITTLE, "--defense_ms", "measured"])
    printed = capsys.readouterr().out
    for name in ("link.json", "link.csv", "link.png"):
        assert str(evaluation / name) in printed
        assert (evaluation / name).is_file()
    # Means of 5160 and 15,440 bytes on the wire, half of the link without an attack.
    study = Study.read(evaluation)
    plain, defended = study.outcomes
    assert plain.clean_utilization == pytest.approx(0.5)
    assert plain.attacked_utilization == pytest.approx(0.5 * 15_440 / 5160)
    assert plain.saturation.value == pytest.approx(5160 / (15_440 - 5160))
    assert defended.saturation.value == np.inf
    assert "never [never, never]" in printed
    rows = lines(evaluation)
    assert len(rows) == 2 * 2 * 20
    some = [r for r in rows if not r["defense"] and r["served"] == "fifo"]
    honest = [r for r in some if r["devices"] == "honest"]
    assert [float(r["share"]) for r in honest] == pytest.approx([n / 10 for n in range(10)])
    assert float(honest[-1]["p99, ms"]) > 10 * float(honest[0]["p99, ms"])
    for row in rows:
        for figure in ("p50, ms", "p95, ms", "p99, ms", "missed", "images/s"):
            low, value, high = (float(row[n]) for n in (f"{figure} low", figure, f"{figure} high"))
            assert low <= value <= high
    # 30 ms of every latency are the defense's.
    assert min(float(r["p50, ms low"]) for r in rows if r["defense"]) > 30


def test_flags_are_those_of_the_link(evaluation: Path) -> None:
    flags = ["--RATE_MBPS=8", "--devices", "4", "--frames_per_second=20", "--discipline", "fair"]
    others = ["--condition", "pgd_e", "--defense_ms", "2.5", "--seed", "5", "--arrivals", "poisson"]
    main(["link", str(evaluation), *LITTLE, *flags, *others])
    study = Study.read(evaluation)
    assert study.seed == 5
    assert study.uplink.rate_mbps == 8
    assert study.uplink.arrivals == "poisson"
    assert [o.attacked_defense_ms for o in study.outcomes] == [0, 2.5]
    assert {p.discipline for o in study.outcomes for p in o.points} == {"fair"}
    assert [p.attacked_devices for p in study.outcomes[0].points] == [0, 1, 2, 3, 4]
    assert study.outcomes[0].clean_utilization == pytest.approx(4 * 20 * 5160 * 8 / 8e6)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--discipline", "lifo"], "no discipline 'lifo': did you mean fifo"),
        (["--discipline", ","], "discipline: give fifo or fair, or both"),
        (["--condition", "fog"], r"no condition 'fog'\. There is: pgd_e"),
        (["--condition", "pgde"], r"no condition 'pgde': did you mean pgd_e\? There is: pgd_e"),
        (["--frames", "7999"], "7,999 frames are too few for 10 devices: give at least 8,000"),
        (["--rate_mbps", "0"], "rate_mbps must be > 0, got 0"),
        (["--defense_ms", "nan"], "defense_ms must be >= 0, or measured, got nan"),
        (["--defense_ms", "soon"], "defense_ms must be >= 0, or measured, got soon"),
        (["--seed", "-1"], "seed must be >= 0, got -1"),
    ],
)
def test_what_cannot_be_is_a_sentence_and_leaves_nothing(
    evaluation: Path, words: list[str], sentence: str
) -> None:
    with pytest.raises(SystemExit, match=sentence):
        main(["link", str(evaluation), *LITTLE, *words])
    assert not list(evaluation.glob("link.*"))


def test_a_study_is_read_as_it_was_written(studied: Path, tmp_path: Path) -> None:
    study = Study.read(studied)
    study.write(tmp_path)
    assert Study.read(tmp_path) == study
    # A plain file: nothing in it that JSON has no word for.
    values = json.loads((tmp_path / "link.json").read_text(), parse_constant=pytest.fail)
    assert values["outcomes"][1]["saturation"] == [None, None, None]
    (tmp_path / "link.json").write_text('{"outcomes": [{}]}')
    with pytest.raises(ResultsError, match="holds no study of a link"):
        Study.read(tmp_path)


def test_a_line_for_each_condition_its_defenses_beside_it(studied: Path) -> None:
    study = Study.read(studied)
    visible = [axes for axes in link.draw(study).axes if axes.get_visible()]
    assert len(visible) == 6
    latencies = [axes for axes in visible if axes.get_title()]
    assert [axes.get_title() for axes in latencies] == [
        "pgd_e 8/255 (strong)",
        "pgd_e 8/255 (strong)\n+ masked_tv 0.02",
    ]
    assert latencies[0].get_ylim() == latencies[1].get_ylim()
    # Half of the devices saturate the link; behind the defense not even all of them.
    drawn = [[line.get_label() for line in axes.get_lines()] for axes in latencies]
    assert "link saturated" in drawn[0]
    assert "link saturated" not in drawn[1]
    many = replace(study, outcomes=(study.outcomes[0],) * 5)
    assert sum(axes.get_visible() for axes in link.draw(many).axes) == 15


def test_the_time_of_a_defense_is_named_and_devices_that_do_not_keep_up(studied: Path) -> None:
    study = Study.read(studied)
    left_out = "without the time that the defense takes (--defense_ms)"
    assert [table.note for table in link.experiences(study)] == ["", left_out]

    def note(head_ms: float) -> str:
        slow = replace(study.outcomes[1], clean_defense_ms=30, attacked_defense_ms=40)
        uplink = replace(study.uplink, head_ms=head_ms)
        return link.experiences(replace(study, uplink=uplink, outcomes=(slow,)))[0].note

    sentence = "the defense takes 30 ms of it, and 40 ms of an attacked image's"
    assert note(head_ms=60) == sentence
    keeps_up = "; a device has 100 ms for an image, and does not keep up one by one"
    assert note(head_ms=61) == sentence + keeps_up


def test_the_report_has_a_section_of_its_own(studied: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    shutil.copytree(studied.parents[2], runs / "imagenet")
    damaged = runs / "imagenet" / "student" / "eval" / "damaged"
    damaged.mkdir()
    (damaged / "link.json").write_text("{")
    main(["report", "--out", str(runs), "--to", str(tmp_path / "report")])
    page = (tmp_path / "report" / "index.html").read_text()
    assert '<a href="#link">' in page
    section = page.split('<h2 id="link">')[1].split("</section>")[0]
    assert section.count("student, some") == 1
    assert "Share of attacked devices that saturates" in section
    assert section.count("<table>") == 3
    assert section.count("data:image/svg+xml") == 2
    # The picture beside the results is drawn anew, not shown again among the maps.
    assert '<h2 id="maps">' not in page
    assert "holds no study of a link" in page
