"""Reading data before a training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from entres.cli import main


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of three images, of which one cannot be read."""
    random = np.random.default_rng(0)
    for name in ("cats", "dogs"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for number in range(3):
            pixels = random.integers(0, 256, (40, 40, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pets" / name / f"{number}.png")
    return tmp_path / "pets"


def test_data_that_are_fine_are_reported(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["check-data", "--data", "imagefolder", "--data_dir", str(folder)]
    main([*words, "--data.test_share", "0.34", "--trainer.max_epochs=1"])
    printed = capsys.readouterr().out
    assert "train: 4 images in 2 classes" in printed
    assert "every image can be read" in printed


def test_what_cannot_be_read_ends_with_1(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "dogs" / "1.png").write_bytes(b"no image")
    with pytest.raises(SystemExit) as stop:
        main(["check-data", f"--DATA_DIR={folder}", "--DATA=imagefolder"])
    assert stop.value.code == 1
    assert "1 cannot be read:" in capsys.readouterr().out


def test_a_wrong_setting_is_one_sentence(folder: Path) -> None:
    words = ["check-data", "--data", "imagefolder", "--data_dir", str(folder)]
    with pytest.raises(SystemExit, match=r"makes no data module: test_share must be between"):
        main([*words, "--data.test_share=2"])
    with pytest.raises(SystemExit, match=r"makes no data module: resize must be >= 224, got 40"):
        main([*words, "--resize=40"])
    with pytest.raises(SystemExit, match=r"--data.test_share needs a value"):
        main([*words, "--data.test_share"])
    with pytest.raises(SystemExit, match=r"imagefolder needs data_dir"):
        main(["check-data", "--data", "imagefolder"])
