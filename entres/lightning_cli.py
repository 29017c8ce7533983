"""The lines ``fit`` and ``test``: LightningCLI with a folder per run."""

from __future__ import annotations

import json
import logging
import os
import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any, Union, get_args
from zipfile import is_zipfile

import yaml
from jsonargparse.typing import restricted_number_type
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint, RichProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from entres.callbacks import (
    Accuracy,
    AttackHealth,
    BitSize,
    Control,
    Convergence,
    DefenseEffect,
    Maps,
    ResultsStore,
)
from entres.callbacks.attack_health import WARNING
from entres.data.checks import require_told_apart
from entres.defenses import Automatic, Budget, Defense
from entres.errors import EntresError, WeightsError
from entres.experiment.layout import evaluation_folder, last_checkpoint, run_folder
from entres.experiment.same import (
    RunConflictError,
    asked_for,
    differences,
    read_asked,
    write_asked,
)
from entres.lightning_errors import (
    OneSentenceParser,
    check_files,
    fault_of_a_file,
    sentence_of,
)
from entres.lightning_trainer import (
    NothingLeftBehind,
    check_devices,
    check_settings,
    refusals,
    write_checkpoints_whole,
)
from entres.models.checkpoints import check_checkpoint
from entres.records import RECORDS
from entres.report.convergence import draw_convergence
from entres.report.maps import draw_maps
from entres.report.terminal import show_results, show_run
from entres.results import SUMMARY, Condition
from entres.stages import Stage
from entres.stages.evaluation import Evaluation
from entres.verbs.parser import UsageError
from entres.watch import (
    CurveSummaries,
    ExampleImages,
    ResultsWatch,
    evaluation_run,
    run_loggers,
    training_run,
    wandb_of_one_run,
)

CHECKPOINT_INTERVAL = timedelta(minutes=5)
"""What a killed run loses at most, where an epoch takes longer."""


Seed = restricted_number_type("Seed", int, [(">=", 0), ("<", 2**32)], join="and")
"""What numpy takes."""


class FinishedRun(Exception):
    """A run that is asked for is finished: no error, but nothing to do."""


