"""The command line: LightningCLI for ``fit`` and ``test``, and a few verbs beside them."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import wandb
import yaml
from jsonargparse import auto_cli
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint, RichProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from entres.callbacks import (
    Accuracy,
    AttackHealth,
    BitSize,
    DefenseEffect,
    Maps,
    ResultsStore,
)
from entres.data import DataError
from entres.defenses import Automatic, Defense
from entres.errors import EntresError, WeightsError
from entres.report.maps import draw_maps
from entres.report.terminal import show_results, show_run
from entres.settings import differences
from entres.stages import RunConflictError, Stage
from entres.stages.evaluation import Evaluation
from entres.verbs import VERBS
from entres.watch import (
    CurveSummaries,
    ExampleImages,
    ResultsWatch,
    evaluation_run,
    run_loggers,
    training_run,
)

CHECKPOINT_INTERVAL = timedelta(minutes=5)
"""What a killed run loses at most, where an epoch takes longer."""


class FinishedRun(Exception):
    """A run that is asked for is finished: no error, but nothing to do."""


class EntresCLI(LightningCLI):
    """LightningCLI with a folder per run, in which an unfinished run goes on."""

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """``fit`` trains a stage, ``test`` evaluates."""
        ours = LightningCLI.subcommands()
        return {name: ours[name] for name in ("fit", "test")}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the folder of all runs, and pass on what two parts must agree on."""
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
            "--maps",
            type=Maps | None,
            default=None,
            sub_configs=True,
            help="map the bits of the clean images, and those that attacks add: "
            "--maps entres.callbacks.Maps",
        )
        parser.add_argument(
            "--example_images",
            type=int,
            default=4,
            help="images of every test condition, with their bit-rate maps, that W&B gets",
        )
        parser.link_arguments("seed_everything", "model.init_args.seed")
        parser.link_arguments("seed_everything", "data.init_args.seed")
        parser.link_arguments(
            "data.num_classes", "model.init_args.num_classes", apply_on="instantiate"
        )

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Make the trainer of the run's folder, with the callbacks and loggers of its kind."""
        out = Path(self._get(self.config, "out"))
        given = self._get(self.config_init, "trainer")
        if isinstance(self.model, Evaluation):
            self.model.evaluation = self.model.evaluation or self.datamodule.evaluation
            self.folder = self.model.folder(out)
            self.store = ResultsStore(self.folder)
            try:
                self.model.defenses = self._defenses()
                examples = ExampleImages(self._get(self.config, "example_images"))
            except ValueError as error:
                raise SystemExit(f"entres: {error}") from error
            callbacks: list[Callback] = [BitSize(), Accuracy(), AttackHealth(), DefenseEffect()]
            self.maps = self._get(self.config_init, "maps")
            callbacks += [self.maps] if self.maps else []
            callbacks += [examples, self.store, ResultsWatch(self.store)]
            seed = self._get(self.config, "seed_everything")
            run = evaluation_run(self.model, self.datamodule, seed, given)
        else:
            assert isinstance(self.model, Stage)
            self.model.variant = self.datamodule.variant
            self.folder = out / self.model.name
            callbacks = [*_checkpoints(self.folder), CurveSummaries()]
            if given.get("logger") is not False:
                callbacks.append(LearningRateMonitor("step"))
            run = training_run(self.model, self.datamodule, given)
        if given.get("enable_progress_bar") is not False:
            callbacks.append(RichProgressBar())
        self.trainer_defaults["callbacks"] = callbacks
        kwargs["default_root_dir"] = str(self.folder)
        if given.get("logger") is None:
            kwargs["logger"] = run_loggers(self.folder, run)
        return super().instantiate_trainer(**kwargs)

    def _defenses(self) -> list[Defense]:
        given = self._get(self.config_init, "defense")
        defenses = [given] if isinstance(given, Defense) else given or []
        strengths = self._get(self.config_init, "defense_strengths")
        if strengths is not None:
            defenses = [defense.at(strength) for defense in defenses for strength in strengths]
        threshold = self._get(self.config_init, "defense_threshold_kib")
        if threshold is not None:
            defenses = [Automatic(defense, threshold) for defense in defenses]
        return defenses

    def after_test(self) -> None:
        """Show what was found and where it is written."""
        if self.trainer.is_global_zero:
            files = [self.folder / name for name in ("summary.json", "records.csv")]
            files += draw_maps(self.folder) if self.maps else []
            show_results(self.store.rows, files)

    def before_fit(self) -> None:
        """Go on from the last checkpoint of the run, if there is one.

        Raises:
            FinishedRun: if there is nothing left to do.
            RunConflictError: if the run was asked for otherwise.
            WeightsError: if the checkpoint is damaged.
        """
        if self._get(self.config_init, "ckpt_path") is not None:
            return
        result, last = self.folder / self.model.result, self.folder / "checkpoints" / "last.ckpt"
        if not (result.is_file() or last.is_file()):
            return
        # As it would be saved: in the parsed form, files and tuples look otherwise.
        asked = self._parser("fit").dump(self.config["fit"], skip_none=False)
        changed = differences(self.folder, yaml.safe_load(asked))
        if result.is_file():
            there, now = self.model.trained_on(result), self.datamodule.name
            if there not in (None, now):
                changed.append(f"data: {there} there, {now} now")
        if changed:
            raise RunConflictError.of(self.folder, changed)
        if result.is_file():
            if self.trainer.is_global_zero:
                print(f"finished already: {result} (delete {self.folder} to train again)")
            raise FinishedRun
        if not is_zipfile(last):  # what torch writes; a full disk cuts it off
            raise WeightsError(
                f"the checkpoint {last} is damaged: delete it, and the run begins anew"
            )
        if self.trainer.is_global_zero:
            print(f"going on from {last}")
        self.config_init["fit"]["ckpt_path"] = str(last)

    def after_fit(self) -> None:
        """Say how it ended and where the result is."""
        if not self.trainer.is_global_zero:
            return
        result = self.folder / self.model.result
        if result.is_file():
            metrics = self.trainer.callback_metrics
            names = [n for n in metrics if n.startswith("val/") or n.endswith("_epoch")]
            show_run(self.model.name, {n: metrics[n] for n in sorted(names)}, [result])
        else:
            print(f"stopped before its end; the same command goes on from {self.folder}")


