from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rows import CLEAN

from entres.cli import main
from entres.experiment.matrix import read_matrix
from entres.experiment.stamps import Stamp, write_plan, write_stamp
from entres.report import paper, tables
from entres.report.formats import Number, Size, Table, as_csv, as_latex, as_markdown
from entres.report.page import write_report
from entres.results import CATEGORIES, SEVERITIES, Row, write_summary

BLUR = replace(CLEAN, condition="corruption", corruption="motion_blur", severity=1, kib_mean=8.0)
NOISE = replace(
    CLEAN, condition="noise", epsilon_255=8.0, norm="linf", kib_mean=10.5, accuracy=0.78
)
PGD_E = replace(NOISE, condition="pgd_e", preset="strong", kib_mean=21.0, accuracy=0.6)
AFTER = replace(PGD_E, defense="masked_tv", kib_mean=12.0, accuracy=0.7)
ROWS = [CLEAN, BLUR, NOISE, PGD_E, AFTER]


def lines(table: Table) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(as_csv(table))))


def only(table: Table, **wanted: str) -> dict[str, str]:
    (line,) = (x for x in lines(table) if wanted.items() <= x.items())
    return line


def test_table_2_has_the_rows_numbers_beside_the_papers() -> None:
    line = only(tables.table2(ROWS), corruption="motion blur")
    published = paper.TABLE2["mshp", "motion_blur"]
    assert float(line["KiB"]) == 8.0
    assert float(line["KiB std"]) == 1.5
    assert float(line["against clean"]) == pytest.approx(-0.2)
    assert float(line["top-1"]) == 0.8
    assert [line["paper KB"], line["paper KB std"]] == [str(published.kib), str(published.kib_std)]
    assert float(line["paper top-1"]) == pytest.approx(published.accuracy / 100)


def test_what_is_missing_is_empty_and_named_with_what_makes_it() -> None:
    table = tables.table2(ROWS)
    assert only(table, corruption="glass blur")["KiB"] == ""
    assert only(table, corruption="glass blur")["paper KB"] == "7.78"
    (call,) = table.missing
    assert call == (
        "entres eval-corruptions --data imagenet --data_dir /path/to/the/data "
        "--backbone resnet50.tv_in1k --severities 1"
    )
    assert call in as_markdown(table)
    assert len(tables.severities(ROWS).missing) == 1
    assert not tables.clean(ROWS).missing


def test_table_3_pairs_before_and_after_and_leaves_other_attackers_out() -> None:
    # One that attacks through the defense is another experiment.
    through = Row.from_dict(AFTER.as_dict() | {"through": "bpda", "kib_mean": 99.0})
    table = tables.table3([*ROWS, through])
    what = "attack: defense"
    before = only(table, **{what: "PGD-E 8/255, strong: before"})
    after = only(table, **{what: "PGD-E 8/255, strong: masked_tv"})
    assert [before["KiB"], after["KiB"]] == ["21.0", "12.0"]
    assert [before["paper KB"], after["paper KB"]] == ["16.15", "11.02"]
    assert len(lines(table)) == 8
    assert "99.0" not in as_csv(table)


def test_figure_means_are_changes_against_noise_or_clean() -> None:
    what = "PGD-E (strong), 8/255, against random noise"
    line = only(tables.figure_means(ROWS), what=what, students=CLEAN.student)
    assert float(line["size"]) == pytest.approx(1.0)
    assert float(line["top-1, points"]) == pytest.approx(-18.0)
    assert [line["paper size"], line["paper top-1"]] == ["0.4682", "-6.62"]
    shot = replace(BLUR, corruption="shot_noise", severity=5, kib_mean=15.0)
    line = only(tables.figure_means([*ROWS, shot]), what="shot noise, severity 5, against clean")
    assert float(line["size"]) == pytest.approx(0.5)


def test_corruptions_stand_by_category_and_severity() -> None:
    table = tables.severities([*ROWS, replace(BLUR, severity=5, kib_mean=6.0)])
    assert len(table.rows) == 15
    line = only(table, corruption="motion blur")
    assert line["category"] == "blur"
    names = [f"severity {severity} KiB" for severity in (1, 5)]
    assert [line[name] for name in names] == ["8.0", "6.0"]
    assert [line["severity 1 change"], line["severity 1 top-1"]] == ["-0.19999999999999996", "0.8"]
    assert line["severity 2"] == only(table, corruption="fog")["severity 1 KiB"] == ""
    assert "| motion blur | 8.00 (-20%) 80% | 6.00 (-40%) 80% |" in as_markdown(table)


def test_only_what_was_measured_is_there_where_gaps_are_not_wanted() -> None:
    defended = [replace(row, defense="tv", defense_strength=0.1) for row in (CLEAN, BLUR)]
    table = tables.severities([*ROWS, *defended], gaps=False)
    assert [row[2:5] for row in table.rows] == [
        [None, "blur", "motion blur"],
        ["tv 0.1", "blur", "motion blur"],
    ]
    assert not table.missing


