"""Adversarial batches in the real loops, through the real command line."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer

from entres.attacks import PGDE, QUICK, Attack, PGDAcc, SignNoise, StepSize
from entres.callbacks import Accuracy, AttackHealth, BitSize, ResultsStore
from entres.callbacks.attack_health import attack_warnings
from entres.cli import main
from entres.conditions import AdversarialDataModule
from entres.data import Batch, DataError, PhotosDataModule
from entres.models import EntropicStudent, load_student
from entres.results import Row, read_summary
from entres.stages import Evaluation

ROOT = Path(__file__).parents[2]
NAME = "test_resnet-mshp-beta0.08-joint"


pytestmark = pytest.mark.usefixtures("at_the_root")


def photos(**options: Any) -> PhotosDataModule:
    defaults = {"image_size": 32, "eval_limit_per_class": 2, "num_workers": 0, "batch_size": 4}
    return PhotosDataModule(**{**defaults, "limit_per_class": 1, **options})


class Keeper(LightningModule):
    """Keeps every batch it is given."""

    def __init__(self, student: EntropicStudent | None) -> None:
        super().__init__()
        self.student = student
        self.batches: dict[int, list[Batch]] = {}
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        self.batches.setdefault(dataloader_idx, []).append(batch)

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        self.batches.setdefault(-1, []).append(batch)
        return self.weight.square()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.batches.setdefault(-2, []).append(batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD([self.weight], 0.1)

    def images(self, loader: int) -> torch.Tensor:
        return torch.cat([batch.images for batch in self.batches[loader]])


def trainer(**options: Any) -> Trainer:
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    return Trainer(accelerator="cpu", devices=1, enable_model_summary=False, **quiet, **options)


@pytest.mark.parametrize("inference_mode", [True, False])
def test_one_loader_per_condition(
    inference_mode: bool, make_student: Callable[..., EntropicStudent]
) -> None:
    data = AdversarialDataModule(photos(), [SignNoise(), PGDE(steps=2)], [2, 8], QUICK)
    module = Keeper(make_student())
    trainer(inference_mode=inference_mode).test(module, data, verbose=False)
    names = [(c.condition, c.epsilon_255, c.preset, c.norm) for c in data.conditions]
    assert names == [
        ("clean", None, None, None),
        ("noise", 2, None, "linf"),
        ("noise", 8, None, "linf"),
        ("pgd_e", 2, "quick, 2 steps", "linf"),
        ("pgd_e", 8, "quick, 2 steps", "linf"),
    ]
    clean = module.images(0)
    for loader, (_, epsilon, _, _) in enumerate(names[1:], 1):
        change = (module.images(loader) - clean).abs().amax((1, 2, 3)) * 255
        assert (change <= epsilon + 1e-3).all()
        assert (change > 0.7 * epsilon).all()
    assert module.batches[3][0].notes is not None
    assert module.batches[0][0].notes is None


def test_training_batches_are_attacked_and_validation_is_not(
    make_student: Callable[..., EntropicStudent],
) -> None:
    def run(share: float) -> Keeper:
        data = AdversarialDataModule(
            photos(augment=False), PGDE(8, steps=1), attacked_share=share, seed=3
        )
        assert data.training_attacks == "pgd_e8"
        module = Keeper(make_student())
        trainer(max_epochs=1, num_sanity_val_steps=1).fit(module, datamodule=data)
        return module

    clean, half, whole = run(0.0), run(0.5), run(1.0)
    changed = (half.images(-1) != clean.images(-1)).flatten(1).any(1)
    assert changed.tolist() == [True, True, False, False] * 2
    assert (whole.images(-1) != clean.images(-1)).flatten(1).any(1).all()
    assert torch.equal(whole.images(-2), clean.images(-2))
    # The noise of a step depends on seed, step and image: a run can be repeated.
    assert torch.equal(run(1.0).images(-1), whole.images(-1))


def test_it_says_what_is_missing() -> None:
    data = AdversarialDataModule(photos(), PGDE())
    with pytest.raises(DataError, match="Keeper has no student to attack"):
        trainer().test(Keeper(None), data, verbose=False)
    with pytest.raises(ValueError, match="at least one attack"):
        AdversarialDataModule(photos(), [])
    with pytest.raises(ValueError, match="attacked_share"):
        AdversarialDataModule(photos(), PGDE(), attacked_share=2)


def test_no_two_conditions_have_one_name() -> None:
    with pytest.raises(ValueError, match=r"several attacks are pgd_e 8/255 \(strong\) in the"):
        AdversarialDataModule(photos(), [PGDE(8), SignNoise(8), PGDE(8, random_start=True)])
    with pytest.raises(ValueError, match=r"several attacks are pgd_e 2/255 \(quick\) in the"):
        AdversarialDataModule(photos(), [PGDE(8), PGDE(4)], [2], QUICK)
    assert len(AdversarialDataModule(photos(), [PGDE(8), PGDE(4)]).conditions) == 3
    more = AdversarialDataModule(photos(), [PGDE(8, steps=100), PGDE(8, steps=200)])
    assert [c.preset for c in more.conditions] == [None, "strong", "strong, 200 steps"]


# --- through the command line ---------------------------------------------------------------------

WITHOUT_GRADIENT = ("noise", "square")
ATTACKS = sorted(path.stem for path in (ROOT / "configs" / "attack").glob("*.yaml"))
TINY = [
    "test",
    "--config=configs/stage/evaluation.yaml",
    "--data=configs/data/adversarial.yaml",
    "--data.data.image_size=32",
    "--data.data.eval_limit_per_class=1",
    "--data.data.num_workers=0",
    "--model.coding_workers=0",
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
]


def evaluate(student: Path, out: Path, *words: str) -> list[Row]:
    main([*TINY, f"--model.student={student}", f"--out={out}", *words])
    (path,) = out.glob("photos/*/eval/*/summary.json")
    return read_summary(path)


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("preset", ["strong", "published"])
def test_every_attack_and_preset_through_the_command_line(
    attack: str, preset: str, tmp_path: Path, student_file: Path
) -> None:
    words = [f"--data.attack=configs/attack/{attack}.yaml"]
    around = attack.endswith(("_8bit", "_jpeg75", "_over_6kib"))  # another one
    words += ["--data.epsilons_255=[4]" if around else "--data.attack.epsilon_255=4"]
    if around:
        words += [f"--data.preset=configs/preset/{preset}.yaml", "--data.preset.steps=2"]
    elif attack not in WITHOUT_GRADIENT:
        words += [f"--data.attack.preset=configs/preset/{preset}.yaml", "--data.attack.steps=2"]
    if attack == "square":
        words += ["--data.attack.queries=3"]
    rows = evaluate(student_file, tmp_path, *words)
    called = "square_3_queries" if attack == "square" else attack
    assert [row.condition for row in rows] == ["clean", called]
    assert rows[1].epsilon_255 == 4
    assert rows[1].preset == (None if attack in WITHOUT_GRADIENT else f"{preset}, 2 steps")
    assert rows[1].images == 8
    found = rows[1].extra.get("attack_warnings", [])
    if attack not in WITHOUT_GRADIENT:
        # A random student of the hyperprior: the published preset rounds its y.
        assert any("masked" in sentence for sentence in found) == (preset == "published")


def test_several_attacks_in_one_go(
    tmp_path: Path, student_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = ",".join(f"configs/attack/{name}.yaml" for name in ("noise", "pgd_acc", "pgd_e"))
    rows = evaluate(
        student_file,
        tmp_path,
        f"--data.attack=[{files}]",
        "--data.epsilons_255=[2,4]",
        "--data.preset=configs/preset/published.yaml",
        "--data.preset.accuracy.samples=2",
    )
    assert [(row.condition, row.epsilon_255) for row in rows] == [
        ("clean", None),
        *[(name, e) for name in ("noise", "pgd_acc", "pgd_e") for e in (2, 4)],
    ]
    (folder,) = tmp_path.glob("photos/*/eval/attacks")
    with (folder / "records.csv").open() as file:
        records = list(csv.DictReader(file))
    assert len(records) == 7 * 8
    assert records[0]["objective_end"] == ""
    assert float(records[-1]["objective_end"]) > 0
    printed = capsys.readouterr().out
    assert "pgd_e 4/255 (published)" in printed
    assert "! pgd_e 4/255 (published): its own model rounds a latent" in printed


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--data.attack.epsilon_255=0"], "epsilon_255 is a radius"),
        (["--data.attack.steps=0"], "steps and restarts must be >= 1"),
        (["--data.epsilons_255=[]"], "at least one attack"),
    ],
)
def test_errors_are_sentences(
    words: list[str], sentence: str, tmp_path: Path, student_file: Path
) -> None:
    with pytest.raises(SystemExit, match=f"^entres: .*{sentence}"):
        evaluate(student_file, tmp_path, "--data.attack=configs/attack/pgd_e.yaml", *words)


def test_fine_tuning_on_attacked_batches(tmp_path: Path, student_file: Path) -> None:
    main(
        [
            "fit",
            "--config=configs/stage/joint.yaml",
            "--data=configs/data/adversarial.yaml",
            "--data.attack=configs/attack/pgd_e.yaml",
            "--data.attack.steps=1",
            *(word.replace("eval_limit_per_class", "limit_per_class") for word in TINY[3:6]),
            "--data.data.eval_limit_per_class=1",
            "--data.data.batch_size=4",
            "--model.beta=0.08",
            f"--model.student_weights={student_file}",
            "--trainer.max_epochs=1",
            "--trainer.enable_progress_bar=false",
            f"--out={tmp_path}/out",
        ]
    )
    (path,) = (tmp_path / "out").glob("photos/*/student.safetensors")
    assert path.parent.name == f"{NAME}-pgd_e8"
    _, card = load_student(path)
    assert card.recipe == "joint-pgd_e8"
    assert card.dataset == "photos"


# --- warnings -----------------------------------------------------------------------------------

GOOD = {
    "masked_gradient": 0.0,
    "zero_gradient": 0.0,
    "objective_clean": 1.0,
    "objective_noise": 1.1,
    "objective_end": 2.0,
    "objective_middle": 1.8,
    "objective_last": 2.0,
    "late_gain": 0.01,
}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({}, None),
        ({"masked_gradient": 1.0}, "masked"),
        ({"zero_gradient": 0.3}, "zero in 30% of the steps"),
        ({"objective_end": 0.9, "objective_noise": 0.8}, "did not rise"),
        ({"objective_noise": 2.1}, "random noise of the same epsilon does more"),
        ({"objective_last": 1.7}, "more steps made it weaker"),
        (
            {"late_gain": 0.031},
            "has not converged: the last quarter of its steps still gained 3.1%",
        ),
    ],
)
def test_warnings(change: dict[str, float], sentence: str | None) -> None:
    found = attack_warnings(GOOD | change)
    assert len(found) == (sentence is not None)
    assert all(sentence is not None and sentence in text for text in found)


def test_an_attack_without_a_gradient_is_judged_by_the_rest() -> None:
    blind = {name: v for name, v in GOOD.items() if not name.endswith("gradient")}
    assert attack_warnings(blind) == []
    (found,) = attack_warnings(blind | {"late_gain": 0.031})
    assert found.endswith("still gained 3.1% (more queries find more)")


class Backwards(StepSize):
    """Walks down instead of up."""

    def __call__(self, step: int, steps: int, epsilon: float) -> float:
        return -0.3 * epsilon


class Deaf(PGDAcc):
    """Sees no gradient."""

    def transform(self, gradient: torch.Tensor) -> torch.Tensor:
        return gradient * 0


@pytest.mark.parametrize(
    ("attack", "sentence"),
    [
        (
            PGDE(16, preset=replace(QUICK, rate_step_rule=Backwards())),
            "did not rise over the steps",
        ),
        (PGDE(16, preset=replace(QUICK, rate_step_rule=Backwards())), "random noise"),
        (Deaf(16), "the gradient was zero in 100% of the steps"),
    ],
)
def test_broken_attacks_are_found(
    attack: Attack, sentence: str, tmp_path: Path, student_file: Path
) -> None:
    store = ResultsStore(tmp_path)
    data = AdversarialDataModule(photos(), attack, clean=False)
    with pytest.warns(UserWarning, match=sentence):
        trainer(callbacks=[BitSize(), Accuracy(), AttackHealth(), store]).test(
            Evaluation(str(student_file), coding_workers=0), data, verbose=False
        )
    (row,) = store.rows
    assert any(sentence in text for text in row.extra["attack_warnings"])


def test_a_smallest_epsilon_is_sought_and_read_again(tmp_path: Path, student_file: Path) -> None:
    whole = ["--data.attack=configs/attack/pgd_e.yaml", "--data.epsilons_255=[64]"]
    clean, attacked = evaluate(student_file, tmp_path / "first", *whole, "--data.preset.steps=8")
    budget = round((clean.kib_mean + attacked.kib_mean) / 2, 3)
    file = tmp_path / "mine.yaml"
    file.write_text(
        "class_path: entres.attacks.SmallestEpsilon\n"
        f"init_args: {{attack: {{class_path: entres.attacks.PGDE}}, budget_kib: {budget}}}\n"
    )
    words = [f"--data.attack={file}", "--data.epsilons_255=[64]", "--data.preset.steps=8"]
    evaluate(student_file, tmp_path / "second", *words)
    (folder,) = tmp_path.glob("second/photos/*/eval/attacks")
    main(["budget", str(folder)])
    with (folder / "smallest-epsilons.csv").open(newline="") as lines:
        found = {line["image"]: line["smallest_epsilon_255"] for line in csv.DictReader(lines)}
    with (folder / "records.csv").open(newline="") as lines:
        records = [line for line in csv.DictReader(lines) if line["condition"] != "clean"]
    assert len(records) == len(found) == 8
    for record in records:
        assert (int(record["bytes"]) > budget * 1024) == (found[record["index"]] != "")
    between = [float(epsilon) for epsilon in found.values() if epsilon not in ("", "0", "64")]
    assert between
    assert all(epsilon.is_integer() for epsilon in between)  # 64 / 2 ** 6
