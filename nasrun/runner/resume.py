"""What a run that is gone on with may have changed, and what that is."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nasrun.config.build import Setup, option_section
from nasrun.core.options import ConfigError, join, nearest, plain, show
from nasrun.storage import journal
from nasrun.storage.journal import Event
from nasrun.storage.run_directory import load_config

CHANGEABLE = ("trials", "max_failures", "output", "debug", "dry_run", "resume", "hardware.address", "tracker")
"""Keys that a resumed run may have changed: none of them changes what was searched so far."""


def changed_config(
    directory: Path, events: Sequence[Event], overrides: Mapping[str, Any], chosen: Collection[str] = ()
) -> tuple[DictConfig, dict[str, Any]]:
    """The config under new overrides, and those of them that change something; ConfigError for the forbidden."""
    config = load_config(directory, events, chosen=chosen)
    changes: dict[str, Any] = {}
    for key, value in overrides.items():
        if key == "tracker":  # another option, with all its keys
            changes[key] = value if isinstance(value, dict) else option_section(key, value)
            OmegaConf.update(config, key, changes[key], merge=False)
            continue
        try:
            known, old = True, OmegaConf.select(config, key, throw_on_missing=True)
        except OmegaConfBaseException:
            known, old = False, None
        parent = OmegaConf.select(config, key.rpartition(".")[0]) if "." in key else config
        if not known or not isinstance(parent, DictConfig) or key.rpartition(".")[2] not in parent:
            raise ConfigError(f"{key}: no such key in this run; {nearest(key, CHANGEABLE)}")
        if old == value:
            continue
        if key.partition(".")[0] not in CHANGEABLE and key not in CHANGEABLE:
            raise ConfigError(
                f"{key}={show(value)}: would change the search, which ran with {show(old)}; "
                f"a resumed run may change {', '.join(CHANGEABLE)}"
            )
        changes[key] = value
        OmegaConf.update(config, key, value)
    return config, changes


def changes_of(directory: Path, config: DictConfig) -> dict[str, Any]:
    """What a config says otherwise than the run in a directory, as dotted keys."""
    old = flat(plain(load_config(directory, journal.read(directory / journal.NAME), data_only=True)))
    new = flat(plain(config))
    keys = [key for key in sorted({*old, *new}) if old.get(key) != new.get(key) and key != "resume"]
    changes = {key: new.get(key) for key in keys if not key.startswith("tracker.")}
    return changes if len(changes) == len(keys) else {**changes, "tracker": plain(config)["tracker"]}


def flat(content: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Nested keys as dotted ones, with their values."""
    found: dict[str, Any] = {}
    for name, value in content.items():
        found |= flat(value, join(path, name)) if isinstance(value, Mapping) else {join(path, name): value}
    return found


def check_trials(setup: Setup, events: Sequence[Event], changes: Mapping[str, Any]) -> None:
    """ConfigError where fewer trials are asked for than there are, or any number under a budget of time."""
    if setup.options.time is not None and "trials" in changes:
        raise ConfigError(f"trials={changes['trials']}: the run has time={setup.options.time}, which decides that")
    asked = sum(len(event["proposals"]) for event in events if event["event"] == "ask")
    if setup.options.trials < asked:
        raise ConfigError(f"trials={setup.options.trials}: {asked} are already there; a run can only be extended")
