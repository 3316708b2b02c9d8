"""The section `recipe` of a config: training settings, unless the evaluator's own keys override them."""

from collections.abc import Mapping
from typing import Any

from nasrun.core import Evaluator
from nasrun.core.option_files import option_values
from nasrun.core.options import ConfigError, check_value, nearest, options
from nasrun.evaluators.train.evaluator import Train
from nasrun.evaluators.train.recipe import AUTO


def check_recipe(recipe: Mapping[str, Any], evaluator: Evaluator) -> None:
    """ConfigError if the section is invalid, or sets values that the evaluator does not use.

    Runs of versions without recipes have an empty section.
    """
    known = options(Train)
    for name, value in recipe.items():
        if name not in Train.automatic:
            raise ConfigError(f"recipe.{name}: no such key; {nearest(name, Train.automatic)}")
        check_value(known[name].annotation, value, f"recipe.{name}")
    plain = option_values("recipe", "plain")
    changed = [name for name, value in recipe.items() if value not in (plain[name], AUTO)]
    if changed and not evaluator.follows_recipe:
        raise ConfigError(
            f"recipe.{changed[0]}={recipe[changed[0]]}: recipes are for evaluator=train, "
            f"and {type(evaluator).__name__} does not use them; use recipe=plain"
        )
