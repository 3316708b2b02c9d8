"""Checks and starts a run or a sweep. nasrun executes a single run itself; Hydra executes the runs of a sweep."""

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import configure_log, env_override
from hydra.errors import HydraException
from omegaconf import DictConfig, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from nasrun.cli.arguments import Command
from nasrun.cli.batch import lost_job
from nasrun.cli.ending import DONE
from nasrun.cli.job import Job, Sweep
from nasrun.cli.sweep_record import how_to_go_on
from nasrun.config.build import Setup
from nasrun.config.checked import Checked, check
from nasrun.config.compose import (
    Composer,
    Jobs,
    first_directory,
    is_named_by_clock,
    output_directory,
    own_folders,
    task_config,
)
from nasrun.config.hydra_scope import VERSION_BASE
from nasrun.config.overrides import in_full, quoted
from nasrun.config.own_files import check_main_file
from nasrun.core.config_files import conf_dir
from nasrun.core.options import ConfigError, first_line, shell_command
from nasrun.core.output import show
from nasrun.core.words import counted
from nasrun.reports.status.state import SWEEP_LOCK
from nasrun.runner import interrupts
from nasrun.runner.clock import process_start
from nasrun.runner.dry_run import show_plan
from nasrun.runner.errors import Interrupted, RunError
from nasrun.runner.sweeps import EarlierRuns
from nasrun.storage import journal
from nasrun.storage.lock import holder_of, locked
from nasrun.storage.run_directory import check_place, check_sweep_place, make_unique, remove_empty

MANY_RUNS = 20
"""Number of runs from which a sweep announces itself before the checks, which then take some seconds."""


@dataclass(frozen=True)
class _Plan:
    """The checked first or only run. `directory`: of the run or sweep.

    `existing`: the nearest existing folder above it. `dry`: plans were printed, and nothing is to be run.
    """

    config: DictConfig
    checked: Checked
    directory: Path
    existing: Path
    dry: bool


def launch(command: Command) -> int:
    """Run a command line and return the exit code. ConfigError, before anything is created, if it is invalid."""
    # Without this, Hydra would print errors itself and exit; now they reach main().
    os.environ["HYDRA_FULL_ERROR"] = "1"
    logging.raiseExceptions = False  # avoids a traceback per log line of Hydra if stdout is closed
    words, folders = own_folders(command.words, command.config_dir)
    main_file = command.config_name or "config"
    check_main_file(folders, main_file)
    composer = Composer(folders, main_file)
    words = in_full(words)
    if command.show:
        if command.show[0].startswith(("--cfg", "--info")):
            composer.compose(words)
        _hand_over(composer, [*command.show, *words], Job(unique=False, existing=Path(), words=()))
        return DONE
    jobs = composer.jobs(words, command.multirun)
    plan = _check(jobs)
    if plan.dry:
        return DONE
    if jobs.sweep:
        return _sweep(composer, command, words, jobs, plan)
    unique = is_named_by_clock(plan.config, sweep=False)
    typed = [*command.file_flags, *command.words]
    job = Job(unique=unique, existing=plan.existing, words=typed, checked=plan.checked)
    if plan.config.hydra.callbacks:  # Hydra calls them
        _hand_over(composer, [*words, quoted(f"hydra.run.dir={plan.directory}")], job)
    else:
        _run_alone(plan.config, plan.directory, job)
    return job.code


def _check(jobs: Jobs) -> _Plan:
    """Check all jobs before anything is created; print plans if dry_run=true."""
    plan = None
    for config in jobs.configs:
        checked, directory = check(task_config(config), config.hydra), output_directory(config, sweep=jobs.sweep)
        _refuse_settings(config)
        options, key = checked.setup.options, "hydra.sweep.dir" if jobs.sweep else "hydra.run.dir"
        may_exist = options.resume or is_named_by_clock(config, sweep=False)
        if jobs.sweep:
            existing = check_sweep_place(directory, key)
            check_place(first_directory(config), "hydra.sweep.subdir", may_exist=True)
        else:
            existing = check_place(directory, key, may_exist=may_exist)
        if options.dry_run:
            show_plan(checked.setup, process_start())
        elif plan is None and jobs.sweep and (jobs.count or MANY_RUNS) >= MANY_RUNS:
            _announce(jobs, checked)
        plan = plan or _Plan(config, checked, directory, existing, options.dry_run)
    assert plan is not None
    return plan


def _announce(jobs: Jobs, checked: Checked) -> None:
    """The first line of a sweep whose checks take a while."""
    if checked.setup.output.console != "none":
        runs = "its runs" if jobs.count is None else f"its {counted(jobs.count, 'run')}"
        show(f"sweep: checking {runs} before the first one starts")


def _refuse_settings(config: DictConfig) -> None:
    """ConfigError for settings of Hydra's jobs that conflict with the run directory."""
    if config.hydra.job.chdir:
        raise ConfigError(
            "hydra.job.chdir=true: not supported, because paths are relative to the folder of the start; leave it out"
        )
    if config.hydra.output_subdir is not None:
        raise ConfigError(
            f"hydra.output_subdir={config.hydra.output_subdir}: nasrun itself writes the config to .hydra; "
            "leave it out (start your own main file with defaults: [config, _self_])"
        )


