"""The section `recipe` of a config: how networks are trained, where the evaluator's own keys do not say otherwise."""

from collections.abc import Mapping
from typing import Any

from nasrun.core import Evaluator
from nasrun.core.options import ConfigError, check_value, nearest, options
from nasrun.evaluators.train.evaluator import Train
from nasrun.evaluators.train.recipe import AUTO, recipe_values


def check_recipe(recipe: Mapping[str, Any], evaluator: Evaluator) -> None:
    """ConfigError where the section holds what is none, or sets what the evaluator does not follow.

    Runs of versions that had no recipes have an empty one.
    """
    known = options(Train)
    for name, value in recipe.items():
        if name not in Train.automatic:
            raise ConfigError(f"recipe.{name}: no such key; {nearest(name, Train.automatic)}")
        check_value(known[name].annotation, value, f"recipe.{name}")
    plain = recipe_values("plain")
    changed = [name for name, value in recipe.items() if value not in (plain[name], AUTO)]
    if changed and not evaluator.follows_recipe:
        raise ConfigError(
            f"recipe.{changed[0]}={recipe[changed[0]]}: recipes are for evaluator=train, "
            f"and {type(evaluator).__name__} does not follow them; leave recipe=plain"
        )
