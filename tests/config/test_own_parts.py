"""What a user's own search space, evaluator and strategy have to be."""

import itertools
from typing import Any

import numpy as np
import pytest

from nasrun.config.own_parts import check_evaluator, check_space, check_strategy, facts_of
from nasrun.core import Cost, Evaluator, SearchSpace, Strategy, Task
from nasrun.core.options import ConfigError

TASK = Task("made_up", 1, 8, 8, 2)


class Pair(SearchSpace):
    """Two widths."""

    mutations = {"same": lambda genome, rng: genome}

    def sample(self, rng: np.random.Generator) -> Any:
        return (4, 8)

    def crossover(self, first: Any, second: Any, rng: Any) -> Any:
        return first

    def choices(self, prefix: Any) -> Any:
        return (4, 8)[: 2 * (len(prefix) < 2)]

    def encode(self, genome: Any) -> Any:
        return np.zeros(2)

    def decode(self, vector: Any) -> Any:
        return (4, 8)

    def validate(self, genome: Any) -> None:
        if len(genome) != 2:
            raise ValueError("expected two widths")

    def format(self, genome: Any) -> Any:
        return "-".join(map(str, genome))

    def parse(self, text: str) -> Any:
        return tuple(map(int, text.split("-")))

    def cost(self, genome: Any, task: Task) -> Any:
        return Cost(5, 6)

    def build(self, genome: Any, task: Task) -> Any:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("name", "answer", "says"),
    [
        ("choices", None, r"choices\(\(\)\) returned None; expected a tuple with"),
        ("choices", (4, 8), r"choices\(\(\d, \d\)\) returned \(4, 8\); expected \(\), as the genome is complete"),
        ("encode", None, "encode returned None; expected a numpy array of one dimension"),
        ("encode", np.array([np.nan]), "encode returned .*; expected a numpy array of one dimension"),
        ("width_positions", (99,), r"width_positions returned \(99,\); expected positions in the genome"),
        ("sample", [4, 8], r"sample returned \[4, 8\]; expected a tuple of int and str"),
        ("sample", (np.int64(4), 8), r"sample returned .*; expected a tuple of int and str"),
        ("sample", (4,), r"validate refuses \(4,\), which sample returned: expected two widths"),
        ("format", None, "format returned None; expected text"),
        ("format", "4,8", "format returned '4,8'; expected text"),
        ("parse", [4, 8], r"parse\('4-8'\) is not \(4, 8\), from which format made it"),
        ("cost", (5, 6), r"cost returned \(5, 6\); expected nasrun.Cost\(parameters, flops\)"),
        ("cost", None, "cost returned None; expected nasrun.Cost"),
    ],
)
def test_a_space_that_answers_in_a_wrong_form(name: str, answer: Any, says: str) -> None:
    space = type("Mine", (Pair,), {name: lambda self, *arguments: answer})()
    with pytest.raises(ConfigError, match=rf"^search_space: Mine\.{says}"):
        check_space(space, TASK)


def test_a_space_without_mutations_by_name() -> None:
    for mutations in (None, ["width"]):
        space = type("Mine", (Pair,), {"mutations": mutations})()
        with pytest.raises(ConfigError, match=r"^search_space: Mine\.mutations: expected a mapping"):
            check_space(space, TASK)


@pytest.mark.parametrize("mutate", [None, lambda genome: genome, lambda genome, rng: list(genome)])
def test_a_mutation_that_makes_no_genome(mutate: Any) -> None:
    space = type("Mine", (Pair,), {"mutations": {"wider": mutate}})()
    with pytest.raises(ConfigError, match=r"^search_space: Mine\.mutations\['wider'\] is .*; expected a function of a"):
        check_space(space, TASK)


def test_vectors_of_several_lengths() -> None:
    lengths = itertools.count(1)
    space = type("Mine", (Pair,), {"encode": lambda self, genome: np.zeros(next(lengths))})()
    with pytest.raises(ConfigError, match=r"^search_space: Mine\.encode returned arrays of several lengths"):
        check_space(space, TASK)


def test_a_valid_space_is_taken() -> None:
    check_space(Pair(), TASK)


@pytest.mark.parametrize(
    ("attribute", "value", "says"),
    [
        ("metrics", "val_accuracy", "metrics='val_accuracy': expected a tuple of names"),
        ("metrics", (), r"metrics=\(\): expected a tuple of names"),
        ("metrics", None, "metrics=None: expected a tuple of names"),
        ("optional_metrics", 5, "optional_metrics=5: expected a tuple of names"),
        ("repeats", "2", "repeats='2': expected a whole number from 1 on"),
        ("repeats", 0, "repeats=0: expected a whole number from 1 on"),
        ("time_limit", "x", "time_limit='x': expected a number of seconds above 0, or None"),
    ],
)
def test_an_evaluator_with_wrong_attributes(attribute: str, value: Any, says: str) -> None:
    content = {"evaluate": lambda self, jobs: iter(()), "prepare": lambda self, recorded=None: None}
    check_evaluator(type("Mine", (Evaluator,), content)())
    mine = type("Mine", (Evaluator,), {**content, attribute: value})()
    with pytest.raises(ConfigError, match=rf"^evaluator: Mine\.{says}"):
        check_evaluator(mine)
    with pytest.raises(ConfigError, match=r"^evaluator: Mine\.prepare returned None; expected a dict of facts"):
        facts_of(mine, None)


@pytest.mark.parametrize("facts", [{"a": object()}, {"a": np.float32(1)}, {"a": float("nan")}])
def test_facts_that_no_journal_can_hold(facts: Any) -> None:
    content = {"evaluate": lambda self, jobs: iter(()), "prepare": lambda self, recorded=None: facts}
    with pytest.raises(ConfigError, match=r"^evaluator: Mine\.prepare returned .*; expected a dict of facts, as JSON"):
        facts_of(type("Mine", (Evaluator,), content)(), None)


def test_methods_that_cannot_be_called_as_those_of_their_base() -> None:
    mine = type("Mine", (Strategy,), {"ask": lambda self: [], "tell": lambda self, trial, measurements: None})()
    with pytest.raises(ConfigError, match=r"^strategy: Mine\.ask: too many positional .*; it is called as ask\(n\)$"):
        check_strategy(mine)
    other = type("Mine", (Evaluator,), {"evaluate": lambda self, jobs, more: iter(())})()
    with pytest.raises(ConfigError, match=r"^evaluator: Mine\.evaluate: missing .*; it is called as evaluate\(jobs\)$"):
        check_evaluator(other)


@pytest.mark.parametrize(
    ("attribute", "value"), [("initial", "x"), ("length", "3"), ("length", 0), ("budgets", 5), ("budgets", ("a",))]
)
def test_a_strategy_with_wrong_attributes(attribute: str, value: Any) -> None:
    content = {"ask": lambda self, n: [], "tell": lambda self, trial, measurements: None}
    check_strategy(type("Mine", (Strategy,), content)())
    with pytest.raises(ConfigError, match=rf"^strategy: Mine\.{attribute}=.*: expected a "):
        check_strategy(type("Mine", (Strategy,), {**content, attribute: value})())