def _run_alone(config: DictConfig, directory: Path, job: Job) -> None:
    """Execute one run like a job of Hydra, from the composed config."""
    with read_write(config.hydra.runtime), open_dict(config.hydra.runtime):
        config.hydra.runtime.output_dir = str(directory.absolute())
    HydraConfig.instance().set_config(config)
    if config.hydra.job_logging.get("handlers"):
        directory.mkdir(parents=True, exist_ok=True)
    configure_log(config.hydra.job_logging, config.hydra.verbose)
    with env_override(config.hydra.job.env_set):
        job(task_config(config))


def _sweep(composer: Composer, command: Command, words: Sequence[str], jobs: Jobs, plan: _Plan) -> int:
    """Execute the runs of a sweep with Hydra's sweeper and launcher."""
    by_clock = is_named_by_clock(plan.config, sweep=True) and not plan.checked.setup.options.resume
    directory = make_unique(plan.directory) if by_clock else plan.directory
    forced = composer.forced(words)
    typed = {word: plain for plain, word in forced.items()}
    sweep = Sweep(_earlier_runs(directory, jobs, plan.checked.setup), jobs.swept, jobs.count, typed)
    job = Job(unique=True, existing=plan.existing, words=command.file_flags, sweep=sweep)
    words = [
        *(_in_place_of(plan.config, forced.get(word, word)) for word in words),
        quoted(f"hydra.sweep.dir={directory}"),
        *_one_by_one(plan.config),
    ]
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with _held(directory, sweep):
            _hand_over(composer, ["--multirun", *words], job)
    except KeyboardInterrupt:
        interrupts.end()
        raise Interrupted(f"interrupted; continue the sweep with: {how_to_go_on(directory, command)}") from None
    except Exception as error:
        lost = lost_job(error)
        if lost is None:
            raise
        raise RunError(f"{lost}; continue the sweep with: {how_to_go_on(directory, command)}") from error
    finally:
        remove_empty(directory.absolute(), plan.existing.absolute())
    return job.code


def _in_place_of(config: DictConfig, word: str) -> str:
    """A word of the command line as Hydra's sweeper has to see it: that takes `++KEY` and the KEY of
    `hydra.sweeper.params` for two keys, and would run every combination of both."""
    key = word.removeprefix("++")
    return key if key.partition("=")[0] in (config.hydra.sweeper.get("params") or {}) else word


@contextmanager
def _held(directory: Path, sweep: Sweep) -> Iterator[None]:
    """A scope in which other processes can see the progress of a sweep and stop it.

    A second sweep in the same folder at the same time is neither prevented nor visible.
    """
    if holder_of(directory / SWEEP_LOCK).alive:
        yield
        return
    try:
        with locked(directory, SWEEP_LOCK) as hold:
            hold.describe = sweep.describe
            yield
    finally:
        if [path.name for path in directory.iterdir()] == [SWEEP_LOCK]:  # nothing was started
            (directory / SWEEP_LOCK).unlink()


def _earlier_runs(directory: Path, jobs: Jobs, setup: Setup) -> EarlierRuns:
    """ConfigError if the first run of a sweep already exists and should not be resumed."""
    runs = sorted(path.parent for path in directory.rglob(journal.NAME)) if directory.is_dir() else []
    earlier = EarlierRuns(runs, jobs.swept)
    if runs and not setup.options.resume and earlier.find(setup.config, directory):
        how = f"continue it with: {shell_command('resume', directory)}; or choose another: hydra.sweep.dir=PATH"
        raise ConfigError(f"{directory}: already contains runs of this sweep; {how}")
    return earlier


def _one_by_one(config: DictConfig) -> list[str]:
    """Makes Hydra compose each run just before its start instead of all at once, without its own log line per run."""
    choices = config.hydra.runtime.choices
    if choices["hydra/sweeper"] != "basic" or choices["hydra/launcher"] != "basic":
        return []
    logging = ["hydra/hydra_logging=none"] if choices["hydra/hydra_logging"] == "default" else []
    return ["hydra.sweeper.max_batch_size=1"] * (config.hydra.sweeper.max_batch_size is None) + logging


def _hand_over(composer: Composer, words: Sequence[str], job: Job) -> None:
    """Call Hydra with its flags and words; its errors become ConfigErrors."""
    run = hydra.main(config_path=str(conf_dir()), config_name=composer.config_name, version_base=VERSION_BASE)(job)
    with composer.searching(), _command_line(words):
        try:
            run()
        except (HydraException, OmegaConfBaseException) as error:
            raise ConfigError(first_line(error)) from error


@contextmanager
def _command_line(words: Sequence[str]) -> Iterator[None]:
    """A scope in which `sys.argv` contains the words, for Hydra."""
    before = sys.argv
    sys.argv = [before[0], *words]
    try:
        yield
    finally:
        sys.argv = before
