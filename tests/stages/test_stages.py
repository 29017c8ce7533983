"""What each stage trains, leaves alone, and minimizes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import Tensor

from entres.data import Batch, PhotosDataModule
from entres.losses import RELATIVE_POINT_WEIGHT
from entres.models import EntropicStudent, FactorizedPrior, load_student
from entres.stages import (
    Cosine,
    Distillation,
    FrozenEncoderFinetuning,
    JointFinetuning,
    RateDistortion,
    StudentStage,
    TeacherTraining,
)

ARGUMENTS: dict[str, Any] = {
    "optimizer": lambda groups: torch.optim.Adam(groups, lr=1e-3),
    "schedule": Cosine(),
    "num_classes": 8,
}


def photos(**kwargs: Any) -> PhotosDataModule:
    options = {"image_size": 32, "batch_size": 8, "limit_per_class": 4, "eval_limit_per_class": 1}
    return PhotosDataModule(**{**options, **kwargs})


def run(stage: pl.LightningModule, folder: Path, epochs: int = 1, **data: Any) -> pl.Trainer:
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        default_root_dir=folder,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(stage, datamodule=photos(**data))
    return trainer


def parameters(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in module.named_parameters()}


def changed(before: dict[str, torch.Tensor], module: torch.nn.Module) -> set[str]:
    after = dict(module.named_parameters())
    return {name.split(".")[0] for name, p in before.items() if not torch.equal(p, after[name])}


CODEC_PARTS = {"g_a", "g_s", "h_a", "h_s", "entropy_bottleneck"}


@pytest.mark.parametrize(
    ("stage_class", "codec", "tail"),
    [
        (Distillation, CODEC_PARTS, False),
        (JointFinetuning, CODEC_PARTS, True),
        (FrozenEncoderFinetuning, {"g_s"}, True),
    ],
)
def test_each_stage_trains_its_parts_and_no_other(
    stage_class: type[StudentStage],
    codec: set[str],
    tail: bool,
    tmp_path: Path,
    student_file: Path,
) -> None:
    stage = stage_class(beta=0.08, student_weights=str(student_file), **ARGUMENTS)
    teacher, before = parameters(stage.teacher), parameters(stage.student.codec)
    tail_before = parameters(stage.student.tail)
    statistics = {k: v.clone() for k, v in stage.teacher.state_dict().items()}
    run(stage, tmp_path)
    assert changed(before, stage.student.codec) == codec
    assert bool(changed(tail_before, stage.student.tail)) == tail
    assert not changed(teacher, stage.teacher)
    after = stage.teacher.state_dict()
    assert all(torch.equal(v, after[k]) for k, v in statistics.items()), "BatchNorm moved"


@pytest.mark.parametrize("stage_class", [Distillation, JointFinetuning])
def test_a_tail_may_learn_in_its_scales_shifts_and_biases_alone(
    stage_class: type[RateDistortion], tmp_path: Path, student_file: Path
) -> None:
    stage = stage_class(
        beta=0.08, student_weights=str(student_file), tail_parameters="normalization", **ARGUMENTS
    )
    before = {name: value.clone() for name, value in stage.student.tail.state_dict().items()}
    run(stage, tmp_path)
    after = stage.student.tail.state_dict()
    moved = {name for name, value in before.items() if not torch.equal(value, after[name])}
    learn = {name for name, p in stage.student.tail.named_parameters() if p.ndim == 1}
    assert moved
    assert moved <= learn  # no convolution, and no statistics
    with pytest.raises(ValueError, match="must be one of none, normalization, all, got 'some'"):
        stage_class(beta=0.08, tail_parameters="some", **ARGUMENTS)  # type: ignore[arg-type]


def test_a_first_stage_keeps_the_teachers_tail_whatever_it_starts_from(
    student_file: Path,
) -> None:
    # That of a student of other classes would not even fit.
    stage = Distillation(beta=0.08, student_weights=str(student_file), **ARGUMENTS)
    start, _ = load_student(student_file)
    for name, value in stage.student.codec.state_dict().items():
        if name.startswith("g_a"):
            assert torch.equal(value, start.codec.state_dict()[name])
    teacher = stage.teacher.state_dict()
    tail = {n: v for n, v in stage.student.tail.state_dict().items() if n in teacher}
    assert tail
    assert all(torch.equal(value, teacher[name]) for name, value in tail.items())


def test_a_start_of_other_classes_gives_all_but_its_last_layer(student_file: Path) -> None:
    with pytest.warns(UserWarning, match="knows 8 classes, the teacher 3: all but the last"):
        stage = JointFinetuning(
            beta=0.08, student_weights=str(student_file), **{**ARGUMENTS, "num_classes": 3}
        )
    start, _ = load_student(student_file)
    before = start.state_dict()
    teacher = stage.teacher.state_dict()
    for name, value in stage.student.state_dict().items():
        if before[name].shape == value.shape:
            assert torch.equal(value, before[name]), name
        else:
            assert torch.equal(value, teacher[name.removeprefix("tail.")]), name
    assert stage.student(torch.rand(1, 3, 32, 32)).logits.shape == (1, 3)


def test_frozen_parts_stay_in_evaluation_mode_and_get_no_gradient(student_file: Path) -> None:
    stage = FrozenEncoderFinetuning(beta=0.08, student_weights=str(student_file), **ARGUMENTS)
    stage.setup("fit")
    assert not stage.teacher.training
    assert not stage.student.codec.g_a.training
    assert stage.student.codec.g_s.training
    assert stage.student.tail.training
    stage.run_student(torch.rand(2, 3, 32, 32)).logits.sum().backward()
    with_gradient = {
        n.split(".")[0] for n, p in stage.student.codec.named_parameters() if p.grad is not None
    }
    assert with_gradient == {"g_s"}
    assert all(p.grad is None for p in stage.teacher.parameters())


@pytest.mark.skipif(
    not hasattr(torch.backends.mkldnn, "conv"), reason="torch before 2.9 has no such setting"
)
def test_fast_products_hold_for_training_steps_alone(tmp_path: Path) -> None:
    seen: dict[str, set[str]] = {"training": set(), "validation": set()}

    class Watched(Distillation):
        def objective(self, *args: Any) -> dict[str, Tensor]:
            seen["training"].add(torch.backends.mkldnn.conv.fp32_precision)
            return super().objective(*args)

        def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
            seen["training"].add(torch.backends.mkldnn.conv.fp32_precision)  # after the gradients

        def collect_terms(self, terms: dict[str, Tensor]) -> None:
            seen["validation"].add(torch.backends.mkldnn.conv.fp32_precision)
            super().collect_terms(terms)

    before = torch.backends.mkldnn.conv.fp32_precision
    run(Watched(beta=0.08, fast_products=True, **ARGUMENTS), tmp_path, limit_per_class=1)
    assert seen == {"training": {"bf16"}, "validation": {before}}
    assert torch.backends.mkldnn.conv.fp32_precision == before


def test_training_lowers_the_loss(tmp_path: Path) -> None:
    stage = Distillation(beta=0.08, **ARGUMENTS)
    batch = next(iter(photos(batch_size=32).train_dataloader()))

    def loss() -> float:
        with torch.no_grad():
            output = stage.student(batch.images, "round")
            terms = stage.distortion(output, stage.teacher(batch.images))
        return terms.mean().item()

    run(stage, tmp_path, epochs=1, limit_per_class=1)
    early = loss()
    run(stage, tmp_path, epochs=12)
    assert loss() < 0.9 * early


def test_beta_buys_bits(tmp_path: Path) -> None:
    arguments = {**ARGUMENTS, "optimizer": lambda groups: torch.optim.Adam(groups, lr=1e-2)}
    bits = []
    for beta in (0.01, 1000.0):
        torch.manual_seed(0)
        stage = JointFinetuning(beta=beta, codec=FactorizedPrior, **arguments)
        run(stage, tmp_path, epochs=25)
        batch = next(iter(photos().test_dataloader()))
        bits.append(stage.student(batch.images).bits.mean().item())
    assert bits[1] < 0.8 * bits[0]


def test_relative_weights_divide_by_the_teachers_energy(tmp_path: Path) -> None:
    stage = Distillation(beta=0.08, **ARGUMENTS)
    run(stage, tmp_path, augment=False, batch_size=32)
    batch = next(iter(photos(augment=False, batch_size=32).train_dataloader()))
    with torch.no_grad():
        features = stage.teacher(batch.images).features
    energy = torch.stack([f.square().flatten(1).sum(1).mean() for f in features])
    assert torch.allclose(
        stage.point_weights * energy, torch.tensor(RELATIVE_POINT_WEIGHT), rtol=1e-3
    )
    mean = features[0].mean((0, 2, 3))
    assert torch.allclose(stage.student.codec.output_shift, mean, rtol=1e-3, atol=1e-4)
    std = features[0].transpose(0, 1).flatten(1).std(1, correction=0)
    assert torch.allclose(stage.student.codec.output_scale, std, rtol=1e-3, atol=1e-4)


def test_summed_weights_are_the_published_ones_and_leave_the_output_alone(tmp_path: Path) -> None:
    stage = Distillation(beta=0.08, feature_weighting="summed", **ARGUMENTS)
    run(stage, tmp_path)
    assert (stage.point_weights == 1).all()
    assert (stage.student.codec.output_scale == 1).all()
    assert (stage.student.codec.output_shift == 0).all()


def test_a_start_keeps_its_output_statistics(tmp_path: Path, student_file: Path) -> None:
    # Its synthesis was trained for them, the identity of published students included.
    stage = JointFinetuning(beta=0.08, student_weights=str(student_file), **ARGUMENTS)
    run(stage, tmp_path)
    assert (stage.student.codec.output_scale == 1).all()


def test_the_frozen_recipe_cannot_move_the_rate(tmp_path: Path, student_file: Path) -> None:
    # Its synthesis and tail are tuned behind symbols that are those of the start.
    stage = FrozenEncoderFinetuning(beta=0.08, student_weights=str(student_file), **ARGUMENTS)
    images = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    before = [s.to_bytes() for s in stage.student.eval().encode(images)]
    run(stage, tmp_path)
    student, card = load_student(tmp_path / "student.safetensors")
    assert [s.to_bytes() for s in student.encode(images)] == before
    assert card.recipe == "frozen-encoder"


def test_hyper_rate_weight_weighs_z_alone(make_student: Callable[..., EntropicStudent]) -> None:
    stage = Distillation(beta=0.08, hyper_rate_weight=0.1, **ARGUMENTS)
    output = make_student()(torch.rand(2, 3, 64, 64))
    y = -output.likelihoods["y"].log2().flatten(1).sum(1)
    z = -output.likelihoods["z"].log2().flatten(1).sum(1)
    assert torch.allclose(stage.rate(output), y + 0.1 * z, rtol=1e-5)
    assert torch.allclose(output.bits, y + z, rtol=1e-5)


def test_auxiliary_loss_reaches_the_quantiles_only() -> None:
    stage = Distillation(beta=0.08, **ARGUMENTS)
    stage.student.codec.auxiliary_loss().backward()
    named = {n for n, p in stage.student.named_parameters() if p.grad is not None and p.grad.any()}
    assert named == {"codec.entropy_bottleneck.quantiles"}


def test_a_finished_student_can_code_at_once(tmp_path: Path) -> None:
    run(Distillation(beta=0.08, **ARGUMENTS), tmp_path)
    student, card = load_student(tmp_path / "student.safetensors")
    assert (card.name, card.dataset, card.num_classes) == (
        "test_resnet-mshp-beta0.08-distilled",
        "photos",
        8,
    )
    batch = next(iter(photos().test_dataloader()))
    streams = student.encode(batch.images)
    assert torch.equal(student.codec.decompress(streams), student(batch.images).features[0])


def test_the_teacher_learns_and_is_saved(tmp_path: Path) -> None:
    stage = TeacherTraining(**ARGUMENTS)
    run(stage, tmp_path, epochs=6, limit_per_class=None)
    batch = next(iter(photos(batch_size=64, limit_per_class=None).train_dataloader()))
    with torch.no_grad():
        accuracy = (stage.teacher(batch.images).logits.argmax(1) == batch.labels).float().mean()
    assert accuracy > 0.5  # chance: 0.125
    again = TeacherTraining(teacher_weights=str(tmp_path / "teacher.safetensors"), **ARGUMENTS)
    state = again.teacher.state_dict()
    assert all(torch.equal(v, state[k]) for k, v in stage.teacher.state_dict().items())


def test_noise_of_a_step_hangs_on_seed_step_and_rank_alone() -> None:
    stage, other = (
        Distillation(beta=0.08, **ARGUMENTS),
        Distillation(beta=0.08, seed=1, **ARGUMENTS),
    )
    first = torch.rand(4, generator=stage.step_generator())
    torch.rand(100)
    assert torch.equal(first, torch.rand(4, generator=stage.step_generator()))
    stage.batch_index = 1  # as in the accumulation of gradients
    assert not torch.equal(first, torch.rand(4, generator=stage.step_generator()))
    assert not torch.equal(first, torch.rand(4, generator=other.step_generator()))


def test_bad_values_are_named() -> None:
    with pytest.raises(ValueError, match="beta must be > 0, got -1"):
        Distillation(beta=-1, **ARGUMENTS)
    with pytest.raises(ValueError, match=r"share of the run in \[0, 1\], got 2"):
        Distillation(beta=1, beta_warmup=2, **ARGUMENTS)


def test_the_frozen_recipe_needs_a_start() -> None:
    with pytest.raises(ValueError, match="needs a distilled start: give student_weights"):
        FrozenEncoderFinetuning(beta=0.08, **ARGUMENTS)


def test_batches_keep_their_type() -> None:
    assert isinstance(next(iter(photos().test_dataloader())), Batch)
