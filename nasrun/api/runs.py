"""Runs and sweeps from Python, with the composition, checks and files of the command line."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from nasrun.api.arguments import (
    directory_of,
    given_of,
    is_plain,
    keys_in,
    plain_number,
    refuse_beside,
    refuse_twice,
    words_of,
)
from nasrun.api.results import Run, load_run
from nasrun.config.build import Setup
from nasrun.config.checked import check
from nasrun.config.compose import Composer, output_directory, own_folders, task_config
from nasrun.config.given import Given
from nasrun.config.hydra_scope import composing_alone
from nasrun.config.overrides import as_values, refuse_intervals
from nasrun.core import Evaluator, Strategy
from nasrun.core.options import ConfigError, brief, show
from nasrun.runner import run as runner
from nasrun.runner.resume import changes_of
from nasrun.runner.sweeps import EarlierRuns, finished
from nasrun.storage import journal
from nasrun.storage.run_directory import check_place, check_sweep_place, holds_run, make_unique

DRY = "dry_run=true: plans are printed by the command line alone: nasrun ... dry_run=true"


def run(
    overrides: Sequence[str] = (),
    *,
    directory: str | Path | None = None,
    config_dir: str | Path | None = None,
    progress: bool = True,
    **parts: Any,
) -> Run:
    """Run a search to its end and return the run.

    Continue an interrupted run with `nasrun.resume`.

    Args:
        overrides: `key=value` words as on the command line.
        directory: output directory, new or empty; by default a new one below `outputs/`.
        config_dir: a folder with your own YAML files.
        progress: whether to print progress on stdout.
        parts: for `search_space`, `strategy`, `evaluator` and `dataset` the name of an option, a class, an object, or a
            function that creates one (a strategy from its space, objective and random generator, an evaluator from
            space, data set and hardware).

    Raises:
        ConfigError: the config is invalid; nothing was created.
        RunError: the run failed.
    """
    call = _Call.of(overrides, parts, config_dir)
    if directory is not None and any(word.startswith("hydra.run.dir=") for word in call.words):
        raise ConfigError("hydra.run.dir: given twice, as a word and as directory=; leave one of them out")
    job = call.checked(call.words)
    folder = job.directory if directory is None else directory_of(directory)
    if job.setup.options.resume and holds_run(folder):
        changes = changes_of(folder, OmegaConf.create(job.setup.config))
        return resume(folder, changes, progress=progress, **call.objects)
    check_place(folder, "directory", may_exist=directory is None)
    folder = make_unique(folder) if directory is None else folder
    runner.begin(job.setup_of(progress), folder, unique=False, choices=job.choices, words=call.words)
    return load_run(folder, **call.objects)


def resume(
    directory: str | Path,
    overrides: Sequence[str] | Mapping[str, Any] = (),
    *,
    progress: bool = True,
    **parts: Any,
) -> Run:
    """Continue an interrupted run, or extend a finished one, and return it.

    Args:
        directory: the run directory.
        overrides: settings to change, such as `["trials=200"]`, or a mapping from keys to values.
        progress: whether to print progress on stdout.
        parts: the objects with which the run was started, if any (`strategy=...`, `search_space=...`).

    Raises:
        ConfigError: an override would change the search, or the directory has no run.
        JournalError: its journal is damaged.
        RunError: the run failed.
    """
    given = {group: given_of(group, part) for group, part in parts.items()}
    values = overrides if isinstance(overrides, Mapping) else as_values(words_of(overrides))
    changes = {key: plain_number(value) for key, value in values.items()}
    if not all(isinstance(key, str) for key in changes):
        raise ConfigError(
            f"{show(next(key for key in changes if not isinstance(key, str)))}: expected a key of the config"
        )
    for key, value in changes.items():
        if not is_plain(value):
            raise ConfigError(f"{key}={brief(value)}: expected a number, text, true, false, null or a list of such")
    if changes.get("dry_run"):
        raise ConfigError(DRY)
    refuse_beside((key for key in changes if "." in key), given)
    chosen = [one.path for one in given.values()]
    runner.resume(directory_of(directory), changes, chosen=chosen, given=given, quiet=not progress)
    return load_run(directory, **parts)


def sweep(
    overrides: Sequence[str] = (),
    *,
    directory: str | Path,
    config_dir: str | Path | None = None,
    progress: bool = False,
    **parts: Any,
) -> list[Run]:
    """Run all combinations of the values, one after the other, and return the runs in order.

    Existing runs of the sweep are reused or continued, so that the same call completes an interrupted sweep.

    Args:
        overrides: words with several values each: `["seed=0,1,2", "strategy=random,grid"]`.
        directory: parent of a numbered directory for each run.
        config_dir: a folder with your own YAML files.
        progress: whether to print progress on stdout.
        parts: as for `nasrun.run`.

    Raises:
        ConfigError: the config of a run is invalid; nothing was created.
        RunError: a run failed.
    """
    call = _Call.of(overrides, parts, config_dir)
    for key in keys_in(call.words):
        if key in ("hydra.run.dir", "hydra.sweep.dir"):
            raise ConfigError(f"{key}: given twice, as a word and as directory=; leave the word out")
    refuse_intervals(call.words)
    folder, values = directory_of(directory), call.composer.values(call.words)
    jobs = [call.checked(list(words)) for words in itertools.product(*values.values())]  # check all first
    call.check_alone(len(jobs))
    check_sweep_place(folder, "directory")
    there = sorted(path.parent for path in folder.rglob(journal.NAME)) if folder.is_dir() else []
    earlier = EarlierRuns(there, frozenset(key for key, options in values.items() if len(options) > 1))
    runs = []
    for number, job in enumerate(jobs):
        found = earlier.find(job.setup.config, folder / str(number))
        if found is not None:
            changes = changes_of(found, OmegaConf.create(job.setup.config))
            over = not changes and finished(found) is not None
            if over:
                runs.append(load_run(found, **call.objects))
            else:
                runs.append(resume(found, changes, progress=progress, **call.objects))
            continue
        where = {"folder": "/".join(folder.absolute().parts[-2:]), "job": number}
        place = make_unique(folder / str(number))  # an earlier run with other words may have this number
        setup = job.setup_of(progress)
        runner.begin(setup, place, unique=False, choices=job.choices, sweep=where, words=job.words)
        runs.append(load_run(place, **call.objects))
    return runs


@dataclass(frozen=True)
class _Job:
    """A checked run. `directory`: default output directory. `choices`: the option of each group, or the class that
    replaces it."""

    words: Sequence[str]
    directory: Path
    setup: Setup
    choices: Mapping[str, str | None]

    def setup_of(self, progress: bool) -> Setup:
        """The objects of the run, with or without progress on stdout."""
        return self.setup if progress else runner.silent(self.setup)


@dataclass(frozen=True)
class _Call:
    """The words and objects of a call, with their composer."""

    composer: Composer
    words: Sequence[str]
    given: Mapping[str, Given]

    @classmethod
    def of(cls, overrides: Sequence[str], parts: Mapping[str, Any], config_dir: str | Path | None) -> "_Call":
        """ConfigError if an argument is invalid."""
        words = [*words_of(overrides), *(f"{group}={part}" for group, part in parts.items() if isinstance(part, str))]
        given = {group: given_of(group, part) for group, part in parts.items() if not isinstance(part, str)}
        refuse_beside(keys_in(words), given)
        refuse_twice(words)
        if config_dir is not None and not directory_of(config_dir).is_dir():
            raise ConfigError(f"config_dir={config_dir}: no such folder")
        words, folders = own_folders(words, None if config_dir is None else str(directory_of(config_dir)))
        return cls(Composer(folders), words, given)

    def check_alone(self, runs: int) -> None:
        """ConfigError if several runs would share an object that remembers what it was told."""
        for group, one in self.given.items():
            if runs > 1 and isinstance(one.thing, Strategy | Evaluator):
                raise ConfigError(
                    f"{group}: one object for {runs} runs would carry what it learned from each run to the next; "
                    f"give its class, or a function that makes one"
                )

    @property
    def objects(self) -> dict[str, Any]:
        """The objects of the caller, by group."""
        return {group: one.thing for group, one in self.given.items()}

    def checked(self, words: Sequence[str]) -> _Job:
        """Build the objects for some words; ConfigError if they are invalid."""
        with composing_alone():
            config = self.composer.compose(words)
            found = check(task_config(config), config.hydra, self.given)
            if found.setup.options.dry_run:
                raise ConfigError(DRY)
            return _Job(words, output_directory(config, sweep=False), found.setup, found.choices)
