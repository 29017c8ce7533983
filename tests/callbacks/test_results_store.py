"""What an evaluation leaves behind."""

from __future__ import annotations

import csv
import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import ConcatDataset, DataLoader, Subset

from entres.callbacks import Accuracy, BitSize, Measurement, ResultsStore, begun
from entres.callbacks import results as store_module
from entres.conditions import CorruptedDataModule
from entres.data import Batch, ImageFolderDataModule, PhotosDataModule, collate
from entres.experiment.same import RunConflictError, write_asked
from entres.models import WeightsError, load_student
from entres.records import append_records, read_records, write_records
from entres.results import Condition, Row, is_whole, read_summary, write_summary
from entres.stages import Evaluation
from entres.stages.evaluation import EvaluationOutput

SCHEMA = {
    "student",
    "backbone",
    "codec",
    "beta",
    "recipe",
    "dataset",
    "condition",
    "corruption",
    "severity",
    "preset",
    "epsilon_255",
    "defense",
    "images",
    "accuracy",
    "kib_mean",
    "kib_std",
    "seconds",
}


class Sharpness(Measurement):
    """A measurement of a user's own."""

    def columns(self, batch: Batch, output: EvaluationOutput) -> dict[str, torch.Tensor]:
        return {"confidence": output.logits.softmax(1).amax(1)}

    def summary(self, columns: Any) -> dict[str, Any]:
        return {"confidence_mean": columns["confidence"].mean().item()}


class TwoConditions(PhotosDataModule):
    """The test images twice, the second time darkened."""

    conditions = (Condition(), Condition("corruption", corruption="brightness", severity=3))

    def test_dataloader(self) -> Any:
        return [super().test_dataloader(), super().test_dataloader()]

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        return batch if dataloader_idx == 0 else batch._replace(images=batch.images * 0.5)


def evaluate(
    student: Path,
    folder: Path,
    data: pl.LightningDataModule,
    *extra: pl.Callback,
    asked: dict[str, Any] | None = None,
    **settings: Any,
) -> ResultsStore:
    store = ResultsStore(folder, asked)
    trainer = pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        callbacks=[BitSize(), Accuracy(), *extra, store],
        **settings,
    )
    trainer.test(Evaluation(str(student), coding_workers=0, num_classes=8), datamodule=data)
    return store


def photos(**kwargs: Any) -> dict[str, Any]:
    return {"image_size": 32, "eval_batch_size": 7, "eval_limit_per_class": 4, **kwargs}


def test_summary_and_records_hold_every_image_and_the_real_bytes(
    tmp_path: Path, student_file: Path
) -> None:
    data = PhotosDataModule(**photos())
    evaluate(student_file, tmp_path, data)
    (row,) = json.loads((tmp_path / "summary.json").read_text())
    assert set(row) >= SCHEMA
    assert row["student"] == "test_resnet-mshp-beta0.08-joint"
    assert (row["condition"], row["dataset"], row["images"]) == ("clean", "photos", 32)
    assert [row[k] for k in ("corruption", "severity", "preset", "epsilon_255", "defense")] == [
        None
    ] * 5
    with (tmp_path / "records.csv").open() as file:
        records = list(csv.DictReader(file))
    assert len(records) == len({r["index"] for r in records}) == 32

    # Against the student itself, one image at a time.
    student, _ = load_student(student_file)
    sizes, correct = [], 0
    for index in range(len(data.test_dataset)):
        image, label, number = data.test_dataset[index]
        x = image[None].float() / 255
        (stream,) = student.encode(x)
        record = next(r for r in records if int(r["index"]) == number)
        assert int(record["label"]) == label
        assert abs(int(record["bytes"]) - len(stream)) <= 8  # a batch of 7 may round elsewhere
        assert (
            int(record["bytes"]) - int(record["payload_bytes"])
            == len(stream) - stream.payload_bytes
        )
        sizes.append(int(record["bytes"]))
        correct += int(record["prediction"]) == label
    assert row["accuracy"] == pytest.approx(correct / 32)
    assert row["kib_mean"] == pytest.approx(sum(sizes) / 32 / 1024)
    spread = torch.tensor(sizes, dtype=torch.float64).std(correction=0).item() / 1024
    assert row["kib_std"] == pytest.approx(spread)
    assert row["published_kib_mean"] > row["kib_mean"] > row["payload_kib_mean"]


