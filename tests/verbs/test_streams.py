"""Photographs to files of streams, and back in another call."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from entres.bitstream import Bitstream
from entres.cli import main
from entres.errors import EntresError
from entres.models import load_student
from entres.verbs.photographs import as_image, class_name, known_classes, read_photograph
from entres.verbs.streams import decode, encode


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A photograph that a camera took on its side: 60 x 40 px as stored, 40 x 60 upright."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "a cat.png"
    Image.fromarray(pixels).save(path, exif=exif)
    return path


def test_a_photo_becomes_a_file_that_another_call_reads(
    photo: Path, student_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "streams"
    main(["encode", str(photo), "--student", str(student_file), "--to", str(folder)])
    content = (folder / "a cat.entres").read_bytes()
    assert f"a cat.entres: {len(content)} bytes" in capsys.readouterr().out
    network, _ = load_student(student_file)
    (stream,) = network.encode(as_image(read_photograph(str(photo)))[None])
    assert bytes(stream) == stream.to_bytes() == content
    assert Bitstream.from_bytes(content) == stream

    main(["decode", str(folder / "a cat.entres"), "--student", str(student_file)])
    probability, label = network.decode([stream])[0].softmax(0).max(0)
    wanted = f"a cat.entres: class {int(label)}, {float(probability):.1%}\n"
    assert capsys.readouterr().out.endswith(wanted)


def test_a_photo_is_turned_upright_and_may_be_coded_whole(
    photo: Path, student_file: Path, tmp_path: Path
) -> None:
    assert as_image(read_photograph(str(photo))).shape == (3, 224, 224)
    assert as_image(read_photograph(str(photo)), whole=True).shape == (3, 60, 40)
    encode(str(photo), student=str(student_file), to=str(tmp_path), whole=True)
    stream = Bitstream.from_bytes((tmp_path / "a cat.entres").read_bytes())
    height, width = stream.latent_shape
    assert height > width


def test_one_bad_file_does_not_stop_the_others(
    photo: Path, student_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no image")
    with pytest.raises(EntresError, match="1 of 2 files failed"):
        encode(str(bad), str(photo), student=str(student_file), to=str(tmp_path))
    printed = capsys.readouterr()
    assert f"cannot read the photo {bad}" in printed.err
    assert "a cat.entres" in printed.out
    (tmp_path / "bad.entres").write_bytes(b"ENTR" * 20)
    files = [str(tmp_path / name) for name in ("bad.entres", "a cat.entres")]
    with pytest.raises(EntresError, match="1 of 2 files failed"):
        decode(*files, student=str(student_file))
    printed = capsys.readouterr()
    assert f"{files[0]}: stream of version" in printed.err
    assert f"{files[1]}: class" in printed.out
    with pytest.raises(EntresError, match=r"^all 2 files failed$"):
        encode(str(bad), "nothere.jpg", student=str(student_file), to=str(tmp_path))
    printed = capsys.readouterr()
    assert printed.err.endswith("entres: cannot read the photo nothere.jpg: it is not there\n")


def test_of_a_single_file_the_reason_is_the_sentence(
    student_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(EntresError, match=r"^nope\.entres: it is not there$"):
        decode("nope.entres", student=str(student_file))
    with pytest.raises(EntresError, match=f"^{tmp_path}: is a directory$"):
        decode(str(tmp_path), student=str(student_file))
    assert not capsys.readouterr().err


def test_what_is_missing_or_would_be_lost_is_said(tmp_path: Path) -> None:
    with pytest.raises(EntresError, match="encode: name the photos"):
        encode()
    with pytest.raises(EntresError, match="decode: name files of streams"):
        decode()
    with pytest.raises(EntresError, match="would give streams of one name"):
        encode("a/cat.jpg", "b/cat.png", to=str(tmp_path))


def test_classes_have_names_and_a_student_says_which_it_knows(student_file: Path) -> None:
    from dataclasses import replace

    from entres.card import read_card
    from entres.configs import EXAMPLE_STUDENT

    card = read_card(EXAMPLE_STUDENT)
    assert class_name(card, 574) == "golf ball"
    assert "trained on 10 classes (imagenette)" in known_classes(card)
    assert "tench, English springer, cassette player" in known_classes(card)
    own = replace(read_card(student_file), num_classes=2, class_names=("cat", "dog, a good one"))
    assert class_name(own, 1) == "dog"
    assert known_classes(own).endswith("2 classes, no others: cat, dog")
