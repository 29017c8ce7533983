"""What a target comes to."""

from __future__ import annotations

import shlex
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import pytest
from jsonargparse import ArgumentParser

from entres import configs
from entres.card import read_card
from entres.configs import EXAMPLE_STUDENT
from entres.defenses import Defense
from entres.experiment import TARGETS, Experiment, ExperimentError, Step, steps
from entres.experiment.experiment import UNITS, WITHOUT_GRADIENT
from entres.experiment.layout import evaluation_folder, folder_name, weights_digest

IMAGENET = {"data": "imagenet", "data_dir": "/data/imagenet"}


def lines(target: str, **values: Any) -> list[str]:
    return [step.line for step in steps(Experiment.of(**values), target)]


def flags(line: str) -> dict[str, str]:
    words = shlex.split(line)
    return {name: value for name, value in pairwise(words) if name.startswith("--")}


def test_a_student_is_made_in_stages_that_hand_a_file_on() -> None:
    teacher, distilled, joint = steps(Experiment(), "train")
    assert (teacher.if_missing, distilled.if_missing, joint.if_missing) == (True, False, False)
    assert teacher.makes == Path("runs/photos/test_resnet-teacher/teacher.safetensors")
    assert joint.makes == Path("runs/photos/test_resnet-mshp-beta0.08-joint/student.safetensors")
    assert flags(distilled.line)["--model.teacher_weights"] == str(teacher.makes)
    assert flags(joint.line)["--model.student_weights"] == str(distilled.makes)
    assert "--config configs/stage/joint.yaml" in joint.line


def test_published_training_is_what_the_files_say() -> None:
    """Nothing is added to the files of stage, backbone and student but what was asked."""
    for line in lines("train", **IMAGENET, recipe="frozen-encoder"):
        assert "configs/student/resnet50-mshp-beta0.08.yaml" in line
        assert not {"--data.batch_size", "--trainer.max_epochs", "--data.interpolation"} & set(
            flags(line)
        )
    (_, joint) = lines("train", **IMAGENET, codec="fp")
    assert "configs/student" not in joint


def test_a_start_is_a_file_or_the_beta_of_a_distilled_student() -> None:
    _, distilled, joint = steps(Experiment.of(beta=0.32, start="0.08"), "train")
    assert distilled.makes == Path(
        "runs/photos/test_resnet-mshp-beta0.08-distilled/student.safetensors"
    )
    assert distilled.if_missing
    assert flags(joint.line)["--model.student_weights"] == str(distilled.makes)
    (_, joint) = steps(Experiment(start=str(EXAMPLE_STUDENT)), "train")
    assert flags(joint.line)["--model.student_weights"] == str(EXAMPLE_STUDENT)


def test_two_data_sets_share_no_file_and_no_teacher(tmp_path: Path) -> None:
    made = []
    for folder in ("cats", "dogs"):
        (tmp_path / folder).mkdir()
        asked = Experiment.of(data="imagefolder", data_dir=tmp_path / folder, out="there")
        own = steps(asked, "eval-attacks")
        made.append({step.makes for step in own})
        for step in own[:-1]:
            assert f"there/{folder}/" in str(step.makes)
        for _, value in (item for step in own for item in flags(step.line).items()):
            assert f"there/{'dogs' if folder == 'cats' else 'cats'}/" not in value
    assert not made[0] & made[1]


DIFFERENT: dict[str, list[dict[str, Any]]] = {
    "eval-attacks": [
        {},
        {"attack": "pgd_e"},
        {"attack": "pgd_e noise"},
        {"preset": "published"},
        {"epsilons": "4"},
        {"epsilons": "4 8"},
    ],
    "eval-adaptive": [{}, {"epsilons": "4"}],
    "eval-defense": [
        {},
        {"defense": "masked_tv"},
        {"lambda": "0.2"},
        {"lambda": "0.02"},
        {"through": "unrolled"},
        {"through": "bpda"},
        {"threshold_kib": "3"},
        {"attack": "regional"},
        {"attack": "regional noise"},
    ],
    "sweep-lambda": [{}, {"lambdas": "0.1"}, {"lambdas": "0.1 0.2"}, {"defense": "masked_tv"}],
    "eval-corruptions": [
        {},
        {"corruptions": "snow"},
        {"severities": "5"},
        {"corruptions": "snow", "severities": "5"},
    ],
    "eval-clean": [{}],
    "maps": [{}],
}


