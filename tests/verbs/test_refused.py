"""What a newcomer types that cannot be: one sentence each, at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from entres.cli import main

pytestmark = pytest.mark.usefixtures("at_the_root")


def said(*words: str) -> str:
    """The sentence with which a line ends."""
    with pytest.raises(SystemExit) as error:
        main(list(words))
    sentence = str(error.value)
    assert sentence.startswith("entres: ")
    assert "\n" not in sentence
    return sentence.removeprefix("entres: ")


@pytest.mark.parametrize("radius", ["-3", "0", "300", "nan"])
def test_a_radius_out_of_range(radius: str) -> None:
    assert said("show", "--epsilon_255", radius).startswith("epsilon_255 is a radius in units of")


@pytest.mark.parametrize("verb", ["show", "encode", "results", "learn-universal"])
def test_a_flag_that_a_verb_lacks_is_not_proposed(verb: str) -> None:
    sentence = said(verb, "--dry_run")
    assert sentence.startswith("no flag --dry_run")
    assert "--dry_run" not in sentence.removeprefix("no flag --dry_run")


NO_FOLDER = "data=photos takes no data_dir; for photos of your own give --data imagefolder"


@pytest.mark.parametrize(
    "words",
    [
        ("eval-clean",),
        ("train", "--dry_run"),
        ("eval-corruptions",),
        ("check-data",),
        ("learn-universal",),
        ("reproduce", "--dry_run"),
    ],
)
def test_photos_of_ones_own_are_no_setting_of_the_embedded_ones(words: tuple[str, ...]) -> None:
    assert said(*words, "--data_dir", "/photos").endswith(NO_FOLDER)


def test_a_setting_that_data_lack_is_named_and_so_are_those_there_are(tmp_path: Path) -> None:
    sentence = said("check-data", "--data.image_sise", "64")
    assert sentence.startswith("data=photos: no setting 'image_sise': did you mean image_size?")
    own = tmp_path / "own.yaml"
    own.write_text("class_path: entres.data.PhotosDataModule\n")
    sentence = said("check-data", "--data", str(own), "--data_dir", "/photos")
    assert sentence == NO_FOLDER.replace("photos", str(own), 1)


def test_a_photo_that_never_was_is_not_missed() -> None:
    assert said("show", "nothere.jpg") == "cannot read the photo nothere.jpg: it is not there"


LACKS_STAGE = "--config configs/stage/evaluation.yaml is missing, which evaluates a student"
LACKS_TRAINING = "--config configs/stage/STAGE.yaml is missing, one of distilled, frozen-encoder, "


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("test --model.student nope", f"--model.student: {LACKS_STAGE}"),
        (
            "test --data configs/data/photos.yaml --model.student=x",
            f"--model.student: {LACKS_STAGE}",
        ),
        ("test", LACKS_STAGE),
        ("fit", LACKS_TRAINING),
        ("fit --model.beta 0.3", f"--model.beta: {LACKS_TRAINING}"),
        ("fit --data.batch_size 3", "--data.batch_size: data must be given: --data configs/data/"),
        (
            "test --config configs/stage/evaluation.yaml",
            "model.student must be given: --model.student",
        ),
        (
            "fit --config configs/stage/joint.yaml --model.bta 3",
            "entres.stages.JointFinetuning has no setting 'bta'; did you mean beta?",
        ),
        ("test --foo 3", "no flag --foo; entres test --help lists them"),
        (
            "fit --trainer.maxepochs 3",
            "no flag --trainer.maxepochs; did you mean --trainer.max_epochs?",
        ),
        ("fit --trainer.foo 3", "no flag --trainer.foo; entres fit --help lists them"),
    ],
)
def test_a_line_says_what_it_lacks(words: str, sentence: str) -> None:
    assert said(*words.split()).startswith(sentence)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            "cost --student x",
            "cost: student is a word here, without --student: entres cost",
        ),
        ("export --student=x --to y", "export: student is a word here, without --student: entres"),
        ("export x --to y", "export: to is a word here, without --to: entres export STUDENT TO"),
        ("tradeoff --FOLDER=x", "tradeoff: folder is a word here, without --folder: entres"),
        ("draw-maps --folder x", "draw-maps: folder is a word here, without --folder: entres"),
    ],
)
def test_what_is_a_word_of_a_verb_is_no_flag_of_it(words: str, sentence: str) -> None:
    assert said(*words.split()).startswith(sentence)


@pytest.mark.parametrize("file", ["x.foo", "x.pdf", "x"])
def test_a_picture_of_another_kind_is_not_written_under_its_name(file: str) -> None:
    assert said("show", "--to", file) == f"the picture is written as .png: {file} is none"
    assert not Path(file).exists()
