"""What a run is called in W&B, so that like runs stand together and can be told apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lightning.pytorch import LightningDataModule

from entres.data import dataset_name
from entres.stages import Evaluation, Stage, StudentStage

MOST_TAG_CHARACTERS = 64
"""W&B takes no longer tag."""
TRAINER_KEYS = ("max_epochs", "devices", "num_nodes", "precision")
TRAINING_DATA_KEYS = ("batch_size", "train_size", "image_size", "limit_per_class")
EVALUATION_DATA_KEYS = ("image_size", "eval_limit_per_class")


@dataclass(frozen=True)
class RunIdentity:
    """What a run says of itself.

    Attributes:
        name: of the run.
        group: ``<backbone>-<codec>-<recipe>``: the betas and evaluations of one kind of student.
        job_type: the stage: ``teacher``, ``distilled``, ``joint``, ``frozen-encoder`` or
            ``evaluation``.
        tags: the stage, the data, and the evaluation or what is special about the training data.
        config: the few settings that runs are told apart and grouped by.
    """

    name: str
    group: str
    job_type: str
    tags: tuple[str, ...]
    config: dict[str, Any]


def training_run(
    stage: Stage, data: LightningDataModule, trainer: Mapping[str, Any]
) -> RunIdentity:
    """The identity of a training run.

    Args:
        stage: what is trained.
        data: what it is trained on.
        trainer: the trainer's arguments.
    """
    about: dict[str, Any] = {"stage": stage.recipe, "seed": stage.seed}
    about["backbone"] = _short(stage.backbone_name)
    group = [about["backbone"], stage.recipe]
    if isinstance(stage, StudentStage):
        about |= {"codec": stage.student.codec.short_name, "recipe": stage.whole_recipe}
        about["beta"] = stage.beta
        group = [about["backbone"], about["codec"], about["recipe"]]
    about |= _present(data, TRAINING_DATA_KEYS)
    about |= {key: trainer[key] for key in TRAINER_KEYS if trainer.get(key) is not None}
    return _identity(stage.name, group, stage.recipe, data, [stage.training_attacks], about)


def evaluation_run(
    evaluation: Evaluation, data: LightningDataModule, seed: int, trainer: Mapping[str, Any]
) -> RunIdentity:
    """The identity of an evaluation.

    Args:
        evaluation: who is evaluated, and what the evaluation is called.
        data: on what.
        seed: of all that is random in it.
        trainer: the trainer's arguments.
    """
    card, name = evaluation.card, evaluation.evaluation or "clean"
    group = [_short(card.backbone), card.codec, card.recipe]
    about = {
        "stage": "evaluation",
        "seed": seed,
        **dict(zip(("backbone", "codec", "recipe"), group, strict=True)),
        "beta": card.beta,
        "evaluation": name,
        **_present(data, EVALUATION_DATA_KEYS),
        **{k: trainer[k] for k in TRAINER_KEYS[1:] if trainer.get(k) is not None},
    }
    return _identity(f"{evaluation.name} {name}", group, "evaluation", data, [name], about)


def _identity(
    name: str,
    group: Iterable[str],
    kind: str,
    data: LightningDataModule,
    special: Iterable[str],
    about: dict[str, Any],
) -> RunIdentity:
    dataset = dataset_name(data)
    tags = dict.fromkeys(tag[:MOST_TAG_CHARACTERS] for tag in (kind, dataset, *special) if tag)
    return RunIdentity(name, "-".join(group), kind, tuple(tags), {**about, "dataset": dataset})


def _present(data: LightningDataModule, keys: Iterable[str]) -> dict[str, Any]:
    values = {key: getattr(data, key, None) for key in keys}
    return {key: value for key, value in values.items() if value is not None}


def _short(backbone: str) -> str:
    """A timm name without the tag of its weights, as in the names of runs."""
    return backbone.partition(".")[0]
