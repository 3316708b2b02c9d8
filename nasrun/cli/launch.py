"""A run or a sweep: all of it is checked; then nasrun does a run itself, and has Hydra do the runs of a sweep."""

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
from nasrun.cli.job import Checked, Job, Sweep, check
from nasrun.cli.sweep_record import how_to_go_on
from nasrun.config.build import Setup
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
from nasrun.storage.run_directory import check_place, make_unique, remove_empty

MANY_RUNS = 20
"""Runs of a sweep from which on its first line is shown before all of it is checked, which takes some seconds."""


@dataclass(frozen=True)
class _Plan:
    """What was checked: the first run, or the only one. `directory`: of the run or sweep.

    `existing`: the nearest folder above it that is there. `dry`: plans were shown, and nothing is to be run.
    """

    config: DictConfig
    checked: Checked
    directory: Path
    existing: Path
    dry: bool


def launch(command: Command) -> int:
    """Run what was typed; returns the exit code. ConfigError, before anything is created, where it makes no sense."""
    # Hydra would print errors its own way and exit; so they reach main() as they are.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    logging.raiseExceptions = False  # what Hydra logs to a reader that is gone costs no traceback per line
    words, folders = own_folders(command.words, command.config_dir)
    if command.config_name is not None:
        check_main_file(folders, command.config_name)
    composer = Composer(folders, command.config_name or "config")
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
    """Refuse nonsense before anything is created; plans are shown where dry runs are asked for."""
    plan = None
    for config in jobs.configs:
        checked, directory = check(task_config(config)), output_directory(config, sweep=jobs.sweep)
        _refuse_settings(config)
        options, key = checked.setup.options, "hydra.sweep.dir" if jobs.sweep else "hydra.run.dir"
        may_exist = jobs.sweep or options.resume or is_named_by_clock(config, sweep=False)
        existing = check_place(directory, key, may_exist=may_exist)
        if jobs.sweep:
            check_place(first_directory(config), "hydra.sweep.subdir", may_exist=True)
        if options.dry_run:
            show_plan(checked.setup, process_start())
        elif plan is None and jobs.sweep and (jobs.count or MANY_RUNS) >= MANY_RUNS:
            _announce(jobs, checked)
        plan = plan or _Plan(config, checked, directory, existing, options.dry_run)
    assert plan is not None
    return plan


def _announce(jobs: Jobs, checked: Checked) -> None:
    """The first line of a sweep whose check takes a while."""
    if checked.setup.output.console != "none":
        runs = "its runs" if jobs.count is None else f"its {counted(jobs.count, 'run')}"
        show(f"sweep: {runs} {'is' if jobs.count == 1 else 'are'} checked before the first one begins")


def _refuse_settings(config: DictConfig) -> None:
    """ConfigError for settings of Hydra's jobs that would spoil a run directory."""
    if config.hydra.job.chdir:
        raise ConfigError(
            "hydra.job.chdir=true: a run stays in the folder that it was started in, where paths begin; leave it out"
        )
    if config.hydra.output_subdir is not None:
        raise ConfigError(
            f"hydra.output_subdir={config.hydra.output_subdir}: nasrun keeps the config of a run itself, in .hydra; "
            "leave it out (in a main file of your own: begin it with defaults: [config, _self_])"
        )


def _run_alone(config: DictConfig, directory: Path, job: Job) -> None:
    """Do one run as Hydra does a job, from the config that is composed already."""
    with read_write(config.hydra.runtime), open_dict(config.hydra.runtime):
        config.hydra.runtime.output_dir = str(directory.absolute())
    HydraConfig.instance().set_config(config)
    if config.hydra.job_logging.get("handlers"):
        directory.mkdir(parents=True, exist_ok=True)
    configure_log(config.hydra.job_logging, config.hydra.verbose)
    with env_override(config.hydra.job.env_set):
        job(task_config(config))


def _sweep(composer: Composer, command: Command, words: Sequence[str], jobs: Jobs, plan: _Plan) -> int:
    """Have Hydra's sweeper and launcher do the runs of a sweep."""
    by_clock = is_named_by_clock(plan.config, sweep=True) and not plan.checked.setup.options.resume
    directory = make_unique(plan.directory) if by_clock else plan.directory
    forced = composer.forced(words)
    typed = {word: plain for plain, word in forced.items()}
    sweep = Sweep(_earlier_runs(directory, jobs, plan.checked.setup), jobs.swept, jobs.count, typed)
    job = Job(unique=True, existing=plan.existing, words=command.file_flags, sweep=sweep)
    words = [
        *(forced.get(word, word) for word in words),
        quoted(f"hydra.sweep.dir={directory}"),
        *_one_by_one(plan.config),
    ]
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with _held(directory, sweep):
            _hand_over(composer, ["--multirun", *words], job)
    except KeyboardInterrupt:
        interrupts.end()
        raise Interrupted(f"interrupted; go on with the sweep: {how_to_go_on(directory, command)}") from None
    except Exception as error:
        lost = lost_job(error)
        if lost is None:
            raise
        raise RunError(f"{lost}; go on with the sweep: {how_to_go_on(directory, command)}") from error
    finally:
        remove_empty(directory.absolute(), plan.existing.absolute())
    return job.code


@contextmanager
def _held(directory: Path, sweep: Sweep) -> Iterator[None]:
    """A scope in which others see how far a sweep is, and can stop it.

    A second sweep that shares the folder at the same time is not held back, and not seen."""
    if holder_of(directory / SWEEP_LOCK).alive:
        yield
        return
    try:
        with locked(directory, SWEEP_LOCK) as hold:
            hold.describe = sweep.describe
            yield
    finally:
        if [path.name for path in directory.iterdir()] == [SWEEP_LOCK]:  # nothing was begun
            (directory / SWEEP_LOCK).unlink()


def _earlier_runs(directory: Path, jobs: Jobs, setup: Setup) -> EarlierRuns:
    """What is in the folder of a sweep; ConfigError if its first run is there already and is not to go on."""
    runs = sorted(path.parent for path in directory.rglob(journal.NAME)) if directory.is_dir() else []
    earlier = EarlierRuns(runs, jobs.swept)
    if runs and not setup.options.resume and earlier.find(setup.config, directory):
        how = f"go on with it: {shell_command('resume', directory)}; or choose another: hydra.sweep.dir=PATH"
        raise ConfigError(f"{directory}: holds runs of this sweep already; {how}")
    return earlier


def _one_by_one(config: DictConfig) -> list[str]:
    """Has Hydra compose each run just before it, in place of all at first; what it says of each, nasrun says."""
    choices = config.hydra.runtime.choices
    if choices["hydra/sweeper"] != "basic" or choices["hydra/launcher"] != "basic":
        return []
    logging = ["hydra/hydra_logging=none"] if choices["hydra/hydra_logging"] == "default" else []
    return ["hydra.sweeper.max_batch_size=1"] * (config.hydra.sweeper.max_batch_size is None) + logging


def _hand_over(composer: Composer, words: Sequence[str], job: Job) -> None:
    """Have Hydra do what its flags and words say; its complaints are ConfigErrors."""
    run = hydra.main(config_path=str(conf_dir()), config_name=composer.config_name, version_base=VERSION_BASE)(job)
    with composer.searching(), _command_line(words):
        try:
            run()
        except (HydraException, OmegaConfBaseException) as error:
            raise ConfigError(first_line(error)) from error


@contextmanager
def _command_line(words: Sequence[str]) -> Iterator[None]:
    """The words where Hydra reads them."""
    before = sys.argv
    sys.argv = [before[0], *words]
    try:
        yield
    finally:
        sys.argv = before
