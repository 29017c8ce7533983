"""Imports only go down."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "entres"
LAYERS = [
    {"functional", "images", "bitstream", "coding"},
    {"losses", "metrics", "models", "attacks", "defenses", "corruptions"},
    {"data", "stages", "callbacks", "matrix", "report", "watch"},
    {"cli", "settings", "verbs", "__main__"},
]
LEVEL = {part: level for level, parts in enumerate(LAYERS) for part in parts}
FILES = sorted(p for p in ROOT.rglob("*.py") if p != ROOT / "__init__.py")


def imported_parts(path: Path) -> set[str]:
    parts = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("entres."):
            parts.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            parts |= {n.name.split(".")[1] for n in node.names if n.name.startswith("entres.")}
    return parts


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_only_go_down(path: Path) -> None:
    own = path.relative_to(ROOT).parts[0].removesuffix(".py")
    upwards = {p for p in imported_parts(path) if LEVEL[p] > LEVEL[own]}
    assert not upwards, f"{own} (layer {LEVEL[own]}) imports {upwards}"


def test_what_is_plain_torch_knows_no_lightning() -> None:
    parts = ("models", "attacks", "defenses", "corruptions")
    for path in [p for part in parts for p in (ROOT / part).rglob("*.py")]:
        assert "lightning" not in path.read_text(), path


def test_coding_workers_import_no_torch() -> None:
    """What a worker imports: the module of its task, and that of ``entres``."""
    words = "import sys, entres.coding, entres.__main__; sys.exit('torch' in sys.modules)"
    # And compressai, imported later, finds the coder that is there.
    after = (
        "import entres.coding, compressai.entropy_models, compressai; from compressai import ans"
    )
    for program in (words, f"{after}; assert ans is entres.coding.ans"):
        assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
