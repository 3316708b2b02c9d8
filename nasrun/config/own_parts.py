"""Checks of a user's own search space, evaluator and strategy before a run is created.

Those of nasrun are checked by its tests.
"""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nasrun.core import Cost, Evaluator, Genome, SearchSpace, Strategy, Task, seeding
from nasrun.core.answers import is_json, is_users
from nasrun.core.options import ConfigError, brief, first_line

SAMPLES = 4
"""Number of random genomes with which a space is tried."""


def check_space(space: SearchSpace, task: Task | None) -> None:
    """ConfigError if a method of a user's search space answers in a wrong form for a random genome. `task`: whose costs
    are computed; None: there is none."""
    if not is_users(space):
        return
    name = f"search_space: {type(space).__name__}"
    _check_methods(space, SearchSpace, name)
    if not isinstance(getattr(space, "mutations", None), Mapping):
        raise ConfigError(f"{name}.mutations: expected a mapping from names to functions of a genome and a generator")
    rng = seeding.generator(0, seeding.Purpose.PREVIEW)
    lengths = {len(_check_genome(space, space.sample(rng), task, name)) for _ in range(SAMPLES)}
    if len(lengths) > 1:
        raise ConfigError(f"{name}.encode returned arrays of several lengths ({lengths}); expected one length for all")
    for mutation, mutate in space.mutations.items():
        genome = space.sample(rng)
        child: Any = mutate(genome, rng) if callable(mutate) and _takes(mutate, 2) else None
        if not _is_genome(child):
            raise ConfigError(
                f"{name}.mutations[{mutation!r}] is {brief(mutate)}, which made {brief(child)} of {brief(genome)}; "
                "expected a function of a genome and a generator that returns a genome"
            )


def _check_genome(space: SearchSpace, genome: Any, task: Task | None, name: str) -> np.ndarray:
    """Check what a space answers for a genome that it has drawn; returns the vector of the genome."""
    if not _is_genome(genome):
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
    vector = _check_tokens(space, genome, name)
    cost = Cost(0, 0) if task is None else space.cost(genome, task)
    if not isinstance(cost, Cost) or not all(isinstance(number, int) for number in cost):
        raise ConfigError(
            f"{name}.cost returned {brief(cost)}; expected nasrun.Cost(parameters, flops) of whole numbers"
        )
    return vector


def _check_tokens(space: SearchSpace, genome: Genome, name: str) -> np.ndarray:
    """ConfigError if the tokens of a genome, or its vector, which is returned, are not as the space describes them
    elsewhere."""
    for position in range(len(genome) + 1):
        choices: Any = space.choices(genome[:position])
        expected = f"a tuple with {genome[position]!r}" if position < len(genome) else "(), as the genome is complete"
        wrong = genome[position] not in choices if position < len(genome) and isinstance(choices, tuple) else choices
        if not isinstance(choices, tuple) or wrong:
            raise ConfigError(
                f"{name}.choices({brief(genome[:position])}) returned {brief(choices)}; expected {expected}"
            )
    vector: Any = space.encode(genome)
    if not isinstance(vector, np.ndarray) or vector.ndim != 1 or not np.isfinite(vector).all():
        raise ConfigError(f"{name}.encode returned {brief(vector)}; expected a numpy array of one dimension")
    widths: Any = space.width_positions(genome)
    if not _is_list(widths, int) or not all(0 <= position < len(genome) for position in widths):
        raise ConfigError(f"{name}.width_positions returned {brief(widths)}; expected positions in the genome")
    return vector


def _check_methods(part: object, base: type, name: str) -> None:
    """ConfigError if a method of a user's class cannot be called as that of its base."""
    for method, theirs in inspect.getmembers(base, inspect.isfunction):
        own = inspect.getattr_static(type(part), method, None)
        if method.startswith("_") or own is theirs or not inspect.isfunction(own):
            continue
        positional = [
            one.name for one in inspect.signature(theirs).parameters.values() if one.kind is one.POSITIONAL_OR_KEYWORD
        ]
        try:
            inspect.signature(own).bind(*positional)
        except TypeError as error:
            called = f"{method}({', '.join(positional[1:])})"
            raise ConfigError(f"{name}.{method}: {error}; it is called as {called}") from error


def check_evaluator(evaluator: Evaluator) -> None:
    """ConfigError if attributes of a user's evaluator have a wrong form."""
    if not is_users(evaluator):
        return
    name = f"evaluator: {type(evaluator).__name__}"
    _check_methods(evaluator, Evaluator, name)
    for attribute in ("metrics", "optional_metrics"):
        names = getattr(evaluator, attribute)
        if not _is_list(names, str) or (attribute == "metrics" and not names):
            raise ConfigError(f"{name}.{attribute}={brief(names)}: expected a tuple of names, as in ('val_accuracy',)")
    if not _is_count(evaluator.repeats):
        raise ConfigError(f"{name}.repeats={brief(evaluator.repeats)}: expected a whole number from 1 on")
    limit: Any = evaluator.time_limit
    if limit is not None and (not isinstance(limit, int | float) or not limit > 0):
        raise ConfigError(f"{name}.time_limit={brief(limit)}: expected a number of seconds above 0, or None")


def check_strategy(strategy: Strategy) -> None:
    """ConfigError if attributes of a user's strategy have a wrong form."""
    if not is_users(strategy):
        return
    name = f"strategy: {type(strategy).__name__}"
    _check_methods(strategy, Strategy, name)
    if not isinstance(strategy.initial, int):
        raise ConfigError(f"{name}.initial={brief(strategy.initial)}: expected a whole number")
    if strategy.length is not None and not _is_count(strategy.length):
        raise ConfigError(f"{name}.length={brief(strategy.length)}: expected a whole number from 1 on, or None")
    if not _is_list(strategy.budgets, int) or not all(map(_is_count, strategy.budgets)):
        raise ConfigError(f"{name}.budgets={brief(strategy.budgets)}: expected a tuple of epochs")


def facts_of(evaluator: Evaluator, recorded: Mapping[str, Any] | None) -> dict[str, Any]:
    """The facts that an evaluator decides on (`Evaluator.prepare`); ConfigError if they are no mapping."""
    facts: Any = evaluator.prepare(recorded)
    if not isinstance(facts, dict) or (is_users(evaluator) and not is_json(facts)):
        raise ConfigError(
            f"evaluator: {type(evaluator).__name__}.prepare returned {brief(facts)}; expected a dict of facts, as JSON"
        )
    return facts


def _is_genome(value: Any) -> bool:
    return isinstance(value, tuple) and all(isinstance(token, int | str) for token in value)


def _takes(function: Any, count: int) -> bool:
    """Whether a function can be called with so many arguments, as far as that is known."""
    try:
        inspect.signature(function).bind(*range(count))
    except TypeError:
        return False
    except ValueError:  # not known, as of some built-in ones
        pass
    return True


def _is_list(value: Any, kind: type) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and all(isinstance(one, kind) for one in value)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
