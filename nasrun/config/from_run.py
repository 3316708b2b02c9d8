"""`from=DIR`: copies the best architecture of a finished run to the config of a new one."""

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
"""Settings of the evaluator that define how networks are trained, except for how long."""
TRAINS = "nasrun.evaluators.train.evaluator.Train"


def take_over(config: DictConfig, overrides: Sequence[str]) -> tuple[DictConfig, dict[str, str]]:
    """The config with the architecture, search space and data set of the run named by its key `from`.

    The architecture is the best one, or that of `trial`. The recipe is copied too if the run used evaluator=train.
    `overrides`: the words of the command line, which take precedence: a data set, a recipe, or a search space of
    another kind that they select is kept, and their keys override copied ones. Also returns the selected options of the
    copied groups. A config without the key is returned unchanged. ConfigError if the key is not set, or the directory
    has no finished run or no such trial.
    """
    if KEY not in list(config):  # `in` would be false for a key that is not set
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
        raise ConfigError(f"{KEY}={directory}: has no finished run with a best architecture ({reason})") from error
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
    """The best architecture, or that of a trial; ConfigError if there is no such trial."""
    if trial is None:
        return str(json.loads((directory / "best.json").read_text())["genome"])
    lines = (directory / GENOMES).read_text(encoding="utf-8").splitlines()
    genomes = dict(line.split("\t", 1) for line in lines)
    if str(trial) not in genomes:
        raise ConfigError(f"{TRIAL}={trial}: there is no such trial in {directory}; the last one is {len(genomes) - 1}")
    return genomes[str(trial)]


def _take_recipe(config: DictConfig, old: Any, keys: Sequence[str]) -> list[str]:
    """Copy the training settings of a run, except those set on the command line; return the group.

    The winner is then trained on all training data, for as many epochs as the trial. Nothing is copied unless both the
    old and the new run use evaluator=train.
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
