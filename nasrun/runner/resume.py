"""What a run that is gone on with may have changed, and what that is."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nasrun.config.build import Setup, option_section
from nasrun.config.trackers import GROUP as TRACKER
from nasrun.config.trackers import qualified, sections_by_name
from nasrun.core.options import ConfigError, join, nearest, plain, show
from nasrun.storage import journal
from nasrun.storage.journal import Event
from nasrun.storage.run_directory import load_config
from nasrun.storage.stored_config import check_servers, servers

CHANGEABLE = ("trials", "max_failures", "output", "debug", "dry_run", "resume", "hardware.address", "tracker")
"""Keys that a resumed run may have changed: none of them changes what was searched so far."""


def changed_config(
    directory: Path, events: Sequence[Event], overrides: Mapping[str, Any], chosen: Collection[str] = ()
) -> tuple[DictConfig, dict[str, Any]]:
    """The config under new overrides, and those of them that change something; ConfigError for the forbidden.

    `chosen`: classes and servers that the command line names itself, besides those in `overrides`.
    """
    config = load_config(directory, events, chosen=chosen)
    config[TRACKER] = before = sections_by_name(plain(config).get(TRACKER, {}))
    changes: dict[str, Any] = {}
    if TRACKER in overrides:  # others, with all their keys
        OmegaConf.update(config, TRACKER, _chosen_trackers(overrides[TRACKER]), merge=False)
    for key, value in overrides.items():
        if key != TRACKER:
            _change(config, qualified(key, list(config[TRACKER])), value, changes)
    changes = {key: value for key, value in changes.items() if not key.startswith(f"{TRACKER}.")}
    if plain(config)[TRACKER] != before:
        changes[TRACKER] = plain(config)[TRACKER]
    named = {key: value for key, value in overrides.items() if key.partition(".")[0] == TRACKER}
    check_servers(config, directory, [*chosen, *servers(named)])
    return config, changes


def _change(config: DictConfig, key: str, value: Any, changes: dict[str, Any]) -> None:
    """Set a key of a config to another value, and note it in `changes`; ConfigError where it may not change."""
    try:
        known, old = True, OmegaConf.select(config, key, throw_on_missing=True)
    except OmegaConfBaseException:
        known, old = False, None
    parent = OmegaConf.select(config, key.rpartition(".")[0]) if "." in key else config
    if not known or not isinstance(parent, DictConfig) or key.rpartition(".")[2] not in parent:
        raise ConfigError(f"{key}: no such key in this run; {nearest(key, CHANGEABLE)}")
    if old == value:
        return
    if key.partition(".")[0] not in CHANGEABLE and key not in CHANGEABLE:
        raise ConfigError(
            f"{key}={show(value)}: would change the search, which ran with {show(old)}; "
            f"a resumed run may change {', '.join(CHANGEABLE)}"
        )
    changes[key] = value
    OmegaConf.update(config, key, value)


def _chosen_trackers(value: Any) -> dict[str, dict[str, Any]]:
    """The sections of trackers that are given by name, by a list of names, or as they are."""
    if isinstance(value, Mapping):
        return sections_by_name(value)
    return {str(name): option_section(TRACKER, name) for name in (value if isinstance(value, list) else [value])}


def changes_of(directory: Path, config: DictConfig) -> dict[str, Any]:
    """What a config says otherwise than the run in a directory, as dotted keys."""
    stored = load_config(directory, journal.read(directory / journal.NAME), data_only=True)
    old, new = _with_named_trackers(plain(stored)), _with_named_trackers(plain(config))
    before, now = flat(old), flat(new)
    keys = [key for key in sorted({*before, *now}) if before.get(key) != now.get(key) and key != "resume"]
    changes = {key: now.get(key) for key in keys if not key.startswith(f"{TRACKER}.")}
    return changes if old[TRACKER] == new[TRACKER] else {**changes, TRACKER: new[TRACKER]}


def _with_named_trackers(content: Mapping[str, Any]) -> dict[str, Any]:
    return {**content, TRACKER: sections_by_name(content.get(TRACKER, {}))}


def flat(content: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Nested keys as dotted ones, with their values."""
    found: dict[str, Any] = {}
    for name, value in content.items():
        found |= flat(value, join(path, name)) if isinstance(value, Mapping) else {join(path, name): value}
    return found


def check_trials(setup: Setup, events: Sequence[Event]) -> None:
    """ConfigError where fewer trials are asked for than there are."""
    asked = sum(len(event["proposals"]) for event in events if event["event"] == "ask")
    if setup.options.trials < asked:
        raise ConfigError(f"trials={setup.options.trials}: {asked} are already there; a run can only be extended")
