"""One run of a command line, called by Hydra for each job of a sweep, and by nasrun for a single run."""

import os
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from nasrun.cli import batch
from nasrun.cli.ending import DONE, code_of, one_line, say
from nasrun.config.build import Setup
from nasrun.config.checked import Checked, check
from nasrun.core.options import ConfigError, shell_command
from nasrun.core.output import show
from nasrun.reports.status.state import SWEEP_LOCK
from nasrun.runner.clock import Instant, process_start
from nasrun.runner.errors import RunError
from nasrun.runner.resume import changes_of
from nasrun.runner.run import begin, resume
from nasrun.runner.sweeps import EarlierRuns, finished
from nasrun.storage.lock import holder_of
from nasrun.storage.run_directory import holds_run, remove_empty
from nasrun.storage.stored_config import targets


@dataclass
class Sweep:
    """Common properties of the runs of a sweep. `count`: their number; None if the sweeper decides.

    `typed`: the typed word for each word passed to Hydra (`Composer.forced`). `begun`: number of started runs, if they
    run one after the other in this process; else None.
    """

    earlier: EarlierRuns
    swept: frozenset[str]
    count: int | None
    typed: Mapping[str, str]
    begun: int | None = None

    def describe(self) -> dict[str, int | None]:
        """The progress as JSON, for readers of the lock file."""
        return {"runs": self.count, "begun": self.begun}


class Job:
    """Runs jobs and keeps the exit code. A failed run prints one line, and a sweep continues with the next one.

    Launchers that run jobs in other processes receive the error itself, since the exit code would not be returned from
    there.
    """

    def __init__(
        self,
        *,
        unique: bool,
        existing: Path,
        words: Sequence[str],
        checked: Checked | None = None,
        sweep: Sweep | None = None,
    ) -> None:
        """`existing`: the nearest folder that already existed and contains all runs. `words`: those of a single run, or
        the flags common to all runs of a sweep. `checked`: a single run that is already checked."""
        self._unique, self._existing, self._words = unique, existing.absolute(), tuple(words)
        self._checked, self._sweep = checked, sweep
        self._first, self.code = True, DONE

    def __call__(self, config: DictConfig) -> float | None:
        """Return the best trial's objective, for sweepers that optimise; None if there is none."""
        settings = HydraConfig.get()
        directory = Path(os.path.relpath(settings.runtime.output_dir))
        try:
            with batch.in_order():
                summary = self._run(self._checked or check(config, HydraConfig.get()), directory)
        except Exception as error:
            if config.get("debug") is True:
                traceback.print_exc()
            self.code = say(one_line(error), code_of(error))
            if settings.runtime.choices["hydra/launcher"] != "basic":
                raise
            return None
        finally:
            remove_empty(directory.absolute(), self._existing)
        best = summary["best"]
        return None if best is None else float({**best, **best["metrics"]}[summary["objective"]["metric"]])

    def _run(self, checked: Checked, directory: Path) -> dict[str, Any]:
        """Start a run, or continue it if it exists."""
        setup, there = checked.setup, directory if holds_run(directory) else None
        # The clock of a sweep's first run includes imports and checks; later runs have their own.
        first = self._first and HydraConfig.get().runtime.choices["hydra/launcher"] == "basic"
        began, self._first = process_start() if first else None, False
        if self._sweep is not None:
            if HydraConfig.get().runtime.choices["hydra/launcher"] == "basic":
                self._sweep.begun = int(HydraConfig.get().job.num) + 1
            else:
                _check_wanted(directory)
            self._announce(setup)
            found = self._sweep.earlier.find(setup.config, directory)
            there = None if found is None else Path(os.path.relpath(found))
            if there is not None and not setup.options.resume:
                raise ConfigError(f"{there}: already contains this run; add resume=true to continue it")
            again = self._sweep.earlier.find_begun(setup.config, directory, _place()) if there is None else None
            if again is not None:  # the batch system has requeued the job
                return resume(again, {}, chosen=targets(setup.config), began=began)
        if there is not None and setup.options.resume:
            return self._go_on(there, setup, began)
        return begin(
            setup,
            directory,
            unique=self._unique,
            choices=checked.choices,
            sweep=None if self._sweep is None else _place(),
            words=[*self._words, *self._words_of_job()],
            began=began,
        )

    def _go_on(self, there: Path, setup: Setup, began: Instant | None) -> dict[str, Any]:
        """Resume the run in a directory; a finished run of a sweep without new settings stays unchanged."""
        changes = changes_of(there, OmegaConf.create(setup.config))
        over = finished(there) if self._sweep is not None and not changes else None
        if over is None:
            return resume(there, changes, chosen=targets(setup.config), began=began)
        if setup.output.console != "none":
            show(f"finished before: {there}")
        return over

    def _words_of_job(self) -> list[str]:
        """The words of this run of a sweep as typed; empty for a single run."""
        if self._sweep is None:
            return []
        return [self._sweep.typed.get(word, word) for word in HydraConfig.get().overrides.task]

    def _announce(self, setup: Setup) -> None:
        """Print which run of a sweep starts; Hydra's other launchers do so themselves."""
        settings = HydraConfig.get()
        if setup.output.console == "none" or settings.runtime.choices["hydra/launcher"] != "basic":
            return
        assert self._sweep is not None
        words = [word for word in settings.overrides.task if word.lstrip("+").partition("=")[0] in self._sweep.swept]
        of = "" if self._sweep.count is None else f" of {self._sweep.count}"
        show(f"run {int(settings.job.num) + 1}{of}: {' '.join(words)}")


def _check_wanted(directory: Path) -> None:
    """RunError if the sweep of this batch job has been stopped (`nasrun stop`)."""
    folder = Path(HydraConfig.get().sweep.dir)
    holder = holder_of(folder / SWEEP_LOCK)
    if holder.stopped and not holder.alive and not holds_run(directory):
        raise RunError(
            f"{folder}: the sweep was stopped before this run started; continue with: {shell_command('resume', folder)}"
        )


def _place() -> dict[str, str | int]:
    """The folder of the sweep that Hydra runs, its parent folder, and the number of the job."""
    settings = HydraConfig.get()
    assert settings.mode == RunMode.MULTIRUN
    return {"folder": "/".join(Path(settings.sweep.dir).absolute().parts[-2:]), "job": int(settings.job.num)}
