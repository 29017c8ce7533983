"""The dashboard's specification, without a network."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from entres.cli import main
from entres.results import Row, write_summary
from entres.watch.dashboard import CURVES, MOST_CONDITIONS, student_workspace
from entres.watch.examples import IMAGES, MAPS

BASE = {"student": "s", "backbone": "b", "codec": "fp", "beta": 0.1, "recipe": "joint"}
BASE |= {"dataset": "photos", "images": 1, "accuracy": 1.0, "kib_mean": 1.0, "kib_std": 0.0}


def row(**condition: object) -> Row:
    rest = dict.fromkeys(("corruption", "severity", "preset", "epsilon_255", "defense"))
    return Row.from_dict({**BASE, "seconds": 1.0, **rest, "condition": "clean", **condition})


def test_the_specification_names_what_runs_log() -> None:
    pytest.importorskip("wandb_workspaces")
    rows = [row(), row(), row(condition="pgd_e", epsilon_255=8.0, preset="strong")]
    workspace = student_workspace("team", "entres", "view", rows)
    spec = json.loads(workspace._to_model().spec.model_dump_json(by_alias=True, exclude_none=True))
    evaluations, training, media = spec["section"]["panelBankConfig"]["sections"]
    bars = [p["config"]["metrics"] for p in evaluations["panels"] if p["viewType"] == "Bar Chart"]
    assert [name for (name,) in bars] == [
        "kib/clean",
        "accuracy/clean",
        "kib/pgd_e 8 (strong)",
        "accuracy/pgd_e 8 (strong)",
    ]
    assert [p["config"]["metrics"] for p in training["panels"]] == [[name] for name in CURVES]
    assert [p["config"]["mediaKeys"] for p in media["panels"]] == [[IMAGES], [MAPS]]
    grouping = json.dumps(spec["section"]["runSets"][0]["grouping"])
    assert all(key in grouping for key in ("backbone", "codec", "recipe", "beta"))

    many = [row(condition="pgd_e", epsilon_255=float(e)) for e in range(1, 30)]
    panels = student_workspace("team", "entres", "view", many).sections[0].panels
    assert len(panels) == 2 * MOST_CONDITIONS + 2


def test_what_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_summary(tmp_path / "s" / "eval" / "clean", [row()])
    words = ["dashboard", "--entity=team", f"--out={tmp_path}"]
    monkeypatch.setenv("WANDB_MODE", "offline")
    with pytest.raises(SystemExit, match="nobody is logged in to W&B: run wandb login"):
        main(words)
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    with pytest.raises(SystemExit, match=r"pip install 'entres\[dashboard\]'"):
        main(words)