def _checkpoints(folder: Path) -> list[Callback]:
    """The last state of a run: after every epoch, and every few minutes within long ones."""
    common: dict[str, Any] = {
        "dirpath": folder / "checkpoints",
        "save_top_k": 1,
        "enable_version_counter": False,
    }
    return [
        ModelCheckpoint(filename="last", every_n_epochs=1, save_on_train_epoch_end=True, **common),
        ModelCheckpoint(filename="last", train_time_interval=CHECKPOINT_INTERVAL, **common),
    ]


def _quiet() -> None:
    """Keep what is no news to the user off the terminal."""
    # The frozen parts of a stage are in evaluation mode: that is what frozen means here.
    warnings.filterwarnings("ignore", message=r"Found \d+ module\(s\) in eval mode")
    # A short epoch on a small data set, and few loader processes, are the user's choice.
    warnings.filterwarnings("ignore", message="The number of training batches")
    warnings.filterwarnings("ignore", message=".*does not have many workers")
    # They are means over the ranks already.
    warnings.filterwarnings("ignore", message="It is recommended to use `self.log")
    # main() may be given its words, by a program or a test.
    warnings.filterwarnings("ignore", message="LightningCLI's args parameter is intended")
    # Between Lightning and torch.
    warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)` is deprecated")
    # Broken attacks are named below the table of results.
    warnings.filterwarnings("ignore", message="this attack looks broken")
    advertisement = "\N{ELECTRIC LIGHT BULB} Tip"
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(
        lambda record: advertisement not in record.getMessage()
    )
    os.environ.setdefault("WANDB_SILENT", "true")


def _what_to_mend(error: BaseException) -> str | None:
    """The sentence for an error that the user can mend; a traceback would bury it.

    jsonargparse wraps what a constructor raises in a long ValueError of its own.
    """
    causes = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) and cause not in causes:
        causes.append(cause)
    for cause in causes:
        # A loader's worker hands its error over as text, the traceback before it.
        if isinstance(cause, DataError) and "Original Traceback" in str(cause):
            return str(cause).rsplit("DataError: ", 1)[-1].strip()
        if isinstance(cause, EntresError):
            return str(cause)
    wrapper = "Does not validate against any"
    if wrapper not in str(error):
        return None
    inner = (c for c in causes if isinstance(c, ValueError) and wrapper not in str(c))
    return next((str(c) for c in inner), None)


def main(args: list[str] | None = None) -> None:
    """Entry point of ``entres``."""
    _quiet()
    words = sys.argv[1:] if args is None else args
    try:
        if words and words[0] in VERBS:
            auto_cli(VERBS[words[0]], args=words[1:])
        else:
            EntresCLI(
                parser_kwargs={
                    "description": f"Further verbs, each with --help: {', '.join(VERBS)}"
                },
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
                args=args,
            )
            # Here, not at the interpreter's end: a program that calls main() again gets a run of
            # its own.
            wandb.finish()
    except FinishedRun:
        return
    except Exception as error:
        wandb.finish(exit_code=1)
        if (sentence := _what_to_mend(error)) is None:
            raise
        raise SystemExit(f"entres: {sentence}") from error
