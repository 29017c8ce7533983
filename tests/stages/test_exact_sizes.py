"""What an evaluation computes is compared with what is really coded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest

from entres.bitstream import Bitstream, BitstreamError
from entres.callbacks import Accuracy, BitSize, ResultsStore
from entres.coding import Coder
from entres.data import PhotosDataModule
from entres.models import Codec
from entres.records import read_records
from entres.stages import Evaluation
from entres.stages.evaluation import EvaluationOutput
from entres.stages.finite import NotFiniteError


def evaluate(student: Path, folder: Path, **options: Any) -> ResultsStore:
    data = PhotosDataModule(image_size=32, eval_batch_size=3, eval_limit_per_class=1)
    store = ResultsStore(folder)
    trainer = pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        callbacks=[BitSize(), Accuracy(), store],
    )
    trainer.test(Evaluation(str(student), num_classes=8, **options), datamodule=data, verbose=False)
    return store


def test_sizes_are_the_same_however_many_are_coded(tmp_path: Path, student_file: Path) -> None:
    first = evaluate(student_file, tmp_path / "all", verify_every=1, coding_workers=0)
    others = [
        evaluate(student_file, tmp_path / "some", verify_every=5),
        evaluate(student_file, tmp_path / "worker", verify_every=4, coding_workers=1),
    ]
    for other in others:
        here, there = (read_records(store.folder / "records.csv") for store in (first, other))
        assert here == there
        assert other.rows[0].kib_mean == first.rows[0].kib_mean


@pytest.mark.parametrize(("every", "expected"), [(1, 8), (3, 3), (16, 1)])
def test_one_image_of_so_many_is_coded(
    every: int, expected: int, tmp_path: Path, student_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    coded = []
    encode = Codec.bitstream

    def count(self: Codec, *arguments: Any) -> Bitstream:
        coded.append(arguments)
        return encode(self, *arguments)

    monkeypatch.setattr(Codec, "bitstream", count)
    evaluate(student_file, tmp_path, verify_every=every)
    assert len(coded) == expected


def test_the_first_wrong_size_stops_the_evaluation(
    tmp_path: Path, student_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = Coder.encode
    monkeypatch.setattr(Coder, "encode", lambda self, s, t: encode(self, s, t) + bytes(4))
    with pytest.raises(BitstreamError, match=r"image 0 of a batch is coded to \d+ bytes, its comp"):
        evaluate(student_file, tmp_path)
    assert not (tmp_path / "summary.json").exists()


def test_the_first_stream_that_decodes_to_something_else_stops_the_evaluation(
    tmp_path: Path, student_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = Codec.decode_latents
    monkeypatch.setattr(Codec, "decode_latents", lambda *arguments: decode(*arguments) + 1)
    with pytest.raises(BitstreamError, match="decodes to another latent than it was made of"):
        evaluate(student_file, tmp_path)


def test_a_number_that_makes_no_sense_is_refused(student_file: Path) -> None:
    with pytest.raises(ValueError, match=r"verify_every must be >= 1 .* got 0"):
        Evaluation(str(student_file), verify_every=0)


@pytest.mark.parametrize("part", ["logits", "bits"])
def test_what_is_not_finite_is_no_prediction(
    part: str, tmp_path: Path, student_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # argmax of NaN is class 0: a student whose logits are NaN would know the first class by heart.
    whole = Evaluation._evaluate
    batches = []

    def damaged(self: Evaluation, *arguments: Any) -> EvaluationOutput:
        output = whole(self, *arguments)
        batches.append(output)
        if len(batches) == 2:
            getattr(output, part)[1] = float("nan")
        return output

    monkeypatch.setattr(Evaluation, "_evaluate", damaged)
    with pytest.raises(NotFiniteError, match=f"the {part} of image [0-9]+: a value is not finite"):
        evaluate(student_file, tmp_path)
    assert not (tmp_path / "summary.json").exists()
