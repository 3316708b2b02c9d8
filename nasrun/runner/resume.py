"""Which keys of a run's config a resume may change, and which it does change."""

import contextlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nasrun.config.build import Setup
from nasrun.config.sections import option_section
from nasrun.config.stored_run import DataChangedError
from nasrun.config.trackers import GROUP as TRACKER
from nasrun.config.trackers import qualified, sections_by_name
from nasrun.core.environment import describe_environment, differences
from nasrun.core.options import ConfigError, flat, nearest, plain, shell_command, show
from nasrun.datasets import DatasetError
from nasrun.runner.errors import RunError
from nasrun.runner.own_code import ACCEPT
from nasrun.runner.search import ReplayError, Search
from nasrun.storage.paths import data_key, data_there, find_paths, kept_path, movable, whole_path
from nasrun.storage.records import RunRecords, read_run
from nasrun.storage.run_directory import load_config
from nasrun.storage.stored_config import check_servers, servers

FINAL_EPOCHS = "evaluator.final_epochs"
CHANGEABLE = (
    *("trials", "max_failures", "baseline", "output", "debug", "dry_run", "resume"),
    *("hardware.address", "tracker", FINAL_EPOCHS, ACCEPT),
    *(f"hardware.{key}" for key in ("host", "partition", "account", "minutes", "least", "idle", "setup", "sbatch")),
)
"""Keys that a resume may change: none of them changes what was searched so far. The location of the data may change
too, if the run's header records it (`nasrun.storage.paths.movable`)."""


def changed_config(
    run: RunRecords, overrides: Mapping[str, Any], chosen: Collection[str] = ()
) -> tuple[DictConfig, dict[str, Any]]:
    """The config under new overrides, and those of them that change something; ConfigError for forbidden ones.

    `chosen`: classes that the command line itself names. Servers must be named in `overrides`.
    """
    stored = load_config(run.directory, run.changes, chosen=chosen)
    places, config = movable(run.header), find_paths(stored, run.header, run.directory)
    before = sections_by_name(plain(stored).get(TRACKER, {}))
    config[TRACKER] = _chosen_trackers(overrides[TRACKER]) if TRACKER in overrides else before
    stored[TRACKER] = config[TRACKER].copy()
    changes: dict[str, Any] = {}
    for given, value in overrides.items():
        key = qualified(given, list(config[TRACKER]))
        if key != TRACKER and _changes(config, stored, key, value, places):
            moved = key in places
            changes[key] = kept_path(value, run.header, run.directory) if moved else OmegaConf.select(config, key)
    changes = {key: value for key, value in changes.items() if not key.startswith(f"{TRACKER}.")}
    if plain(config)[TRACKER] != before:  # as a whole, since other trackers have other keys
        changes[TRACKER] = plain(config)[TRACKER]
    named = {key: value for key, value in overrides.items() if key.partition(".")[0] == TRACKER}
    check_servers(config, run.directory, servers(named))
    return config, changes


def _changes(config: DictConfig, stored: DictConfig, key: str, value: Any, places: Collection[str]) -> bool:
    """Set a key of a config and return whether that changes it; ConfigError if it may not be changed.

    `stored`: the config as it was written. `places`: keys that hold the location of data, which may be written in
    another way.
    """
    allowed = (*CHANGEABLE, *places)
    try:
        known, old = True, OmegaConf.select(stored, key, throw_on_missing=True)
    except OmegaConfBaseException:
        known, old = False, None
    parent = OmegaConf.select(config, key.rpartition(".")[0]) if "." in key else config
    if not known or not isinstance(parent, DictConfig) or key.rpartition(".")[2] not in parent:
        raise ConfigError(f"{key}: no such key in this run; {nearest(key, allowed)}")
    # What an evaluator reads is compared with what it read at the start; reading nothing would be another search.
    moved = key in places and (key.startswith("dataset.") or isinstance(value, str))
    if moved:
        old, value = whole_path(OmegaConf.select(config, key)), whole_path(value)
    if old == value:
        return False
    if key.partition(".")[0] not in CHANGEABLE and key not in CHANGEABLE and not moved:
        if isinstance(old, DictConfig) and "_target_" in old:
            name = str(old["_target_"]).rpartition(".")[2]
            raise ConfigError(f"{key}={show(value)}: leave it out: a resumed run keeps its {key}, {name}")
        raise ConfigError(
            f"{key}={show(value)}: would change the search, which ran with {show(old)}; "
            f"a resumed run may change {', '.join(allowed)}"
        )
    OmegaConf.update(config, key, value)
    return True


