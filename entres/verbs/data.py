"""The verb that reads data before anything is made of them."""

from __future__ import annotations

from entres.errors import EntresError
from entres.experiment import Experiment
from entres.experiment.steps import check_folder

FLAG = "--data."


def check_data(experiment: Experiment) -> None:
    """Read every image of a data set once, and report what was found.

    It takes the flags of the training that is to follow: --data, --data_dir, and those of the data
    module, such as --data.train_dir training.

    Raises:
        SystemExit: with 1 if an image cannot be read, or is in training and in test.
    """
    from entres.data import check_data as check
    from entres.experiment.suits import data_module

    settings = data_settings(experiment)
    if experiment.suits.folder_argument not in settings:
        check_folder(experiment)
    report = check(data_module(experiment.data, experiment.data_dir, settings))
    print(report)
    if not report.is_fine:
        raise SystemExit(1)


def data_settings(experiment: Experiment) -> dict[str, object]:
    """What is asked of the data module: the experiment's own options, and flags for ``entres fit``.

    Raises:
        EntresError: if one has no value.
    """
    import yaml

    resize = experiment.resize
    found: dict[str, object] = {} if resize is None else {"resize": yaml.safe_load(resize)}
    words = tuple(part for word in experiment.extra for part in _split(word))
    for word, value in zip(words, (*words[1:], ""), strict=False):
        if word.startswith(FLAG):
            if not value or value.startswith("--"):
                raise EntresError(f"{word} needs a value")
            found[word.removeprefix(FLAG)] = yaml.safe_load(value)
    return found


def _split(word: str) -> list[str]:
    return word.split("=", 1) if word.startswith(FLAG) else [word]
