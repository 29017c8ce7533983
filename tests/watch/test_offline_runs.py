"""What W&B is told, read back from the files of offline runs."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from wandb.proto.wandb_internal_pb2 import Record

from entres.cli import main
from entres.watch.curves import STEP, SUMMARIES
from entres.watch.examples import IMAGES, MAPS

ROOT = Path(__file__).parent.parent.parent
BLOCK, FILE_HEADER, RECORD_HEADER = 32768, 7, 7
WHOLE, LAST = 1, 4


def read_records(path: Path) -> list[Record]:
    """The records of an offline run's file: a log in LevelDB's format."""
    data, at, parts, records = path.read_bytes(), FILE_HEADER, b"", []
    while at + RECORD_HEADER <= len(data):
        room = BLOCK - at % BLOCK
        if room < RECORD_HEADER:
            at += room
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        at += RECORD_HEADER
        parts += data[at : at + length]
        at += length
        if kind in (WHOLE, LAST):
            records.append(Record.FromString(parts))
            parts = b""
    return records


def read_run(folder: Path) -> list[Record]:
    """The records of the one offline run of a folder, when W&B's own process has written them."""
    (path,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    for _ in range(100):
        records = read_records(path)
        if any(r.HasField("exit") for r in records):
            return records
        time.sleep(0.1)
    raise AssertionError(f"{path} was not finished within 10 s")


def about(records: list[Record]) -> tuple[Any, dict[str, Any]]:
    """The run, and its config."""
    run = next(r.run for r in records if r.HasField("run"))
    return run, {u.key: json.loads(u.value_json) for u in run.config.update}


def values(items: Iterable[Any]) -> dict[str, Any]:
    """Values by name; what has several fields, such as an image, is a mapping of them."""
    found: dict[str, Any] = {}
    for item in items:
        name, *field = item.nested_key or [item.key]
        value = json.loads(item.value_json)
        if field:
            found.setdefault(name, {})[field[0]] = value
        else:
            found[name] = value
    return found


def logged(records: list[Record]) -> list[dict[str, Any]]:
    return [values(r.history.item) for r in records if r.HasField("history")]


def summary(records: list[Record]) -> dict[str, Any]:
    return values(u for r in records if r.HasField("summary") for u in r.summary.update)


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("WANDB_MODE", "offline")


def test_an_evaluation_tells_who_it_was_and_shows_it(tmp_path: Path, student_file: Path) -> None:
    words = ["test", "--config=configs/stage/evaluation.yaml", f"--out={tmp_path}"]
    words += ["--data=configs/data/adversarial.yaml", "--data.attack=configs/attack/noise.yaml"]
    words += ["--data.data.image_size=32", "--data.data.eval_limit_per_class=1"]
    words += ["--defense=configs/defense/median.yaml", "--data.data.num_workers=0"]
    words += [f"--model.student={student_file}", "--model.coding_workers=0", "--example_images=3"]
    main([*words, "--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"])

    (folder,) = tmp_path.glob("photos/test_resnet-mshp-beta0.08-joint-*/eval/attacks")
    records = read_run(folder)
    run, config = about(records)
    assert run.run_group == "test_resnet-mshp-joint"
    assert (run.job_type, set(run.tags)) == ("evaluation", {"evaluation", "photos", "attacks"})
    wanted = {"backbone": "test_resnet", "codec": "mshp", "recipe": "joint", "beta": 0.08}
    assert wanted.items() <= config.items()
    assert len(config) < 20  # the rest is in config.yaml
    steps = logged(records)
    rows = [s for s in steps if "test/kib_mean" in s and "test/accuracy" in s]
    written = json.loads((folder / "summary.json").read_text())
    assert [r["test/kib_mean"] for r in rows] == [r["kib_mean"] for r in written]
    assert len(rows) == 4  # clean and noise, each before and after the median
    defended = summary(records)["kib/noise 8 + median 3"]
    assert defended == written[3]["kib_mean"]
    (table,) = (s["results"] for s in steps if "results" in s)  # once, not once per condition
    assert (table["_type"], table["nrows"]) == ("table-file", 4)
    cells = json.loads(next(folder.glob("wandb/offline*/files/media/table/*.json")).read_text())
    labels = [row[cells["columns"].index("label")] for row in cells["data"]]
    assert labels[3] == "noise 8/255 + median 3"

    images = [s[IMAGES] for s in steps if IMAGES in s]
    assert [(i["count"], i["width"], i["height"]) for i in images] == [(3, 32, 32)] * 4
    assert len([s for s in steps if MAPS in s]) == 4
    assert images[3]["captions"][0].startswith("noise 8/255 + median 3, image ")
    files = [folder.glob(f"wandb/offline*/files/{image['filenames'][0]}") for image in images]
    clean, clean_median, noise, noise_median = (read_pixels(next(f)) for f in files)
    # Up to 8 levels of noise; the median smooths: what is logged is what the student saw.
    assert 4 < abs(noise - clean).max() <= 8
    for before, after in ((clean, clean_median), (noise, noise_median)):
        assert 0 < roughness(after) < 0.8 * roughness(before)


def test_training_curves_and_their_extremes(tmp_path: Path, student_file: Path) -> None:
    words = ["fit", "--config=configs/stage/joint.yaml", "--data=configs/data/photos.yaml"]
    words += ["--data.image_size=32", "--data.limit_per_class=2", "--data.eval_limit_per_class=1"]
    words += ["--data.batch_size=8", "--data.num_workers=0", "--trainer.accelerator=cpu"]
    words += ["--trainer.max_epochs=2", "--trainer.log_every_n_steps=1", f"--out={tmp_path}"]
    words += [f"--model.student_weights={student_file}", "--trainer.enable_progress_bar=false"]
    main([*words, "--model.beta=0.08"])

    records = read_run(tmp_path / "photos" / "test_resnet-mshp-beta0.08-joint")
    run, config = about(records)
    assert (run.run_group, run.job_type) == ("test_resnet-mshp-joint", "joint")
    assert set(run.tags) == {"joint", "photos"}
    assert {"stage": "joint", "beta": 0.08, "seed": 0, "batch_size": 8}.items() <= config.items()
    curves: dict[str, list[float]] = {}
    for step in logged(records):
        for name, value in step.items():
            curves.setdefault(name, []).append(value)
    for name in ("bits", "kib", "distortion", "accuracy"):
        assert len(curves[f"val/{name}"]) == 2
        assert len(curves[f"train/{name}_step"]) == 4
    asked = {r.metric.name: r.metric for r in records if r.HasField("metric")}
    for name in SUMMARIES:
        assert name in curves
        assert asked[name].step_metric == STEP
    assert asked["val/kib"].summary.min
    assert asked["val/accuracy"].summary.max


def read_pixels(path: Path) -> NDArray[np.int16]:
    pixels: NDArray[np.int16] = np.asarray(Image.open(path)).astype(np.int16)
    return pixels


def roughness(pixels: NDArray[np.int16]) -> float:
    return float(abs(np.diff(pixels, axis=0)).mean())
