"""`from=DIR`: the best architecture of a finished run, taken over into the config of a new one."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nasrun.core.home import at_home
from nasrun.core.options import ConfigError
from nasrun.evaluators.train.recipe import KEYS
from nasrun.reports.tables import GENOMES
from nasrun.storage.paths import find_paths
from nasrun.storage.records import CONFIG, read_run
from nasrun.storage.run_directory import load_config
from nasrun.storage.stored_config import check_targets, targets

KEY, TRIAL = "from", "trial"
HOW = (*KEYS, "class_weights", "sampling", "loss")
"""Settings of the evaluator that say how networks are trained, but not for how long."""
TRAINS = "nasrun.evaluators.train.evaluator.Train"


def take_over(config: DictConfig, overrides: Sequence[str]) -> tuple[DictConfig, dict[str, str]]:
    """The config with the best architecture of the run that its key `from` names, or that of a `trial` of it, its
    search space, its data set, and of a run that trained its networks (evaluator=train) its recipe.

    `overrides`: the words of the command line. They win: a data set that they choose stays, and so do a recipe and a
    search space of another kind; their keys lie over what is taken over. Returns the options that were chosen in the
    groups taken over, too. A config without that key is returned as it is. ConfigError where the key is not set, the
    directory holds no finished run, or no such trial.
    """
    if KEY not in list(config):  # a key that is not set would not be `in` the config itself
        return config, {}
    if OmegaConf.is_missing(config, KEY):
        raise ConfigError(f"{KEY}: not set; give it as {KEY}=DIR, the directory of a finished run")
    directory = at_home(str(config[KEY]))
    try:
        genome = _genome(directory, config.get(TRIAL))
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
    if "recipe" not in keys:
        groups += _take_recipe(changed, old, keys)
    return changed, {group: str(choices[group]) for group in groups if group in choices}


def _genome(directory: Path, trial: Any) -> str:
    """The architecture of the best, or of a trial; ConfigError where there is no such trial."""
    if trial is None:
        return str(json.loads((directory / "best.json").read_text())["genome"])
    lines = (directory / GENOMES).read_text(encoding="utf-8").splitlines()
    genomes = dict(line.split("\t", 1) for line in lines)
    if str(trial) not in genomes:
        raise ConfigError(f"{TRIAL}={trial}: there is no such trial in {directory}; the last one is {len(genomes) - 1}")
    return genomes[str(trial)]


def _take_recipe(config: DictConfig, old: Any, keys: Sequence[str]) -> list[str]:
    """Take over how a run trained its networks, but for what the command line sets by itself; returns the group.

    The network is trained on all the training data then, for as many epochs as the trial. Nothing is taken over of a
    run that trained none on their own, or where the new one does not.
    """
    if not old["evaluator"].get("_target_") == config.evaluator.get("_target_") == TRAINS:
        return []
    given = {key.rpartition(".")[2] for key in keys if key.startswith(("evaluator.", "recipe."))}
    for name in HOW:
        if name in old["evaluator"] and name not in given:
            config.evaluator[name] = old["evaluator"][name]
    if "final_epochs" not in given:
        config.evaluator.final_epochs = config.evaluator.epochs
    return ["recipe"]