def test_one_row_per_condition_and_measurements_of_ones_own(
    tmp_path: Path, student_file: Path
) -> None:
    evaluate(student_file, tmp_path, TwoConditions(**photos()), Sharpness())
    clean, dark = read_summary(tmp_path / "summary.json")
    assert (clean.condition, dark.condition) == ("clean", "corruption")
    assert (dark.corruption, dark.severity, dark.images) == ("brightness", 3, 32)
    assert clean.kib_mean != dark.kib_mean
    assert 0 < clean.extra["confidence_mean"] <= 1
    header = (tmp_path / "records.csv").read_text().splitlines()[0].split(",")
    assert "confidence" in header
    assert len((tmp_path / "records.csv").read_text().splitlines()) == 1 + 64


def test_records_name_the_files_of_folders(tmp_path: Path, student_file: Path) -> None:
    for number in range(8):
        folder = tmp_path / "data" / "val" / f"class{number}"
        (folder / "inside").mkdir(parents=True)
        for name in ("b, or so.png", "inside/a.png"):
            Image.new("RGB", (40, 40), (30 * number, 0, 0)).save(folder / name)
    data = ImageFolderDataModule(tmp_path / "data", image_size=32, resize=32, num_workers=0)
    evaluate(student_file, tmp_path / "eval", data)
    records = read_records(tmp_path / "eval" / "records.csv")
    assert [record["image"] for record in records[:2]] == [
        "class0/b, or so.png",
        "class0/inside/a.png",
    ]
    assert all(record["image"].startswith(f"class{record['label']}/") for record in records)


class Interrupted(TwoConditions):
    """Stopped while the first batch of its second condition is made, as by a signal."""

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        if dataloader_idx == 1:
            raise RuntimeError("stopped")
        return batch


def test_an_evaluation_that_was_stopped_leaves_a_sign_and_a_finished_one_as_it_was(
    tmp_path: Path, student_file: Path
) -> None:
    with pytest.raises(RuntimeError, match="stopped"):
        evaluate(student_file, tmp_path, Interrupted(**photos()))
    (row,) = stopped = read_summary(tmp_path / "summary.json")
    assert row.conditions_asked == 2
    assert not is_whole(stopped)

    evaluate(student_file, tmp_path, TwoConditions(**photos()))
    assert is_whole(read_summary(tmp_path / "summary.json"))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    with pytest.raises(RuntimeError, match="stopped"):
        evaluate(student_file, tmp_path, Interrupted(**photos()))
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert after.keys() - {student_file.name} == {"summary.json", "records.csv", "asked.json"}
    assert after == before
    # What was left half-way is no obstacle to the next one, whose rows take the finished ones'.
    evaluate(student_file, tmp_path, TwoConditions(**photos(eval_limit_per_class=5)))
    assert [row.images for row in read_summary(tmp_path / "summary.json")] == [40, 40]
    assert not (tmp_path / "unfinished").exists()


def test_what_is_finished_has_its_images_and_the_steps_of_its_attacks(
    tmp_path: Path, student_file: Path
) -> None:
    evaluate(student_file, tmp_path, TwoConditions(**photos()))
    store = ResultsStore(tmp_path)
    assert store.is_finished(student_file)
    assert not ResultsStore(tmp_path, {"budget_kib": 4}).is_finished(tmp_path / "summary.json")
    # As after a kill between the last row and the curve of its attack.
    first, *others = read_summary(tmp_path / "summary.json")
    attacked = Row.from_dict({**first.as_dict(), "late_gain": 0.01})
    write_summary(tmp_path, [attacked, *others])
    assert not store.is_finished(student_file)
    (tmp_path / "convergence.csv").touch()
    assert store.is_finished(student_file)
    (tmp_path / "records.csv").unlink()
    assert not store.is_finished(student_file)


