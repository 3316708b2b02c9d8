"""Checks of a user's own search space, evaluator and strategy before a run is created.

Those of nasrun are checked by its tests.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from nasrun.core import Cost, Evaluator, SearchSpace, Strategy, Task, seeding
from nasrun.core.options import ConfigError, brief, first_line
from nasrun.strategies.checked import is_users


def check_space(space: SearchSpace, task: Task) -> None:
    """ConfigError if a method of a user's search space answers in a wrong form for a random genome."""
    if not is_users(space):
        return
    name = f"search_space: {type(space).__name__}"
    if not isinstance(getattr(space, "mutations", None), Mapping):
        raise ConfigError(f"{name}.mutations: expected a mapping from names to functions of a genome and a generator")
    genome = space.sample(seeding.generator(0, seeding.Purpose.PREVIEW))
    if not isinstance(genome, tuple) or not all(isinstance(token, int | str) for token in genome):
        raise ConfigError(f"{name}.sample returned {brief(genome)}; expected a tuple of int and str")
    try:
        space.validate(genome)
    except ValueError as error:
        raise ConfigError(
            f"{name}.validate refuses {brief(genome)}, which sample returned: {first_line(error)}"
        ) from error
    text = space.format(genome)
    if not isinstance(text, str) or not text or any(sign in text for sign in "\t\n\r,"):
        raise ConfigError(f"{name}.format returned {brief(text)}; expected text without tabs, commas or line breaks")
    if space.parse(text) != genome:
        raise ConfigError(f"{name}.parse({brief(text)}) is not {brief(genome)}, from which format made it")
    cost = space.cost(genome, task)
    if not isinstance(cost, Cost) or not all(isinstance(number, int) for number in cost):
        raise ConfigError(
            f"{name}.cost returned {brief(cost)}; expected nasrun.Cost(parameters, flops) of whole numbers"
        )


def check_evaluator(evaluator: Evaluator) -> None:
    """ConfigError if attributes of a user's evaluator have a wrong form."""
    if not is_users(evaluator):
        return
    name = f"evaluator: {type(evaluator).__name__}"
    for attribute in ("metrics", "optional_metrics"):
        names = getattr(evaluator, attribute)
        if not _is_list(names, str) or (attribute == "metrics" and not names):
            raise ConfigError(f"{name}.{attribute}={brief(names)}: expected a tuple of names, as in ('val_accuracy',)")
    if not _is_count(evaluator.repeats):
        raise ConfigError(f"{name}.repeats={brief(evaluator.repeats)}: expected a whole number from 1 on")


def check_strategy(strategy: Strategy) -> None:
    """ConfigError if attributes of a user's strategy have a wrong form."""
    if not is_users(strategy):
        return
    name = f"strategy: {type(strategy).__name__}"
    if strategy.length is not None and not _is_count(strategy.length):
        raise ConfigError(f"{name}.length={brief(strategy.length)}: expected a whole number from 1 on, or None")
    if not _is_list(strategy.budgets, int) or not all(map(_is_count, strategy.budgets)):
        raise ConfigError(f"{name}.budgets={brief(strategy.budgets)}: expected a tuple of epochs")


def facts_of(evaluator: Evaluator, recorded: Mapping[str, Any] | None) -> dict[str, Any]:
    """The facts that an evaluator decides on (`Evaluator.prepare`); ConfigError if they are no mapping."""
    facts: Any = evaluator.prepare(recorded)
    if not isinstance(facts, dict):
        raise ConfigError(
            f"evaluator: {type(evaluator).__name__}.prepare returned {brief(facts)}; expected a dict of facts"
        )
    return facts


def _is_list(value: Any, kind: type) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and all(isinstance(one, kind) for one in value)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
