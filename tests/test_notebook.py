"""The notebook runs, cell by cell (make docs runs it in a kernel)."""

from __future__ import annotations

import json
import re
from pathlib import Path

import matplotlib
import pytest

NOTEBOOK = Path(__file__).parents[1] / "docs" / "tour.ipynb"


@pytest.mark.slow
def test_the_tour(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    matplotlib.use("Agg")
    monkeypatch.chdir(NOTEBOOK.parent)
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    names: dict[str, object] = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)
    clean, attacked, defended, untouched = (
        int(number.replace(",", ""))
        for number in re.findall(r"([\d,]+) bytes", capsys.readouterr().out)
    )
    assert attacked > 2 * clean
    assert untouched < clean
    assert defended < 0.6 * attacked