def _chosen_trackers(value: Any) -> dict[str, dict[str, Any]]:
    """The sections of trackers that are given by name, by a list of names, or in full."""
    if isinstance(value, Mapping):
        return sections_by_name(value)
    return {str(name): option_section(TRACKER, name) for name in (value if isinstance(value, list) else [value])}


@contextlib.contextmanager
def asking_for_data(run: RunRecords, config: DictConfig) -> Iterator[None]:
    """A scope in which a run's data are read again; if they are missing or changed, the error says what to type."""
    try:
        yield
    except DatasetError as error:
        key, changed = data_key(config, run.header), isinstance(error, DataChangedError)
        if key not in movable(run.header) or (data_there(config, run.header) and not changed):
            raise
        where = f"if the run's data were moved: {shell_command('resume', run.directory, f'{key}=PATH')}"
        raise DatasetError(f"{error}; {where}" + "; for other data start a new run" * changed) from error


def changes_of(directory: Path, config: DictConfig) -> dict[str, Any]:
    """The differences of a config from that of the run in a directory, as dotted keys.

    Trackers that report to a server are always included: the user who wrote the config chooses them, not a run
    directory.
    """
    stored = load_config(directory, read_run(directory).changes, data_only=True)
    old, new = _with_named_trackers(plain(stored)), _with_named_trackers(plain(config))
    before, now = flat(old), flat(new)
    keys = [key for key in sorted({*before, *now}) if before.get(key) != now.get(key) and key not in ("resume", ACCEPT)]
    keys += [ACCEPT] if now.get(ACCEPT) else []
    changes = {key: now.get(key) for key in keys if not key.startswith(f"{TRACKER}.")}
    same = old[TRACKER] == new[TRACKER] and not servers(new)
    return changes if same else {**changes, TRACKER: new[TRACKER]}


def _with_named_trackers(content: Mapping[str, Any]) -> dict[str, Any]:
    return {**content, TRACKER: sections_by_name(content.get(TRACKER, {}))}


def check_trials(setup: Setup, run: RunRecords, changes: Mapping[str, Any]) -> None:
    """ConfigError if fewer trials are wanted than were asked for, if any number is given with a time budget, or if the
    length of the final training cannot be changed so."""
    asked = len(run.asked)
    if setup.options.time is not None and "trials" in changes:
        raise ConfigError(f"trials={changes['trials']}: the run has time={setup.options.time}, which decides that")
    if FINAL_EPOCHS in changes:
        _check_final_epochs(setup, run)
    if setup.options.trials < asked:
        raise ConfigError(f"trials={setup.options.trials}: must be >= {asked}, the trials so far")


def _check_final_epochs(setup: Setup, run: RunRecords) -> None:
    """ConfigError if the length of the final training cannot be changed so."""
    wanted = setup.evaluator.final_epochs
    if setup.options.time is not None:
        again = (f"from={run.directory}", f"init={run.directory}", f"evaluator.epochs={wanted or 'N'}")
        raise ConfigError(
            f"{FINAL_EPOCHS}={show(wanted)}: the run has time={setup.options.time}, which decides that; to continue "
            f"its winner's training in a new run: {shell_command('experiment=train_best', *again)}"
        )
    trained = run.final.trained_for if run.final is not None else 0
    if run.final is not None and (wanted is None or wanted < trained):
        raise ConfigError(f"{FINAL_EPOCHS}={show(wanted)}: must be > {trained}, the winner's epochs so far")


def replay(search: Search, run: RunRecords) -> None:
    """`Search.replay`; RunError if the strategy proposes something else, with what differs from the start of the
    run."""
    try:
        search.replay(run.events)
    except ReplayError as error:
        found = differences(run.header.environment, describe_environment()).items()
        others = ", ".join(f"started with {name} {old}, now {new}" for name, (old, new) in found)
        raise RunError(f"the search cannot be resumed here: {error}{f' ({others})' if others else ''}") from error
