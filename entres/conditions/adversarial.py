"""Adversarial batches, made on the fly against the network that is evaluated or trained."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache, cached_property
from typing import Literal

import torch

from entres import configs
from entres.attacks import Attack, AttackResult, Preset, victim_of
from entres.card import StudentCard
from entres.condition_names import preset_with_steps, victim_name, victims_name
from entres.conditions.base import ConditionsDataModule
from entres.data import Batch, DataError, ImageDataModule
from entres.data.checks import require_told_apart
from entres.data.sampling import mix_seed
from entres.defenses import DefendedStudent, Through
from entres.experiment.layout import weights_digest
from entres.models import EntropicStudent, NoisePerImage, load_student
from entres.results import Condition

CURVE = "curve"
"""Note of a batch: the objective of the attack after each of its steps, shape (N, steps + 1)."""

LESS_KNOWN: dict[Through, Through] = {"unrolled_mask": "unrolled"}
"""Where an attack through a defense begins: where one has ended that knows less, so that it is no
weaker. The gradient through the mask is right, but holds over so small a distance that an attack
which follows it from the start ends below one that takes the mask for constant (docs/defense.md).
What is not named begins where the attack has ended that does not know of the defense."""


class AdversarialDataModule(ConditionsDataModule):
    """The images of another data module, attacked.

    In a test, one dataloader per attack and epsilon, and one for the clean images; the network that
    is evaluated is the victim. In ``fit``, training batches are attacked with the network as it is
    at that step (adversarial training); several attacks take turns; validation stays clean.

    Args:
        data: where the images come from.
        attack: one attack or several.
        epsilons_255: radii in units of 1/255, for every attack; each attack's own if None.
        preset: for every attack; each attack's own if None.
        clean: whether a test begins with the clean images.
        attacked_share: share of each training batch that is attacked, in [0, 1].
        through: whom a test's attacks see: the student alone (``oblivious`` of a defense), or the
            student behind the evaluation's defense, which must then be one (see
            :data:`entres.defenses.Through`). Several give every attack in each of these ways. An
            attack through the defense begins where one that knows less has ended (the oblivious
            one; through the mask as well, the one that holds it constant), and takes as many steps
            again. Where its preset keeps the worst image, it never ends below that.
        victim: file of another student that a test's attacks are made for, while this one is
            evaluated (transfer); several: every perturbation is made for all of them at once; None:
            the one that is evaluated. Each has to know as many classes.
        seed: see :class:`ConditionsDataModule`.

    Raises:
        ValueError: if there is no attack, a value is out of range, or two attacks have one name in
            the results.
    """

    changes_no_training = frozenset({"clean", "through", "victim"})
    changes_no_evaluation = frozenset({"attacked_share"})
    evaluation = "attacks"

    def __init__(
        self,
        data: ImageDataModule,
        attack: Attack | list[Attack],
        epsilons_255: list[float] | None = None,
        preset: Preset | None = None,
        clean: bool = True,
        attacked_share: float = 1.0,
        through: list[Literal["oblivious"] | Through] | None = None,
        victim: list[str] | str | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(data, seed)
        self.through = [None if t == "oblivious" else t for t in through or ["oblivious"]]
        attacks = attack if isinstance(attack, list) else [attack]
        if not attacks or epsilons_255 == []:
            raise ValueError("give at least one attack, and one epsilon if epsilons_255 is given")
        for name, values in (("epsilons_255", epsilons_255 or []), ("through", self.through)):
            if len(set(values)) < len(values):
                given = ", ".join(f"{v:g}" if isinstance(v, float) else str(v) for v in values)
                raise ValueError(f"{name} must name each value once, got {given}")
        if not 0 <= attacked_share <= 1:
            raise ValueError(f"attacked_share is a share in [0, 1], got {attacked_share}")
        if preset is not None:
            attacks = [a.with_preset(preset) for a in attacks]
        if epsilons_255 is not None:
            attacks = [a.at(epsilon) for a in attacks for epsilon in epsilons_255]
        self.attacks = attacks
        called = [_condition(attack) for attack in attacks]
        require_told_apart("attacks", called, lambda condition: condition.label)
        self.clean = clean
        self.attacked_share = attacked_share
        self.victims = [victim] if isinstance(victim, str) else victim or []
        if len(set(self.victims)) < len(self.victims):
            raise ValueError(f"victim must name each file once, got {', '.join(self.victims)}")

    @cached_property
    def _others(self) -> list[tuple[EntropicStudent, StudentCard]]:
        """The students that are attacked in place of the one under test."""
        return [load_student(file) for file in self.victims]

    @cached_property
    def _victim_name(self) -> str | None:
        """Their names, and the digits that tell files of one name apart."""
        others = zip(self._others, self.victims, strict=True)
        names = [victim_name(card.name, weights_digest(file)) for (_, card), file in others]
        return victims_name(names) or None

    def setup(self, stage: str | None = None) -> None:
        super().setup(stage)
        if self.victims and stage == "fit":
            raise DataError("victim is for evaluations: a training attacks its own student")
        classes = self._classes()
        for file, (_, card) in zip(self.victims, self._others, strict=True):
            if classes is not None and card.num_classes != classes:
                raise DataError(
                    f"the victim {file} knows {card.num_classes} classes, the student under test "
                    f"{classes}: they must be the same"
                )
        if stage == "test":
            # Before anything runs, not when the attack's turn has come.
            for through in self.through:
                if through is not None:
                    self._behind_the_defense(self._student(), through)

    @property
    def training_attacks(self) -> str:
        """The attacks and their epsilons, for the names of runs that train on them."""
        return "+".join(f"{attack.condition}{attack.epsilon_255:g}" for attack in self.attacks)

    @property
    def conditions(self) -> Sequence[Condition]:
        attacked = [
            replace(_condition(attack), through=through, victim=self._victim_name)
            for through, attack in self._planned()
        ]
        return [Condition(), *attacked] if self.clean else attacked

    def apply(self, batch: Batch, number: int) -> Batch:
        number -= self.clean
        if number < 0:
            return batch
        through, attack = self._planned()[number]
        result = self._attack(attack, batch, health=True, through=through)
        notes = dict(result.health)
        if result.curve is not None:
            notes[CURVE] = result.curve
        return batch._replace(images=result.images, notes=notes)

    def apply_in_training(self, batch: Batch) -> Batch:
        assert self.trainer is not None
        attacked = math.ceil(self.attacked_share * len(batch.labels))
        if not attacked:
            return batch
        step = self.trainer.global_step
        images, labels, indices, _ = batch
        part = Batch(images[:attacked], labels[:attacked], indices[:attacked])
        result = self._attack(self.attacks[step % len(self.attacks)], part, step=step)
        return batch._replace(images=torch.cat([result.images, images[attacked:]]))

    def _planned(self) -> list[tuple[Through | None, Attack]]:
        """A test's attacks, and through what."""
        return [(through, attack) for through in self.through for attack in self.attacks]

    def _attack(
        self,
        attack: Attack,
        batch: Batch,
        step: int = 0,
        health: bool = False,
        through: Through | None = None,
    ) -> AttackResult:
        noise = NoisePerImage(mix_seed(self.seed, step), batch.indices)
        students = [student.to(batch.images.device) for student, _ in self._others]
        students = students or [self._student()]
        if through is not None:
            students = [self._behind_the_defense(student, through) for student in students]
            if attack.preset is not None:
                before = self._attack(attack, batch, step, through=LESS_KNOWN.get(through))
                attack = attack.starting_at(before.images)
        return attack.run(victim_of(students), batch.images, batch.labels, noise, health)

    def _classes(self) -> int | None:
        """How many the student under test knows, if it says so."""
        card = getattr(self.under_test, "card", None)
        return None if card is None else int(card.num_classes)

    def _student(self) -> EntropicStudent:
        try:
            student = self.under_test.student
        except AttributeError:
            student = None
        if not isinstance(student, EntropicStudent):
            raise DataError(
                f"{type(self.under_test).__name__} has no student to attack: "
                "adversarial data are for evaluation, distillation and fine-tuning"
            )
        return student

    def _behind_the_defense(self, student: EntropicStudent, through: Through) -> DefendedStudent:
        try:
            defenses = self.under_test.defenses
        except AttributeError:
            defenses = []
        if len(defenses) != 1:
            given = f" ({', '.join(d.name for d in defenses)})" if defenses else ""
            raise DataError(
                f"an attack through the defense ({through}) needs one defense, got "
                f"{len(defenses)}{given}: give --defense configs/defense/NAME.yaml, or for a cap "
                "on the size --budget_kib KIB, not both"
            )
        (defense,) = defenses
        if through != "bpda" and not defense.differentiable:
            raise DataError(f"no gradient passes {defense.name}: attack it through bpda")
        return DefendedStudent(student, defense, through)


def _condition(attack: Attack) -> Condition:
    """What the results call an attack, whatever it goes through and whoever it is made for."""
    return Condition(
        condition=attack.condition,
        preset=_preset_name(attack),
        epsilon_255=attack.epsilon_255,
        norm=attack.norm.name,
    )


def _preset_name(attack: Attack) -> str | None:
    """The preset's name; with the number of steps, where it is not that of the file of that name:
    the results of 100 and of 400 steps are two.
    """
    if attack.preset is None:
        return None
    preset = attack.preset
    steps = attack.asked_steps or preset.steps
    own = _own_steps(preset.name, preset.steps)
    return preset.name if steps == own else preset_with_steps(preset.name, steps)


@cache
def _own_steps(preset: str, default: int) -> int:
    """What ``configs/preset`` says; the default for a preset of one's own."""
    if preset not in configs.names("preset"):
        return default
    return int(configs.read(configs.find("preset", preset)).get("steps", default))
