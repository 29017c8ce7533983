"""Lines of entres so small that a test can run them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
CONFIGS = ROOT / "configs"
TINY = [
    "--data=configs/data/photos.yaml",
    "--data.image_size=32",
    "--data.limit_per_class=8",
    "--data.eval_limit_per_class=2",
    "--data.batch_size=8",
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
    "--trainer.log_every_n_steps=1",
]
STUDENT = "photos/test_resnet-mshp-beta0.08-{}"
TEACHER = "photos/test_resnet-teacher"


def fit(stage: str, out: Path, *arguments: str, epochs: int = 1) -> list[str]:
    """A training of a stage."""
    words = ["fit", f"--config=configs/stage/{stage}.yaml", *TINY]
    return [*words, f"--trainer.max_epochs={epochs}", f"--out={out}", *arguments]


def start(words: list[str]) -> subprocess.Popen[bytes]:
    """A line in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-m", "entres", *words], env=environment)
