"""Tables in a terminal."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from rows import CLEAN

from entres.report.tables import results
from entres.report.terminal import show_results, show_run


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