def test_a_student_that_was_asked_for_less_leaves_no_gaps_beside_a_whole_one() -> None:
    every = [
        replace(BLUR, corruption=name, severity=severity)
        for names in CATEGORIES.values()
        for name in names
        for severity in SEVERITIES
    ]
    other = {"student": "resnet50-mshp-beta0.32-joint", "beta": 0.32}
    some = replace(BLUR, severity=5, kib_mean=6.0, **other)
    table = tables.severities([CLEAN, *every, replace(CLEAN, **other), some])
    assert not table.missing
    assert len(table.rows) == 15 + 1
    assert only(table, student=some.student)["severity 5 KiB"] == "6.0"
    assert tables.severities([CLEAN, *every[1:]]).missing
    table2 = tables.table2([CLEAN, *every, replace(CLEAN, **other), some])
    assert not table2.missing
    assert {row[0] for row in table2.rows} == {CLEAN.student}


def test_changes_are_against_clean_images_of_the_same_number() -> None:
    shot = replace(BLUR, corruption="shot_noise", severity=5, kib_mean=15.0)
    more = replace(CLEAN, images=1000, kib_mean=30.0)
    line = only(
        tables.figure_means([more, CLEAN, shot]), what="shot noise, severity 5, against clean"
    )
    assert float(line["size"]) == pytest.approx(0.5)


def test_every_row_of_an_attack_is_in_its_table() -> None:
    fewer = replace(NOISE, images=10, kib_mean=99.0)  # of another evaluation
    found = [(x["attack"], float(x["KiB"])) for x in lines(tables.attacks([*ROWS, fewer]))]
    assert found == [("noise", 10.5), ("PGD-E, strong", 21.0)]


def test_markdown_and_latex_carry_the_same_cells_escaped() -> None:
    table = Table("t", "50% & more", ["a|b", "x_1"], [["c", Size(1, 0.5)], [None, Number(2, "d")]])
    assert as_markdown(table).splitlines()[2:] == [
        "| a\\|b | x_1 |",
        "| :-- | --: |",
        "| c | 1.00 ± 0.50 |",
        "| – | 2 |",
    ]
    latex = as_latex(table)
    assert r"\caption{50\% \& more}" in latex
    assert r"a|b & x\_1 \\" in latex
    assert r"c & 1.00 $\pm$ 0.50 \\" in latex
    assert latex.count("{") == latex.count("}")


def test_what_is_the_same_in_every_row_is_said_once() -> None:
    rows = [["a", None, "x", None, Number(1, "d")], ["a", None, "y", None, Number(2, "d")]]
    table = Table("t", "Title", ["student", "data", "what", "gap", "n"], rows, who=2)
    shown = table.condensed()
    assert shown.heading == "Title: a"
    assert (shown.header, shown.who) == (["what", "n"], 0)
    assert as_markdown(table).splitlines()[0] == "**Title: a**"
    assert as_csv(table).splitlines()[:2] == ["student,data,what,gap,n", "a,,x,,1"]  # all of it
    assert tables.results(ROWS).condensed().about == f"{CLEAN.student} · imagenet"


class Page(HTMLParser):
    """Checks that tags close, and keeps what a page refers to."""

    VOID = frozenset({"meta", "img", "source", "br", "link"})

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.references: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.text = ""
        self.feed(path.read_text())
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.references += [found[n] or "" for n in ("src", "srcset", "href") if n in found]
        if tag == "img":
            self.images.append(found)
        if tag == "th":
            assert found.get("scope") in ("row", "col")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def out(tmp_path: Path) -> Path:
    broken = replace(PGD_E, extra={"attack_warnings": ["the <b>gradient</b> was zero"]})
    for number, row in enumerate((CLEAN, BLUR, NOISE, broken, AFTER)):
        write_summary(tmp_path / "imagenet" / CLEAN.student / "eval" / f"e{number}", [row])
    (tmp_path / "imagenet" / CLEAN.student / "eval" / "e0" / "bits.png").write_bytes(b"png")
    plan = read_matrix("photos")
    write_plan(tmp_path, plan)
    cell = plan.cells[0]
    stamp = Stamp(
        cell.name, cell.identity, ["entres fit <this>"], 61, "2024", "an <abacus>", {"x": "1"}
    )
    write_stamp(tmp_path, stamp)
    return tmp_path


