"""`from=DIR`: the best architecture of a finished run, taken over into the config of a new one."""

import json
from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nasrun.core.home import at_home
from nasrun.core.options import ConfigError
from nasrun.storage.paths import find_paths
from nasrun.storage.records import CONFIG, read_run
from nasrun.storage.run_directory import load_config
from nasrun.storage.stored_config import check_targets, targets

KEY = "from"


def take_over(config: DictConfig, overrides: Sequence[str]) -> tuple[DictConfig, dict[str, str]]:
    """The config with the best architecture of the run that its key `from` names, its search space and its data set.

    `overrides`: the words of the command line. They win: a data set that they choose stays, and so does a search space
    of another kind; their keys lie over what is taken over. Returns the options that were chosen in the groups taken
    over, too. A config without that key is returned as it is. ConfigError where the key is not set, or the directory
    holds no finished run.
    """
    if KEY not in list(config):  # a key that is not set would not be `in` the config itself
        return config, {}
    if OmegaConf.is_missing(config, KEY):
        raise ConfigError(f"{KEY}: not set; give it as {KEY}=DIR, the directory of a finished run")
    directory = at_home(str(config[KEY]))
    try:
        genome = json.loads((directory / "best.json").read_text())["genome"]
        choices = json.loads((directory / "environment.json").read_text())["choices"]
        run = read_run(directory)
        stored = find_paths(load_config(directory, run.changes, data_only=True), run.header, directory)
        old: Any = OmegaConf.to_container(stored, resolve=True)
    except (OSError, ValueError, LookupError, OmegaConfBaseException) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{KEY}={directory}: holds no finished run with a best architecture ({reason})") from error
    keys = [word.partition("=")[0].lstrip("+~") for word in overrides]
    groups = [] if "dataset" in keys else ["dataset"]
    if "search_space" not in keys or config.search_space.get("_target_") == old["search_space"]["_target_"]:
        groups.append("search_space")
    check_targets(OmegaConf.masked_copy(stored, groups), directory / CONFIG, targets(config))
    changed = config.copy()
    OmegaConf.set_struct(changed, False)
    for group in groups:
        changed[group] = old[group]
        for key in keys:
            if key.startswith(f"{group}."):
                OmegaConf.update(changed, key, OmegaConf.select(config, key))
    if not any(key.startswith("strategy") for key in keys):
        changed.strategy.genomes = [genome]
    return changed, {group: str(choices[group]) for group in groups if group in choices}