class EntresCLI(LightningCLI):
    """LightningCLI with a folder per run, in which an unfinished run goes on."""

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """``fit`` trains a stage, ``test`` evaluates."""
        ours = LightningCLI.subcommands()
        return {name: ours[name] for name in ("fit", "test")}

    def add_default_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the seed: a number, where Lightning takes true for one that it draws."""
        parser.add_argument(
            "--seed_everything",
            type=Seed,
            default=self.seed_everything_default,
            help="what all randomness comes from",
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse, and look at the checkpoint that is given before anybody loads it.

        Raises:
            UsageError: if it is none.
            WeightsError: if it is not there, or damaged.
        """
        super().parse_arguments(parser, args)
        verb = self.config["subcommand"]
        given = self.config[verb].get("ckpt_path")
        if given is None:
            return
        if verb == "test":
            raise UsageError(f"--ckpt_path {given}: an evaluation is of --model.student FILE")
        check_checkpoint(given)
        if not is_zipfile(given):  # as every checkpoint of Lightning's is
            raise UsageError(f"--ckpt_path {given} is no checkpoint of a run: give its last.ckpt")

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the folder of all runs, and pass on what two parts must agree on."""
        _whole_numbers_first(parser)
        parser.add_argument("--out", type=str, default="runs", help="folder of all runs")
        parser.add_argument(
            "--defense",
            type=Defense | list[Defense] | None,
            default=None,
            sub_configs=True,
            help="what test images go through, a file of configs/defense or several: every "
            "condition is evaluated before and after",
        )
        parser.add_argument(
            "--defense_strengths",
            type=list[float] | None,
            default=None,
            help="evaluate the defense at each of these strengths in place of its own",
        )
        parser.add_argument(
            "--defense_threshold_kib",
            type=float | None,
            default=None,
            help="defend only images whose predicted size passes this (entres threshold gives one)",
        )
        parser.add_argument(
            "--budget_kib",
            type=float | None,
            default=None,
            help="evaluate a cap on the size of every stream too, as a defense of its own",
        )
        parser.add_argument(
            "--maps",
            type=Maps | None,
            default=None,
            help="map the bits of every clean image, and where attacks add to them: "
            "entres.callbacks.Maps",
        )
        parser.add_argument(
            "--control",
            type=bool,
            default=False,
            help="measure what the images cost as JPEG and WebP of equal clean size, too",
        )
        parser.add_argument(
            "--keep_finished",
            type=bool,
            default=False,
            help="leave an evaluation of this student that is finished, and was asked for in the "
            "same way, as it is; otherwise it is done again",
        )
        parser.add_argument(
            "--example_images",
            type=int,
            default=4,
            help="images of every test condition, with their bit-rate maps, that W&B gets",
        )
        # Plain numbers: a checkpoint holds no types of a parser, and would not be read again.
        parser.link_arguments("seed_everything", "model.init_args.seed", compute_fn=int)
        parser.link_arguments("seed_everything", "data.init_args.seed", compute_fn=int)
        parser.link_arguments(
            "data.num_classes", "model.init_args.num_classes", apply_on="instantiate"
        )

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Make the trainer of the run's folder, with the callbacks and loggers of its kind."""
        out = self._get(self.config, "out")
        given = vars(self._get(self.config_init, "trainer"))
        for part, has in (("model", self.model), ("data", self.datamodule)):
            if has is None:
                raise UsageError(
                    f"{part} must be given: --{part} (see entres {self.subcommand} -h)"
                )
        check_settings(str(self.subcommand), given, self.model, self.datamodule)
        if isinstance(self.model, Evaluation):
            callbacks, run = self._evaluation(out, given)
        else:
            assert isinstance(self.model, Stage)
            self.model.training_attacks = getattr(self.datamodule, "training_attacks", "")
            self.folder = run_folder(out, self.datamodule.name, self.model.name)
            self.model.asked = self._asked("training")
            callbacks = [CurveSummaries()]
            if given.get("enable_checkpointing") is not False:
                callbacks += _checkpoints(self.folder)
            if given.get("logger") is not False:
                callbacks.append(LearningRateMonitor("step"))
            run = training_run(self.model, self.datamodule, given)
        if given.get("enable_progress_bar") is not False:
            callbacks.append(RichProgressBar())
        callbacks.append(NothingLeftBehind(self.folder))
        self.trainer_defaults["callbacks"] = callbacks
        kwargs["default_root_dir"] = str(self.folder)
        if given.get("logger") is None:
            kwargs["logger"] = run_loggers(self.folder, run)
        with refusals(given):
            trainer = super().instantiate_trainer(**kwargs)
        check_devices(trainer)
        write_checkpoints_whole(trainer)
        return trainer

    def _evaluation(self, out: str, given: Any) -> tuple[list[Callback], Any]:
        model, data = self.model, self.datamodule
        model.evaluation = model.evaluation or data.evaluation
        self.folder = evaluation_folder(
            out, data.name, model.student_file, model.card, model.evaluation
        )
        self.store = ResultsStore(self.folder, self._asked("evaluation"))
        try:
            model.defenses = self._defenses()
            run = evaluation_run(model, data, self._get(self.config, "seed_everything"), given)
            examples = ExampleImages(self._get(self.config, "example_images"))
        except ValueError as error:
            raise EntresError(str(error)) from error
        callbacks: list[Callback] = [BitSize(), Accuracy(), DefenseEffect()]
        callbacks += [AttackHealth(), Convergence()]
        self.maps = self._get(self.config_init, "maps")
        callbacks += [] if self.maps is None else [self.maps]
        callbacks += [Control()] if self._get(self.config, "control") else []
        return [*callbacks, examples, self.store, ResultsWatch(self.store)], run

    def _defenses(self) -> list[Defense]:
        given = self._get(self.config_init, "defense")
        defenses = [given] if isinstance(given, Defense) else given or []
        strengths = self._get(self.config_init, "defense_strengths")
        if strengths is not None:
            defenses = [defense.at(strength) for defense in defenses for strength in strengths]
        threshold = self._get(self.config_init, "defense_threshold_kib")
        if threshold is not None:
            defenses = [Automatic(defense, threshold) for defense in defenses]
        budget = self._get(self.config_init, "budget_kib")
        if budget is not None:
            defenses.append(Budget(budget))
        labels = [Condition().behind(d.name, d.strength).defense_label for d in defenses]
        require_told_apart("defenses", labels, str)
        return defenses

    def _asked(self, kind: str) -> dict[str, Any]:
        """What makes the run what it is; in the form in which it is written down."""
        # As it would be saved: in the parsed form, files and tuples look otherwise.
        text = self._parser(self.subcommand).dump(self.config[self.subcommand], skip_none=False)
        settings = yaml.safe_load(text)
        settings["classes"] = self.datamodule.identity
        asked: dict[str, Any] = json.loads(json.dumps(asked_for(settings, kind), default=str))
        return asked

    def before_fit(self) -> None:
        """Go on from the last checkpoint of the run, if there is one.

        Raises:
            FinishedRun: if there is nothing left to do.
            RunConflictError: if the run was asked for otherwise.
            WeightsError: if the checkpoint is damaged.
        """
        if self._get(self.config_init, "ckpt_path") is not None or self._is_trial():
            return
        result, last = self.folder / self.model.result, last_checkpoint(self.folder)
        if not (result.is_file() or last.is_file()):
            if self.trainer.is_global_zero:
                write_asked(self.folder, self.model.asked)
            return
        there = read_asked(self.folder)
        if there is not None and (changed := differences(there, self.model.asked)):
            raise RunConflictError.of(self.folder, changed)
        if result.is_file():
            if self.trainer.is_global_zero:
                print(f"finished already: {result} (delete {self.folder} to train again)")
            raise FinishedRun
        try:
            check_checkpoint(last)
        except WeightsError as error:
            raise WeightsError(f"{error}: delete it, and the run begins anew") from error
        if self.trainer.is_global_zero:
            print(f"going on from {last}")
        self.config_init["fit"]["ckpt_path"] = str(last)

    def before_test(self) -> None:
        """Leave a finished evaluation as it is, if that is wanted.

        Raises:
            FinishedRun: if there is nothing left to do.
        """
        if not self._get(self.config_init, "keep_finished") or self._is_trial():
            return
        if self.store.is_finished(self.model.student_file):
            if self.trainer.is_global_zero:
                print(f"finished already: {self.folder}")
            raise FinishedRun

    def _is_trial(self) -> bool:
        """Whether it is one batch of everything, which leaves nothing."""
        return bool(getattr(self.trainer, "fast_dev_run", False))

    def after_fit(self) -> None:
        """Say how it ended and where the result is."""
        if not self.trainer.is_global_zero:
            return
        result = self.folder / self.model.result
        if result.is_file():
            metrics = self.trainer.callback_metrics
            names = [n for n in metrics if n.startswith("val/") or n.endswith("_epoch")]
            show_run(self.model.name, {n: metrics[n] for n in sorted(names)}, [result])
            done, whole = self.trainer.global_step, self.model.total_steps
            if self.trainer.should_stop and done < whole:
                print(f"ended by a condition of its own, after {done} of {whole} steps")
        elif not self._is_trial():
            print(f"stopped before its end; the same command goes on from {self.folder}")

    def after_test(self) -> None:
        """Show what was found and where it is written."""
        if self.trainer.is_global_zero and self.store.rows:
            files = [self.folder / name for name in (SUMMARY, RECORDS)]
            if self._is_trial():
                files = []
            else:
                files += [] if self.maps is None else draw_maps(self.folder)
                files += draw_convergence(self.folder)
            show_results(self.store.rows, files)