def test_evaluations_that_differ_in_anything_asked_for_never_share_a_folder() -> None:
    also = [
        {},
        {"images_per_class": 3},
        {"extra": "--data.x 1"},
        {"extra": "--data.x 2"},
        {"seed": 1},
        {"extra": "--data.x /a/b"},
        {"beta": 0.32},
        {"recipe": "frozen-encoder"},
        {"robust": "pgd_e"},
    ]
    made = []
    for target, asked in DIFFERENT.items():
        for one, other in product(asked, also):
            test = [s for s in steps(Experiment.of(**one, **other), target) if s.words[0] == "test"]
            made += [step.makes for step in test]
    assert len(made) == len(set(made)) == sum(map(len, DIFFERENT.values())) * len(also)


def test_a_sweep_through_the_defense_is_an_evaluation_of_each_strength() -> None:
    asked: dict[str, Any] = {"defense": "masked_tv jpeg", "through": "oblivious bpda"}
    own = steps(Experiment.of(**asked, lambdas="1 2"), "sweep-lambda")
    tests = [step for step in own if step.words[0] == "test"]
    folders = []
    for defense in ("masked_tv", "jpeg"):
        for strength in ("1", "2"):
            one = Experiment.of(**{**asked, "defense": defense, "lambda": strength})
            folders.append(steps(one, "eval-defense")[-1].makes)
    assert [step.makes for step in tests] == folders
    assert len(own) == len(steps(Experiment.of(), "eval-defense")) + 4  # and the trainings once
    assert own[-1].words == ("tradeoff", *(str(makes.parent) for makes in folders if makes))
    # An attack that knows of none needs no evaluation of its own.
    oblivious = steps(
        Experiment.of(**{**asked, "through": "oblivious"}, lambdas="1 2"), "sweep-lambda"
    )
    assert len([step for step in oblivious if step.words[0] == "test"]) == 1


@pytest.mark.parametrize(
    ("target", "asked", "sentence"),
    [
        (
            "eval-defense",
            {"defense": "masked_tv median"},
            "one defense .unrolled., not thr",
        ),
        ("eval-defense", {"budget_kib": "6"}, "not through masked_chambolle, budget: name one"),
        ("sweep-lambda", {"budget_kib": "6"}, "not through masked_chambolle, budget: name one"),
        ("sweep-lambda", {"defense": "masked_tv jpeg", "lambdas": "9"}, "no gradient passes jpeg"),
        ("eval-link", {"defense": "bit_depth"}, "no gradient passes bit_depth: through=bpda, not"),
    ],
)
def test_what_no_attack_can_go_through_is_refused_before_a_training(
    target: str, asked: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ExperimentError, match=sentence):
        steps(Experiment.of(**asked, through="oblivious unrolled"), target)
    # Who knows of no defense passes them all.
    assert steps(Experiment.of(**asked, through="oblivious"), target)


def test_strengths_that_are_no_weight_of_the_total_variation_must_be_given() -> None:
    with pytest.raises(ExperimentError, match="strength of median is an odd side in px: give lamb"):
        steps(Experiment.of(defense="masked_tv median"), "sweep-lambda")
    assert steps(Experiment.of(defense="median", lambdas="3 5"), "sweep-lambda")
    assert steps(Experiment.of(defense="median"), "eval-defense")
    weighed = {"masked_tv", "masked_chambolle", "plain_chambolle", "published"}
    assert set(UNITS) == set(configs.names("defense")) - weighed


def test_the_defenses_that_cannot_be_differentiated_are_named() -> None:
    found = []
    for name in configs.names("defense"):
        parser = ArgumentParser()
        parser.add_argument("--defense", type=Defense, sub_configs=True)
        path = configs.shown(configs.find("defense", name))
        if not parser.instantiate(parser.parse_args([f"--defense={path}"])).defense.differentiable:
            found.append(name)
    assert tuple(found) == WITHOUT_GRADIENT


def test_a_flag_that_changes_no_result_is_in_no_name() -> None:
    quiet = Experiment.of(extra="--trainer.enable_progress_bar false --trainer.accelerator=cpu")
    assert [s.makes for s in steps(quiet, "eval-clean")] == [
        s.makes for s in steps(Experiment(), "eval-clean")
    ]


