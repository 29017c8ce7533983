"""Tables in a terminal."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from rows import CLEAN, evaluation

from entres.cli import main
from entres.report.tables import results
from entres.report.terminal import show_results, show_run
from entres.results import SUMMARY


def test_the_table_says_what_is_common_once() -> None:
    other = replace(CLEAN, condition="noise", epsilon_255=8.0, accuracy_present=0.9)
    table = results([CLEAN, other]).condensed()
    assert table.about == f"{CLEAN.student} · imagenet"
    assert table.header == ["condition", "images", "KiB", "top-1", "top-1*"]
    assert [str(row[2]) for row in table.rows] == ["10.00 ± 1.50 [9.70, 10.30]"] * 2


def test_what_comes_from_a_user_is_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    odd = replace(
        CLEAN,
        dataset="my [bold]photos[/bold]",
        condition="[/red]",
        extra={"attack_warnings": ["of [link] :smile:"]},
    )
    show_results([odd, CLEAN], [Path("/data/[old] runs/[/]")], ["[red]file[/red] is damaged"])
    printed = capsys.readouterr().out
    for text in (
        "my [bold]photos[/bold]",
        "│ [/red] ",
        "! [/red]: of [link] :smile:",
        "/data/[old] runs/[/]",
        "! [red]file[/red] is damaged",
    ):
        assert text in printed
    show_run("[a]/b", {"val/[x]": 0.5}, [])
    printed = capsys.readouterr().out
    assert "[a]/b" in printed
    assert "val/[x]" in printed


def test_what_has_just_been_measured_has_the_intervals_of_results(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "data" / "student" / "eval" / "clean"
    sizes = [1024] * 18 + [20480] * 2  # a normal interval would be even, and reach below 1
    (row,) = evaluation(folder, [(CLEAN, sizes, [True] * 20)])
    files = [folder / SUMMARY, folder / "records.csv"]
    show_results([replace(row, folder=None)], files)
    live = capsys.readouterr().out
    main(["results", "--out", str(tmp_path)])
    assert live.splitlines()[:-1] == capsys.readouterr().out.splitlines()
    assert "2.90 ± 5.70 [1.00, " in live


def test_a_condition_of_several_evaluations_is_shown_once_and_so_is_a_warning(
    capsys: pytest.CaptureFixture[str],
) -> None:
    weak = {"attack_warnings": ["it has not converged"]}
    attacked = replace(CLEAN, condition="pgd_e", epsilon_255=8.0, extra=weak)
    more = replace(CLEAN, images=500, kib_mean=11.0)
    show_results([CLEAN, attacked, more, attacked, replace(CLEAN, kib_mean=12.0)], [])
    printed = capsys.readouterr().out
    assert [line.split()[1] for line in printed.splitlines() if line.startswith("│")] == [
        "clean",
        "pgd_e",
    ]
    assert "11.00 ±" in printed
    note = "each condition once, of most images: 3 rows left out (--out EVALUATION shows its own)"
    assert note in " ".join(printed.split())
    assert [line for line in printed.splitlines() if line.startswith("!")] == [
        "! pgd_e 8/255: it has not converged"
    ]
    # Of another student, and of other data, it is another condition.
    other = replace(attacked, student="other")
    show_results([CLEAN, attacked, other, replace(CLEAN, dataset="b")], [])
    printed = capsys.readouterr().out
    assert "left out" not in printed
    assert [line for line in printed.splitlines() if line.startswith("!")] == [
        f"! {CLEAN.student}, pgd_e 8/255: it has not converged",
        "! other, pgd_e 8/255: it has not converged",
    ]
