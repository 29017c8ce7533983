"""The documentation's examples run as they stand."""

from __future__ import annotations

import re
import runpy
import shlex
from pathlib import Path

import pytest

from entres.cli import main

ROOT = Path(__file__).parents[1]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EXAMPLES = dict(
    re.findall(
        r"^## (.*?)\n(.*?)(?=^## |\Z)", (ROOT / "docs/extend.md").read_text(), re.M | re.DOTALL
    )
)


@pytest.mark.slow
@pytest.mark.parametrize("title", EXAMPLES)
def test_examples_of_ones_own_run_as_they_stand(
    title: str,
    tmp_path: Path,
    student_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    demo = tmp_path / "runs" / "test_resnet-mshp-beta0.08-joint"
    demo.mkdir(parents=True)
    student_file.rename(demo / student_file.name)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    commands = []
    for language, text in FENCE.findall(EXAMPLES[title]):
        if language == "python":
            Path(text.split("\n", 1)[0].removeprefix("# ")).write_text(text)
        else:
            commands += text.replace("\\\n", "").splitlines()
    assert commands
    for command in commands:
        # In this process: most of the time of a new one would go into imports.
        program, *words = shlex.split(command)
        if program == "entres":
            main(words)
        else:
            assert program == "python"
            monkeypatch.setattr("sys.argv", words)
            runpy.run_path(str(tmp_path / words[0]), run_name="__main__")
    if title == "An attack":
        assert "block 8/255 (strong)" in capsys.readouterr().out
    if title == "A defense":
        assert "through the defense (unrolled)" in capsys.readouterr().out
    if title == "A measurement":
        summary = next(tmp_path.glob("runs/*/eval/clean/summary.json")).read_text()
        assert "confidence_mean" in summary