def test_names_of_any_length_and_letters_are_one_folder() -> None:
    long = ["+".join(f"--data.x{i} {'y' * 30}" for i in range(n)) for n in (10, 11)]
    names = [folder_name(text) for text in [*long, "../up", "..", "", "a/b", "a_b", "clean"]]
    assert len(set(names)) == len(names)
    assert all(
        0 < len(name) <= 100 and "/" not in name and name not in (".", "..") for name in names
    )
    assert names[-1] == "clean"


def test_a_student_from_elsewhere_is_told_apart_by_its_weights() -> None:
    asked = Experiment(data="imagenette", data_dir="/data", student=str(EXAMPLE_STUDENT))
    (step,) = steps(asked, "eval-clean")
    card = read_card(EXAMPLE_STUDENT)
    name = f"{card.name}-{weights_digest(EXAMPLE_STUDENT)}"
    assert step.makes == Path(f"runs/imagenette/{name}/eval/clean/summary.json")
    where = evaluation_folder("runs", "imagenette", EXAMPLE_STUDENT, card, "clean")
    assert step.makes == where / "summary.json"


def test_a_seed_is_part_of_every_name() -> None:
    for step in steps(Experiment(seed=2), "eval-clean"):
        assert "-seed2/" in str(step.makes)
        assert flags(step.line)["--seed_everything"] == "2"


def test_spaces_and_quotes_survive() -> None:
    folder = "/data/my photos, it's [all]"
    for line in lines("eval-attacks", data="imagefolder", data_dir=folder, out="my runs"):
        found = flags(line)
        assert folder in (found.get("--data.data_dir"), found.get("--data.data.data_dir"))
        assert found["--out"] == "my runs"


def test_what_is_there_is_not_made_again(tmp_path: Path) -> None:
    asked = Experiment(out=str(tmp_path))
    *_, student, evaluation = steps(asked, "eval-clean")
    assert student.makes is not None
    student.makes.parent.mkdir(parents=True)
    student.makes.touch()
    assert steps(asked, "eval-clean") == [evaluation]
    # Asked for by name, it is compared with what is asked for.
    assert all(step.is_needed for step in steps(asked, "train")[1:])
    assert not Step((), student.makes, if_missing=True).is_needed


def test_images_are_brought_to_a_size_where_they_have_none() -> None:
    of_folder = {"data": "imagenette", "data_dir": "/data"}
    made = [
        steps(Experiment.of(**of_folder, resize=resize), "eval-attacks")[-1]
        for resize in (None, "stored", 240)
    ]
    assert len({step.makes for step in made}) == 3
    at = made[2].words.index("--data.data.resize")
    assert made[2].words[at + 1] == "240"
    with pytest.raises(ExperimentError, match="the images of photos have one size: leave resize"):
        Experiment.of(resize="stored")
    with pytest.raises(ExperimentError, match="resize is a number of px, auto or stored, got 2x"):
        Experiment.of(**of_folder, resize="2x")
    c = Experiment.of(data="imagenet", data_dir="/data", imagenet_c_dir="/c", resize="stored")
    assert "--data.resize" not in steps(c, "eval-corruptions")[-1].words


def test_a_killed_sweep_keeps_the_evaluations_that_had_ended() -> None:
    asked: dict[str, Any] = {"through": "oblivious unrolled", "lambdas": "0.1 0.2"}
    tests = [s for s in steps(Experiment.of(**asked), "sweep-lambda") if s.words[0] == "test"]
    assert [step.words[-2:] for step in tests] == [("--keep_finished", "true")] * 2
    # A frontier begins at the attack that knows of none, whether it was asked for or not.
    one = steps(Experiment.of(**{**asked, "through": "unrolled"}), "sweep-lambda")
    assert [step.words for step in one] == [
        step.words for step in steps(Experiment.of(**asked), "sweep-lambda")
    ]


