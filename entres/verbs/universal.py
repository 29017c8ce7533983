"""The verb that learns one perturbation for all images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from entres import configs
from entres.bitstream import KIB
from entres.errors import EntresError
from entres.experiment import Experiment
from entres.experiment.layout import weights_digest
from entres.experiment.steps import check_folder
from entres.files import write_whole
from entres.verbs.data import data_settings

if TYPE_CHECKING:
    import torch

    from entres.attacks import Perturbation, UniversalLearner
    from entres.data.sampling import TrainingLoader

AIMS = ("size", "accuracy")


def learn_universal(
    experiment: Experiment,
    aim: str = "size",
    epsilon_255: float = 8.0,
    passes: int = 5,
    also: str | None = None,
    to: str | None = None,
) -> None:
    """Learn one perturbation for all images, on the training images of a data set.

    It takes --student (default: one that travels with the package), --data, --data_dir, --seed and
    the flags of the data module, such as --data.image_size 224. Beside the file it writes a YAML of
    the same name, which is an attack: entres eval-attacks --attack universal-size-8-1f6e02.yaml.
    The file is written after every pass; the same command goes on from there.

    Args:
        aim: what is to suffer on average: size or accuracy.
        epsilon_255: radius of the l_inf ball in units of 1/255.
        passes: over the training images.
        also: files of further students that the same perturbation is for, with commas in between (a
            name may hold blanks), for whoever does not know which one is on the phone: what ascends
            is the mean, of bits each relative to its clean image.
        to: file of the perturbation, a .safetensors (default: universal-AIM-EPSILON-STUDENT, the
            student being six digits of its file, of several joined by -).

    Raises:
        EntresError: if a value is out of range, or the data cannot be had.
    """
    import torch

    from entres.attacks import CrossEntropy, Perturbation, Rate, UniversalLearner, victim_of
    from entres.experiment.suits import data_module
    from entres.models import load_student

    _check(aim, epsilon_255, passes, to)
    settings = data_settings(experiment)
    if experiment.suits.folder_argument not in settings:
        check_folder(experiment)
    files = [experiment.student or str(configs.EXAMPLE_STUDENT), *_files(also or "")]
    loaded = [load_student(file, experiment.weights) for file in files]
    digests = [weights_digest(file) for file in files]
    if len(set(digests)) < len(digests):
        raise EntresError(f"each student once, got {', '.join(files)}")
    whose = "-".join(digests)
    if to is None:
        to = f"universal-{aim}-{epsilon_255:g}-{whose}.safetensors"
    settings = {"seed": experiment.seed, **settings}
    data = data_module(experiment.data, experiment.data_dir, settings)
    for file, (_, card) in zip(files, loaded, strict=True):
        if aim == "accuracy" and data.num_classes != card.num_classes:
            raise EntresError(
                f"{file} knows {card.num_classes} classes and {data.name} has {data.num_classes}: "
                "what is right cannot be told"
            )
    data.setup("fit")
    loader = data.train_dataloader()
    asked = {
        "student": whose,
        "data": data.identity,
        "aim": aim,
        "passes": passes,
        "batches": len(loader),
        "seed": experiment.seed,
    }
    before = _before(Path(to), epsilon_255, asked)
    done = 0 if before is None else before.made["passes_done"]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    learner = UniversalLearner(
        victim_of([student.to(device) for student, _ in loaded]),
        Rate() if aim == "size" else CrossEntropy(),
        tuple(data.train_dataset[(0, 0)][0].shape[1:]),
        passes * len(loader),
        epsilon_255,
        start=None if before is None else before.values,
        done=done * len(loader),
    )
    for number in range(done, passes):
        loader.sampler.set_epoch(number)
        mean = _one_pass(learner, loader, f"pass {number + 1} of {passes}", experiment.seed, device)
        made = {**asked, "passes_done": number + 1}
        Perturbation(learner.values, epsilon_255, made).write(to)
        if aim == "accuracy":
            of_aim = f"{mean:.3f} nats"
        else:
            of_aim = f"{mean / (8 * KIB):.3f} KiB" if len(files) == 1 else f"{mean:.3f} times clean"
        print(f"pass {number + 1} of {passes}: {of_aim} on average")
    quoted = json.dumps(str(Path(to).resolve()))  # which YAML reads, whatever is in it
    attack = write_whole(
        Path(to).with_suffix(".yaml"),
        "# One perturbation for all images; entres learn-universal made it.\n"
        f"class_path: entres.attacks.Universal\ninit_args:\n  file: {quoted}\n",
    )
    print(f"{to}\n{attack}")


def _files(text: str) -> list[str]:
    """Names with commas in between; one may hold blanks."""
    return [name.strip() for name in text.strip("[]").split(",") if name.strip()]


def _check(aim: str, epsilon_255: float, passes: int, to: str | None) -> None:
    if aim not in AIMS:
        raise EntresError(configs.unknown("aim", aim, list(AIMS)))
    if not 0 < epsilon_255 <= 255:
        raise EntresError(f"epsilon_255 is a radius in 1/255, in (0, 255], got {epsilon_255:g}")
    if passes < 1:
        raise EntresError(f"passes must be >= 1, got {passes}")
    if to is not None and Path(to).suffix != ".safetensors":
        raise EntresError(f"to must end in .safetensors, got {to}")


def _before(path: Path, epsilon_255: float, asked: dict[str, Any]) -> Perturbation | None:
    """What the same command has learned so far, if anything.

    Raises:
        EntresError: if the file is of another command.
    """
    from entres.attacks import Perturbation

    if not path.is_file():
        return None
    try:
        found = Perturbation.read(path)
    except ValueError as error:
        raise EntresError(f"{error}: give another --to") from error
    there = {**found.made, "epsilon_255": found.epsilon_255}
    differ = [n for n, v in {**asked, "epsilon_255": epsilon_255}.items() if there.get(n) != v]
    if differ:
        raise EntresError(
            f"{path} was learned with another {', '.join(differ)}: give another --to, or delete it"
        )
    return found


def _one_pass(
    learner: UniversalLearner, loader: TrainingLoader, title: str, seed: int, device: torch.device
) -> float:
    """Learn from every batch once; the mean of the objective over the batches."""
    import torch
    from rich.console import Console
    from rich.progress import track

    from entres.data.sampling import mix_seed

    total = 0.0
    # Where nobody looks, a bar would only fill a log.
    quiet = not Console().is_terminal
    for batch in track(loader, title, len(loader), disable=quiet, transient=True):
        generator = torch.Generator(device).manual_seed(mix_seed(seed, learner.done))
        images, labels = batch.images.to(device), batch.labels.to(device)
        total += learner.step(images, labels, generator)
    return total / len(loader)