class Shots(CorruptedDataModule):
    """Clean images and two corruptions; stopped in a batch of the second one, if it is to be."""

    stop_at = -1
    batches = 0

    def apply(self, batch: Batch, number: int) -> Batch:
        self.batches += 1
        if self.batches == self.stop_at:
            raise KeyboardInterrupt
        return super().apply(batch, number)


def shots(stop_at: int = -1, **kwargs: Any) -> Shots:
    names = ["shot_noise", "brightness"]
    data = Shots(PhotosDataModule(**photos(num_workers=0, **kwargs)), names, [3])
    data.stop_at = stop_at
    return data


def stopped(student: Path, folder: Path, data: Shots) -> None:
    with pytest.raises(SystemExit):
        evaluate(student, folder, data, Sharpness())


def without_clocks(folder: Path) -> tuple[list[dict[str, Any]], bytes]:
    rows = [row.as_dict() | {"seconds": None} for row in read_summary(folder / "summary.json")]
    return rows, (folder / "records.csv").read_bytes()


@pytest.mark.parametrize("stop_at", [1, 5, 6, 8, 10, 15])
def test_what_was_stopped_goes_on_and_ends_as_if_nothing_had_happened(
    stop_at: int, tmp_path: Path, student_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of 32 images in batches of 7, five of each condition.
    monkeypatch.setattr(store_module, "EVERY", 0.0)
    evaluate(student_file, tmp_path / "whole", shots(), Sharpness())
    stopped(student_file, tmp_path / "stopped", shots(stop_at))
    left = (tmp_path / "stopped" / "begun").is_dir()
    assert left == (stop_at > 1)
    data = shots()
    evaluate(student_file, tmp_path / "stopped", data, Sharpness())
    assert data.batches == 15 - (stop_at - 1)
    assert [len(loader) for loader in data.test_dataloader()] == [5, 5, 5]
    assert without_clocks(tmp_path / "stopped") == without_clocks(tmp_path / "whole")
    assert not (tmp_path / "stopped" / "begun").exists()
    # And again, in the place of the finished one.
    before = without_clocks(tmp_path / "stopped")
    stopped(student_file, tmp_path / "stopped", shots(stop_at))
    assert without_clocks(tmp_path / "stopped") == before
    data = shots()
    evaluate(student_file, tmp_path / "stopped", data, Sharpness())
    assert data.batches == 15 - (stop_at - 1)
    assert without_clocks(tmp_path / "stopped") == before
    assert not (tmp_path / "stopped" / "unfinished").exists()


def test_the_seconds_of_what_was_stopped_are_those_of_both(
    tmp_path: Path, student_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "EVERY", 0.0)
    stopped(student_file, tmp_path, shots(4))
    part, *_ = sorted((tmp_path / "begun").glob("0000-*.npz"))
    with np.load(part) as file:
        arrays = {**file, "seconds": np.array(100.0)}
    np.savez(part, **arrays)
    clean, *others = evaluate(student_file, tmp_path, shots(), Sharpness()).rows
    assert clean.seconds > 100
    assert all(row.seconds < 100 for row in others)


def test_records_of_a_condition_without_a_row_are_measured_again(
    tmp_path: Path, student_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "EVERY", 0.0)
    evaluate(student_file, tmp_path / "whole", shots(), Sharpness())
    folder = tmp_path / "stopped"
    stopped(student_file, folder, shots(8))
    # As after a kill between the records of a condition and its row; and a damaged disk.
    append_records(folder, [{"condition": "corruption", "corruption": "shot_noise", "index": 0}])
    damaged, *_ = sorted((folder / "begun").glob("0001-*.npz"))
    damaged.write_bytes(damaged.read_bytes()[:100])
    (folder / "begun" / "0001-rank0-999999.npz").touch()
    data = shots()
    evaluate(student_file, folder, data, Sharpness())
    assert data.batches > 15 - 7
    assert without_clocks(folder) == without_clocks(tmp_path / "whole")


def test_of_other_images_or_settings_nothing_is_gone_on_with(
    tmp_path: Path, student_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "EVERY", 0.0)
    stopped(student_file, tmp_path, shots(8))
    sentence = r"the beginning of an evaluation with other settings \(budget_kib: 4 there, 5 now\)"
    write_asked(tmp_path, {"budget_kib": 4})
    with pytest.raises(RunConflictError, match=sentence):
        evaluate(student_file, tmp_path, shots(), Sharpness(), asked={"budget_kib": 5})
    write_asked(tmp_path, {})
    with pytest.raises(RunConflictError, match="begun with other measurements"):
        evaluate(student_file, tmp_path, shots())
    data = shots(eval_limit_per_class=3)
    evaluate(student_file, tmp_path, data, Sharpness())
    assert data.batches == 3 * 4  # all of the 24 images
    assert [row.images for row in read_summary(tmp_path / "summary.json")] == [24] * 3


class StopsIn(Sharpness):
    """Stopped while it measures, between the columns of one measurement and of the next."""

    def __init__(self, stop_at: int) -> None:
        self.left = stop_at

    def columns(self, batch: Batch, output: EvaluationOutput) -> dict[str, torch.Tensor]:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt
        return super().columns(batch, output)


@pytest.mark.parametrize("stop_at", [2, 4, 9])
def test_a_batch_that_was_being_measured_is_measured_again_wholly(
    stop_at: int, tmp_path: Path, student_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate(student_file, tmp_path / "whole", shots(), Sharpness())
    monkeypatch.setattr(store_module, "EVERY", 0.0)
    with pytest.raises(SystemExit):
        evaluate(student_file, tmp_path / "stopped", shots(), StopsIn(stop_at))
    evaluate(student_file, tmp_path / "stopped", shots(), Sharpness())
    assert without_clocks(tmp_path / "stopped") == without_clocks(tmp_path / "whole")


def test_who_takes_the_data_after_a_stop_gets_all_of_them(
    tmp_path: Path, student_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "EVERY", 0.0)
    stopped(student_file, tmp_path, shots(8))
    data = shots(2)
    stopped(student_file, tmp_path, data)
    assert [len(loader) for loader in data.test_dataloader()] == [5, 5, 5]


def test_a_trial_and_a_few_batches_leave_what_was_begun_or_begin_anew(
    tmp_path: Path, student_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "EVERY", 0.0)
    stopped(student_file, tmp_path, shots(8))
    evaluate(student_file, tmp_path, shots(), Sharpness(), fast_dev_run=True)
    data = shots()
    evaluate(student_file, tmp_path, data, Sharpness())
    assert data.batches == 15 - 7
    stopped(student_file, tmp_path, shots(8))
    store = evaluate(student_file, tmp_path, shots(), Sharpness(), limit_test_batches=2)
    assert [row.images for row in store.rows] == [14, 14, 14]


def test_a_changed_file_or_condition_is_another_evaluation(
    tmp_path: Path, student_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "EVERY", 0.0)
    stopped(student_file, tmp_path, shots(8))
    other = Shots(PhotosDataModule(**photos(num_workers=0)), ["fog", "brightness"], [3])
    evaluate(student_file, tmp_path, other, Sharpness())
    assert other.batches == 15
    file = tmp_path / "victim"
    asked = {"data": {"victim": [str(file)]}}
    file.write_text("one")
    with pytest.raises(SystemExit):
        evaluate(student_file, tmp_path / "b", shots(8), Sharpness(), asked=asked)
    for content, batches in (("two", 15), ("two", 15)):
        file.write_text(content)
        data = shots()
        evaluate(student_file, tmp_path / "b", data, Sharpness(), asked=asked)
        assert data.batches == batches


def test_two_do_not_evaluate_into_one_folder(
    tmp_path: Path, student_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(begun, "PATIENCE", 0.0)
    other = begun.lock(tmp_path)
    assert other is not None
    with pytest.raises(RunConflictError, match="is being evaluated by another process"):
        evaluate(student_file, tmp_path, shots(), Sharpness())
    begun.unlock(other)
    assert evaluate(student_file, tmp_path, shots(), Sharpness()).rows
    assert not Path(other.name).exists()  # and it was given back


class SlowAttack(TwoConditions):
    """Takes a second to make the one batch of one condition."""

    slow = 0

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        if dataloader_idx == self.slow:
            time.sleep(1)
        return batch


@pytest.mark.parametrize("slow", [0, 1])
def test_the_making_of_a_batch_counts_for_its_own_condition(
    slow: int, tmp_path: Path, student_file: Path
) -> None:
    data = SlowAttack(**photos(eval_batch_size=32, num_workers=0))
    data.slow = slow
    started = time.perf_counter()
    rows = evaluate(student_file, tmp_path, data).rows
    whole = time.perf_counter() - started
    seconds = [row.seconds for row in rows]
    assert seconds[slow] >= 1
    assert seconds[1 - slow] < seconds[slow] - 0.5
    assert sum(seconds) < whole


def test_records_are_appended_and_a_new_column_loses_nothing(tmp_path: Path) -> None:
    first = [{"condition": "clean", "severity": None, "index": i} for i in range(2)]
    second = [{"condition": "fog, thick", "severity": 1, "index": 7}]
    third = [{"condition": "pgd", "index": 8, "objective_end": 0.25}]
    path = write_records(tmp_path, [{"of": "an earlier evaluation"}])
    assert write_records(tmp_path, first) == path
    file = path.stat().st_ino
    append_records(tmp_path, second)
    assert path.stat().st_ino == file  # not written anew
    before = read_records(path)
    append_records(tmp_path, third)
    found = read_records(path)
    assert [{k: v for k, v in r.items() if k != "objective_end"} for r in found[:3]] == before
    assert [r["objective_end"] for r in found] == ["", "", "", "0.25"]
    assert (
        path.read_bytes() == write_records(tmp_path / "b", [*first, *second, *third]).read_bytes()
    )


def test_an_image_that_comes_twice_counts_once(tmp_path: Path, student_file: Path) -> None:
    class Repeated(PhotosDataModule):
        def test_dataloader(self) -> Any:
            whole = self.test_dataset
            padded: ConcatDataset[Any] = ConcatDataset([whole, Subset(whole, range(7))])
            return DataLoader(padded, batch_size=7, collate_fn=collate)

    once = evaluate(student_file, tmp_path / "a", PhotosDataModule(**photos())).rows[0]
    twice = evaluate(student_file, tmp_path / "b", Repeated(**photos())).rows[0]
    assert (twice.images, twice.kib_mean, twice.accuracy) == (32, once.kib_mean, once.accuracy)


def test_accuracy_among_the_present_classes() -> None:
    accuracy = Accuracy()
    accuracy.present = torch.tensor([1, 3])
    logits = torch.tensor([[5.0, 1.0, 0.0, 2.0, 0.0, 0.0], [9.0, 2.0, 0.0, 1.0, 8.0, 7.0]])
    batch = Batch(torch.rand(2, 3, 8, 8), torch.tensor([3, 1]), torch.tensor([0, 1]))
    error = torch.tensor([0.25, 0.5])
    output = SimpleNamespace(logits=logits, teacher_logits=-logits, feature_error=error)
    summary = accuracy.summary(accuracy.columns(batch, output))  # type: ignore[arg-type]
    assert summary == {
        "accuracy": 0.0,
        "accuracy_present": 1.0,
        "top5": 1.0,
        "teacher_accuracy": 0.0,
        "teacher_accuracy_present": 0.0,
        "feature_error": 0.375,
    }


def test_the_teacher_is_asked_where_it_is_known(student_file: Path) -> None:
    with pytest.raises(WeightsError, match="does not say where its teacher is"):
        Evaluation(str(student_file), with_teacher=True)


def test_data_of_other_classes_are_refused(student_file: Path) -> None:
    with pytest.raises(ValueError, match="knows 8 classes, the data have 1000"):
        Evaluation(str(student_file), num_classes=1000)
