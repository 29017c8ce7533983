"""Imports only go down."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "entres"
ROOMS = [
    {"errors"},
    {"files", "bitstream", "coding_cost", "condition_names", "configs", "image_faults", "memory"},
    {"records"},
    {"results", "card", "coding", "functional", "images"},
    {"experiment", "link", "edge", "coding_pool"},
    {"losses", "metrics", "models", "corruptions"},
    {"attacks"},
    {"defenses"},
    {"data"},
    {"conditions"},
    {"maps"},
    {"stages"},
    {"callbacks"},
    {"watch"},
    {"report"},
    {"verbs"},
    {"lightning_errors"},
    {"lightning_trainer"},
    {"lightning_cli"},
    {"cli"},
    {"__main__"},
]
"""From the ground up: what stands in one row does not know the rest of it."""
WITHOUT_TORCH = (
    "errors",
    "files",
    "bitstream",
    "coding_cost",
    "configs",
    "image_faults",
    "memory",
    "results",
    "records",
    "condition_names",
    "card",
    "coding",
    "coding_pool",
    "edge",
    "experiment",
    "link",
    "report",
    "verbs",
    "cli",
)
"""They read files and make text: importing them takes no second."""
HEIGHT = {room: height for height, rooms in enumerate(ROOMS) for room in rooms}
FILES = sorted(p for p in ROOT.rglob("*.py") if p != ROOT / "__init__.py")


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("entres."):
            rooms.add(node.module.split(".")[1])
        elif isinstance(node, ast.ImportFrom) and node.module == "entres":
            rooms |= {name.name for name in node.names if name.name in HEIGHT}
        elif isinstance(node, ast.Import):
            rooms |= {n.name.split(".")[1] for n in node.names if n.name.startswith("entres.")}
    return rooms


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_only_go_down(path: Path) -> None:
    own = room_of(path)
    upwards = {r for r in imported_rooms(path) - {own} if HEIGHT[r] >= HEIGHT[own]}
    assert not upwards, f"{own} (row {HEIGHT[own]}) imports {upwards}"


def imported_files(path: Path) -> set[Path]:
    """Files of the package that one imports, at its top or later; a package is its __init__."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("entres."):
            module = ROOT.parent.joinpath(*node.module.split("."))
            for name in node.names:
                tried = module / name.name, module
                files = [t for m in tried for t in (m.with_suffix(".py"), m / "__init__.py")]
                found.add(next(file for file in files if file.is_file()))
    return found


def test_no_files_import_each_other_in_a_circle() -> None:
    # A package's __init__ gathers what its files offer, so that these may not ask it.
    below = {path: imported_files(path) & set(FILES) for path in FILES}
    while found := {path for path, files in below.items() if not files}:
        below = {path: files - found for path, files in below.items() if path not in found}
    assert not below, sorted(str(path.relative_to(ROOT)) for path in below)


def test_what_is_plain_torch_knows_no_lightning() -> None:
    for path in FILES:
        if room_of(path) in ("models", "attacks", "defenses", "corruptions", "maps"):
            assert "lightning" not in path.read_text(), path


def test_wandb_is_known_in_one_room() -> None:
    # The command line ends W&B's run, and its verb asks who is logged in.
    knowing = {room_of(path) for path in FILES if "import wandb" in path.read_text()}
    assert knowing <= {"watch", "cli", "verbs"}


def test_what_reads_files_needs_no_torch() -> None:
    paths = [path.relative_to(ROOT) for path in FILES if room_of(path) in WITHOUT_TORCH]
    names = [".".join(["entres", *path.with_suffix("").parts]) for path in paths]
    modules = [name.removesuffix(".__init__") for name in names]
    heavy = "{'torch', 'lightning', 'matplotlib', 'wandb'} & set(sys.modules)"
    program = f"import sys, {', '.join(modules)}; sys.exit(str({heavy}) if {heavy} else 0)"
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr


def test_coding_workers_import_no_torch() -> None:
    """What a worker imports: the module of its task, and that of ``entres``."""
    words = "import sys, entres.coding, entres.__main__; sys.exit('torch' in sys.modules)"
    # And compressai, imported later, finds the coder that is there.
    after = (
        "import entres.coding, compressai.entropy_models, compressai; from compressai import ans"
    )
    for program in (words, f"{after}; assert ans is entres.coding.ans"):
        assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