def _whole_numbers_first(parser: LightningArgumentParser) -> None:
    """Let a parser try int before float: a limit of 1 is one batch, of 1.0 all of them.

    Lightning says so, but Python takes ``int | float`` for the ``float | int`` that it has met
    before, and parsers try the types in their order.
    """
    for action in parser._actions:
        kinds = list(get_args(getattr(action, "_typehint", None)))
        if int in kinds and float in kinds[: kinds.index(int)]:
            kinds.remove(int)
            kinds.insert(kinds.index(float), int)
            action._typehint = Union[tuple(kinds)]  # type: ignore[attr-defined]  # noqa: UP007


def _checkpoints(folder: Path) -> list[Callback]:
    """The last state of a run: after every epoch, and every few minutes within long ones."""
    common: dict[str, Any] = {
        "dirpath": last_checkpoint(folder).parent,
        "filename": last_checkpoint(folder).stem,
        "save_top_k": 1,
        "enable_version_counter": False,
    }
    return [
        ModelCheckpoint(every_n_epochs=1, save_on_train_epoch_end=True, **common),
        ModelCheckpoint(train_time_interval=CHECKPOINT_INTERVAL, **common),
    ]


def _quiet() -> None:
    """Keep what is no news to the user off the terminal."""
    # The frozen parts of a stage are in evaluation mode: that is what frozen means here.
    warnings.filterwarnings("ignore", message=r"Found \d+ module\(s\) in eval mode")
    # A short epoch on a small data set, and few loader processes, are the user's choice.
    warnings.filterwarnings("ignore", message="The number of training batches")
    warnings.filterwarnings("ignore", message=".*does not have many workers")
    # The loader of a condition that was finished when the evaluation was stopped.
    warnings.filterwarnings("ignore", message="Total length of `BatchLoader` across ranks is zero")
    # They are means over the ranks already.
    warnings.filterwarnings("ignore", message="It is recommended to use `self.log")
    # main() may be given its words, by a program or a test.
    warnings.filterwarnings("ignore", message="LightningCLI's args parameter is intended")
    # Between Lightning and torch.
    warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)` is deprecated")
    # Broken attacks are named below the table of results.
    warnings.filterwarnings("ignore", message=WARNING)
    # What a stage's or backbone's file wants of the data is for those that know it.
    warnings.filterwarnings("ignore", message="Due to class_path change")
    # An advertisement; and of what stops a run, our own sentence is enough.
    unwanted = ("\N{ELECTRIC LIGHT BULB} Tip", "Detected KeyboardInterrupt", "Received SIGTERM")
    for name in ("utilities.rank_zero", "trainer.connectors.signal_connector"):
        logging.getLogger(f"lightning.pytorch.{name}").addFilter(
            lambda record: not any(words in record.getMessage() for words in unwanted)
        )
    os.environ.setdefault("WANDB_SILENT", "true")


def run_line(words: list[str]) -> None:
    """Run ``fit`` or ``test``.

    Args:
        words: of the line, the verb first.

    Raises:
        EntresError: with a sentence, where the user can mend what is wrong.
    """
    _quiet()
    check_files(words)
    try:
        with wandb_of_one_run():
            EntresCLI(
                parser_class=OneSentenceParser,
                trainer_defaults={
                    "enable_model_summary": False,
                    "log_every_n_steps": 10,
                    # Attacks need gradients; under inference_mode there are none.
                    "inference_mode": False,
                },
                seed_everything_default=0,
                save_config_kwargs={"overwrite": True},
                load_from_checkpoint_support=False,
                auto_configure_optimizers=False,
                args=words,
            )
    except FinishedRun:
        return
    except Exception as error:
        refused = error
    else:
        return
    # Outside of the handler: what is asked now is no consequence of that error.
    if (sentence := fault_of_a_file(words) or sentence_of(refused)) is None:
        raise refused
    raise EntresError(sentence) from refused