def test_the_page_needs_nothing_but_itself_and_is_escaped(out: Path) -> None:
    main(["report", "--out", str(out)])
    path = out / "report" / "index.html"
    page = Page(path)
    assert all(r.startswith(("data:", "#")) for r in page.references)
    # SVG names its own vocabulary; nothing else may be fetched.
    assert not re.search(r"(src|href|url|import)\W{1,3}(https?:)?//", path.read_text())
    assert all(image["alt"] for image in page.images)
    assert len(page.images) == 3  # Fig. 4b, attacks over epsilon, and the map
    assert "the <b>gradient</b> was zero" in page.text
    assert "an <abacus>" in page.text
    assert "entres fit <this>" in page.text
    assert "<b>gradient" not in path.read_text()
    for seen in (
        "21.00 ± 1.50",
        "16.15 ± 0.29",
        "1 min 01 s",
        "Not run yet",
        "prefers-color-scheme",
    ):
        assert seen in path.read_text()
    assert "Bit size and accuracy under attacks of 4/255" in page.text  # said to be missing
    for suffix in ("csv", "md", "tex"):
        assert (out / "report" / "imagenet" / f"table3.{suffix}").stat().st_size
    assert (out / "report" / "imagenet" / "fig4b.pdf").is_file()


def test_a_table_without_a_figure_of_ones_own_says_only_what_would_make_it(tmp_path: Path) -> None:
    write_summary(tmp_path / "imagenet" / CLEAN.student / "eval" / "clean", [CLEAN])
    main(["report", "--out", str(tmp_path)])
    text = Page(tmp_path / "report" / "index.html").text
    assert "10.00 ± 1.50" in text
    assert "entres eval-defense" in text
    assert "16.15" not in text  # of Table 3, beside nothing
    assert "16.15" in (tmp_path / "report" / "imagenet" / "table3.csv").read_text()


def test_damaged_files_are_named_beside_the_rest(out: Path) -> None:
    evaluations = out / "imagenet" / CLEAN.student / "eval"
    (evaluations / "e1" / "summary.json").write_text('[{"student": "<b>some</b>"')
    (evaluations / "e2" / "maps.npz").write_bytes(b"PK cut off")
    (evaluations / "e3" / "maps.json").write_text("{}")
    (evaluations / "e3" / "a.png").write_bytes(b"png")
    main(["report", "--out", str(out)])
    text = Page(out / "report" / "index.html").text
    assert f"{evaluations / 'e1' / 'summary.json'} holds no results" in text
    assert f"{evaluations / 'e2' / 'maps.npz'} holds no maps" in text
    assert f"{evaluations / 'e3' / 'maps.json'} holds no maps" in text
    assert "21.00 ± 1.50" in text


def test_what_is_not_complete_is_named_and_shown(
    out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = out / "imagenet" / CLEAN.student / "eval" / "e3"
    write_summary(folder, [replace(PGD_E, conditions_asked=13)])
    sentence = f"{folder}: 1 of 13 conditions: it was stopped"
    main(["report", "--out", str(out)])
    text = Page(out / "report" / "index.html").text
    assert sentence in text
    assert "21.00 ± 1.50" in text
    main(["results", "--out", str(out)])
    assert f"! {sentence}" in capsys.readouterr().out


def test_each_students_evaluations_can_be_run_again(out: Path) -> None:
    lines = []
    for data in ("imagenet", "photos"):
        folder = out / data / CLEAN.student / "eval" / "clean"
        write_summary(folder, [replace(CLEAN, dataset=data)])
        config = folder / "logs" / "version_0" / "config.yaml"
        config.parent.mkdir(parents=True)
        config.write_text(f"out: {out}\n")
        lines.append(f"entres test --config {config}")
    main(["report", "--out", str(out)])
    text = Page(out / "report" / "index.html").text
    for data, line in zip(("imagenet", "photos"), lines, strict=True):
        assert text.count(line) == 1
        assert f"{data}/{CLEAN.student}" in text


def test_where_nothing_was_run_the_page_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no results under"):
        main(["report", "--out", str(tmp_path / "nothing")])
    write_report(tmp_path / "nothing", tmp_path / "report")
    text = Page(tmp_path / "report" / "index.html").text
    assert "There are no results" in text
    assert "entres reproduce" in text


def test_a_report_can_be_made_while_a_matrix_runs(out: Path) -> None:
    main(["report", "--out", str(out)])
    text = Page(out / "report" / "index.html").text
    cells = read_matrix("photos").cells
    assert f"1 of {len(cells)} cells finished" in text
    assert text.count("not run yet") >= len(cells) - 1


def test_the_tables_of_the_paper_are_whole() -> None:
    assert len(paper.TABLE2) == len(paper.TABLE3) == 8
    # The captions and texts of the paper give these relations among its numbers.
    change = paper.TABLE2["mshp", "impulse_noise"].kib / paper.CLEAN["mshp"].kib - 1
    assert change == pytest.approx(0.3015, abs=1e-3)
    assert paper.TABLE3[16, "before"].kib / paper.CLEAN["mshp"].kib - 1 == pytest.approx(
        0.9532, abs=1e-3
    )
