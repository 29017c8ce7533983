"""Where a run's figures go: a CSV file always, and W&B, which decides over nothing."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from netrc import NetrcParseError, netrc
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlparse
from urllib.request import urlopen

from lightning.fabric.loggers.logger import _DummyExperiment
from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only, rank_zero_warn

from entres.watch.identity import RunIdentity

PROJECT = "entres"
SECONDS_TO_ANSWER = 5.0
"""W&B's server is out of reach if it has not answered by then."""
SECONDS_TO_START, SECONDS_TO_END = 30.0, 120.0
"""What W&B may take to begin a run, and to upload the rest of one. Its own limits are 90 and none;
what is not uploaded by then stays in the run's folder for ``wandb sync``."""
FOLDERS = {
    "WANDB_DIR": "",
    "WANDB_CACHE_DIR": "wandb/cache",
    "WANDB_CONFIG_DIR": "wandb/config",
    "WANDB_DATA_DIR": "wandb/data",
    "WANDB_ARTIFACT_DIR": "wandb/artifacts",
}
"""Variables by which W&B finds its folders, most of them in HOME by default, and where they lie in
the folder of a run."""


class WandbRun(WandbLogger):
    """Lightning's logger, but what fails in it is said once and costs the run nothing.

    Its run begins with the first figure: one that is refused before that leaves nothing. It writes
    to the folder of the run, by absolute paths: W&B's service has a working directory of its own.

    Args:
        folder: of the run.
        run: what W&B shall call it.
    """

    def __init__(self, folder: Path, run: RunIdentity) -> None:
        home = folder.resolve()
        super().__init__(
            project=PROJECT,
            save_dir=os.environ.get("WANDB_DIR") or home,
            name=run.name,
            group=run.group,
            job_type=run.job_type,
            tags=list(run.tags),
            config=run.config,
        )
        self._wandb_init.pop("anonymous", None)  # wandb warns of it, whatever its value
        self._home = home
        self._failed = self._begun = False

    @property
    def experiment(self) -> Any:
        """W&B's run; a stand-in that does nothing before the first figure and after a failure."""
        return super().experiment if self._begun and not self._failed else _DummyExperiment()

    def attempt(self, tell: Callable[[], object]) -> None:
        """Tell W&B something. The first time that it fails is the last, and is said."""
        if self._failed or not _is_first():
            return
        try:
            if not self._begun:
                self._begin()
            tell()
        except Exception as error:  # whatever it is, the run goes on
            self._failed = True
            words = " ".join(str(error).split()) or "no reason given"
            rank_zero_warn(
                f"W&B is left out of this run from here on ({type(error).__name__}: {words}); "
                "logs/ has all figures"
            )

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        self.attempt(lambda: super(WandbRun, self).log_metrics(metrics, step))

    def log_hyperparams(self, params: Any) -> None:
        """Nothing: what a run is told apart by was given to it, the rest is in config.yaml."""

    def log_table(self, *arguments: Any, **more: Any) -> None:
        self.attempt(lambda: super(WandbRun, self).log_table(*arguments, **more))

    def finalize(self, status: str) -> None:
        if self._begun:
            self.attempt(lambda: super(WandbRun, self).finalize(status))

    def _begin(self) -> None:
        for variable, place in FOLDERS.items():
            if not os.environ.get(variable) and not _is_configured(variable):
                folder = self._home / place
                folder.mkdir(parents=True, exist_ok=True)
                os.environ[variable] = str(folder)
        import wandb

        online = logged_in()
        if online and not _is_reachable():
            online = False
            rank_zero_warn(f"{_server()} cannot be reached: {self._offline_hint()}")
        known = getattr(wandb.Settings, "model_fields", {})  # versions differ
        limits: dict[str, Any] = {
            "init_timeout": SECONDS_TO_START,
            "finish_timeout": SECONDS_TO_END,
        }
        settings = wandb.Settings(**{n: v for n, v in limits.items() if n in known})
        self._wandb_init["settings"] = settings
        self._begun = True
        if online:
            try:
                self._wandb_init["mode"] = "online"
                _ = super().experiment
            except Exception as error:  # a wrong key, a server that answers nothing
                words = " ".join(str(error).split())
                rank_zero_warn(f"W&B took no run ({words}): {self._offline_hint()}")
            else:
                return
        self._wandb_init["mode"] = "offline"
        _ = super().experiment

    def _offline_hint(self) -> str:
        return f"this run is kept in {self._save_dir}/wandb, `wandb sync` sends it later"


def tell(logger: WandbLogger, what: Callable[[], object]) -> None:
    """Tell W&B something; our own logger sees to it that a failure costs nothing."""
    if isinstance(logger, WandbRun):
        logger.attempt(what)
    else:
        what()


def run_loggers(folder: Path, run: RunIdentity) -> list[Logger]:
    """CSV always; W&B unless it is disabled, offline unless the user is logged in, never asking.

    Args:
        folder: of the run; W&B writes to its subfolder ``wandb/``.
        run: what W&B shall call it.
    """
    # A resumed run writes a new version: what it logged before it was killed stays.
    loggers: list[Logger] = [CSVLogger(folder, name="logs")]
    if os.environ.get("WANDB_MODE") != "disabled" and find_spec("wandb") is not None:
        loggers.append(WandbRun(folder, run))
    return loggers


def logged_in() -> bool:
    """Whether the user is logged in to W&B: by the environment, or by ``wandb login`` (netrc)."""
    if os.environ.get("WANDB_MODE", "online") != "online":
        return False
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlparse(_server()).hostname or ""
    try:
        return netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, NetrcParseError):
        return False


@contextmanager
def wandb_of_one_run() -> Iterator[None]:
    """Ends W&B's run and its service, and takes back what was set for them.

    Not at the interpreter's end: a program may run another line, in another directory.
    """
    before = {name: os.environ.get(name) for name in (*FOLDERS, "WANDB_MODE")}
    theirs = _current_run()
    code = 1
    try:
        yield
        code = 0
    finally:
        if theirs is None and _current_run() is not None:
            import wandb

            try:
                wandb.finish(exit_code=code)
                wandb.teardown(exit_code=code)
            except Exception as error:  # the results are written
                rank_zero_warn(f"W&B did not end its run ({type(error).__name__}: {error})")
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _current_run() -> object:
    """The run of W&B's that is open in this process; None where nobody uses W&B."""
    return getattr(sys.modules.get("wandb"), "run", None)


def _is_first() -> bool:
    """Whether this is rank zero, which alone tells W&B anything."""
    return getattr(rank_zero_only, "rank", 0) == 0


def _server() -> str:
    return os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")


def _is_reachable() -> bool:
    """Whether W&B's server answers at all, through a proxy where one is set."""
    answers: list[bool] = []

    def ask() -> None:
        with suppress(OSError, ValueError):
            with suppress(HTTPError):  # an answer too
                urlopen(_server(), timeout=SECONDS_TO_ANSWER).close()
            answers.append(True)

    # In a thread: no limit of ours ends the look-up of a name.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(SECONDS_TO_ANSWER)
    return bool(answers)


def _is_configured(variable: str) -> bool:
    """Whether the user has settings of W&B's (which server, say) in the usual place."""
    if variable != "WANDB_CONFIG_DIR":
        return False
    try:
        return (Path.home() / ".config" / "wandb" / "settings").is_file()
    except (OSError, RuntimeError):
        return False