@pytest.mark.parametrize(
    ("target", "values", "sentence"),
    [
        ("trian", {}, "no target 'trian': did you mean train?"),
        ("train", {"data": "cifar10"}, "data=cifar10 needs data_dir=/path/to/the/data"),
        ("train", {"robust": "square"}, "robust=square listens to real streams"),
        ("train", {"recipe": "distilled", "robust": "noise"}, "robust is for the second stage"),
        ("train", {"recipe": "distilled", "start": "0.1"}, "start is for the second stage"),
        ("train", {"start": "/nowhere.safetensors"}, "start: no such file: /nowhere.safetensors"),
        ("eval-clean", {"student": "/nowhere"}, "student: no such file: /nowhere"),
        (
            "train",
            {"data": "imagenet-c", "data_dir": "/c"},
            "data=imagenet-c is for eval-corruptions",
        ),
        (
            "eval-corruptions",
            {"data": "imagenet-c", "data_dir": "/c"},
            "no student at runs/imagenet/",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused(
    target: str, values: dict[str, str], sentence: str
) -> None:
    with pytest.raises(ExperimentError) as error:
        steps(Experiment.of(**values), target)
    assert str(error.value).startswith(sentence)


def test_attacked_batches_keep_what_stage_and_backbone_want_of_the_images() -> None:
    line = lines(
        "train", **IMAGENET, backbone="regnety_064", recipe="frozen-encoder", robust="pgd_e"
    )[-1]
    assert "--data.data entres.data.ImageFolderDataModule --data.data.batch_size 128" in line
    assert "--data.data.interpolation bicubic --data.data configs/data/imagenet.yaml" in line
    assert flags(line)["--data.epsilons_255"] == "[8]"
    assert flags(line)["--data.preset.steps"] == "5"


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_says_what_it_is(target: str) -> None:
    assert (TARGETS[target].__doc__ or "").strip()


def test_own_photos_fine_tune_small_networks_that_are_trained(tmp_path: Path) -> None:
    own = {"data": "imagefolder", "data_dir": tmp_path}
    teacher, joint = lines("train", **own)
    asked = flags(teacher)
    assert asked["--model.backbone"] == "tf_efficientnet_lite0"
    assert asked["--model.teacher_weights"] == "lite0-package"
    assert float(asked["--model.optimizer.lr"]) < 2e-3  # the stage's, from scratch
    for line in (teacher, joint):
        assert flags(line)["--data.train_size"] == "128"
    assert flags(lines("train", **own, robust="pgd_e")[-1])["--data.data.train_size"] == "128"
    start = "--model.student_weights"
    assert Path(flags(joint)[start]).resolve() == EXAMPLE_STUDENT.resolve()
    _, distilled = lines("train", **own, recipe="distilled")
    assert Path(flags(distilled)[start]).resolve() == EXAMPLE_STUDENT.resolve()
    # What suits that start is not meant for another network or codec.
    for other in ({"codec": "fp"}, {"backbone": "resnet18"}):
        _, distilled, joint = lines("train", **own, **other)
        assert start not in flags(distilled)
        assert "distilled" in flags(joint)[start]
    asked = flags(lines("teacher", **own, backbone="resnet18")[0])
    assert not {"--model.teacher_weights", "--model.optimizer.lr"} & set(asked)


def test_a_data_set_of_the_hub_is_named_by_data_dir() -> None:
    asked = Experiment(data="huggingface", data_dir="uoft-cs/cifar100")
    assert asked.data_name == "cifar100"
    first, *_, last = lines("eval-attacks", data="huggingface", data_dir="uoft-cs/cifar100")
    assert flags(first)["--data.path"] == flags(last)["--data.data.path"] == "uoft-cs/cifar100"
    with pytest.raises(ExperimentError, match="or its name on the hub"):
        steps(Experiment(data="huggingface"), "train")


def test_a_link_has_attacks_and_snow_of_one_student() -> None:
    planned = steps(Experiment.of(budget_kib=8, seed=3), "eval-link")
    attacked, corrupted, link = planned[-3:]
    # The evaluation that eval-defense makes: whoever has one has the other.
    defended = steps(Experiment.of(budget_kib=8, seed=3), "eval-defense")[-1]
    assert (attacked.words[:-2], attacked.makes) == (defended.words, defended.makes)
    # Each is kept where it is finished.
    assert attacked.words[-2:] == corrupted.words[-2:] == ("--keep_finished", "true")
    assert corrupted.words[0] == "test"
    assert "[snow]" in corrupted.words
    assert "[5]" in corrupted.words
    assert attacked.makes is not None
    assert corrupted.makes is not None
    folders = (str(attacked.makes.parent), str(corrupted.makes.parent))
    assert link.words == ("link", *folders, "--seed", "3")
    asked = steps(Experiment.of(corruptions="fog", severities="1 2"), "eval-link")[-2]
    assert "[fog]" in asked.words
    assert "[1, 2]" in asked.words
    # Trained once, not once for each evaluation.
    trainings = [step.words for step in planned if step.words[0] == "fit"]
    assert len(trainings) == len(set(trainings)) > 0
