"""From a composed config to a checked run, for the command line and the Python API alike."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig

from nasrun.config.build import Setup, build
from nasrun.config.from_run import take_over
from nasrun.config.given import Given
from nasrun.config.overrides import as_typed
from nasrun.config.time_budget import check_words
from nasrun.core.options import TextExpectedError


@dataclass(frozen=True)
class Checked:
    """A composed and checked config. `choices`: the selected option of each group, or the class that replaces it."""

    setup: Setup
    choices: dict[str, str | None]


def check(config: DictConfig, hydra: Any, given: Mapping[str, Given] = {}) -> Checked:
    """Check a config and create its objects; ConfigError if it cannot be run.

    `hydra`: its node of that name, which `config` lacks. `given`: objects of the calling program, by group.
    """
    words = hydra.overrides.task
    check_words(words, config.get("time"))
    choices = {name: option for name, option in hydra.runtime.choices.items() if "/" not in name}
    config, taken = take_over(config, words)
    try:
        setup = build(config, given)
    except TextExpectedError as error:
        raise as_typed(error, words) from None
    choices.setdefault("tracker", ",".join(setup.trackers))  # Hydra omits lists
    return Checked(setup, {**choices, **taken, **{group: one.path for group, one in given.items()}})
