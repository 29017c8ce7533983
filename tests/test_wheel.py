"""The package as it is installed: without a clone, in an empty folder."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built without downloads: what builds it is a dependency of development."""
    folder = tmp_path_factory.mktemp("wheel")
    words = ["-m", "pip", "wheel", str(ROOT), "--no-deps", "--no-build-isolation", "-q"]
    if subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True).returncode:
        pytest.skip("no pip in this environment (uv makes such): nothing to build a wheel with")
    subprocess.run([sys.executable, *words, "-w", str(folder)], check=True, cwd=folder)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python of its own with the wheel; the packages that it needs are those of this one."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)  # what pip does with a pure wheel, scripts aside
    # Not this environment's own .pth files: they would bring the clone.
    (site / "others.pth").write_text(sysconfig.get_path("purelib"))
    return folder / "bin" / "python"


def run(python: Path, folder: Path, *words: str) -> str:
    """What a process prints whose home and working directory are an empty folder."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "WANDB"))}
    surroundings = {**inherited, "HOME": str(folder), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [str(python), *words],
        cwd=folder,
        env=surroundings,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_everything_that_is_configured_travels(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if name.startswith("entres/configs/")}
    beside = {f"entres/{path.relative_to(ROOT)}" for path in ROOT.glob("configs/*/*.yaml")}
    assert inside == beside


def test_names_at_the_top_are_imported_when_they_are_asked_for(
    environment: Path, tmp_path: Path
) -> None:
    program = """
import sys, entres
assert "site-packages" in entres.__file__, entres.__file__
assert not {"torch", "numpy", "yaml"} & sys.modules.keys()
student, card = entres.load_student(sys.argv[1])
assert card.num_classes == 1000
assert entres.Experiment(beta=0.5).beta == 0.5
assert {"load_student", "Bitstream", "PGDE"} <= set(dir(entres))
for name in entres.__all__:
    getattr(entres, name)
"""
    run(environment, tmp_path, "-c", program, str(next((ROOT / "entres" / "zoo").glob("*"))))


@pytest.mark.slow
def test_the_demo_runs_in_an_empty_folder(environment: Path, tmp_path: Path) -> None:
    small = "--data.limit_per_class 8 --data.eval_limit_per_class 2 --data.image_size 32"
    words = ["-m", "entres", "demo", "--epochs", "1", "--extra", small]
    text = run(environment, tmp_path, *words)
    assert "coffee" in text
    assert (tmp_path / "runs" / "show.png").stat().st_size > 10_000
    (summary,) = tmp_path.glob("runs/photos/*/eval/*/summary.json")
    assert str(summary.relative_to(tmp_path)) in text
    # Nothing but the runs was left there, or in the home.
    assert {path.name for path in tmp_path.iterdir()} <= {"runs", ".cache", ".config"}
