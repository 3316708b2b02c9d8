"""The swarms: what pygmo gives when it is driven directly, in any order of tells, and no thread left behind."""

import gc
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pygmo
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasrun.core import Genome, Measurement, Objective, Proposal, Trial
from nasrun.core.options import ConfigError
from nasrun.spaces.sequential_cnn.space import SequentialCNN
from nasrun.strategies.swarm import AntColony, AskTellThread, BeeColony, ParticleSwarm, Swarm
from tests.support import setup_of, trajectory, with_options

ROOT = Path(__file__).resolve().parents[2]
SEED = 11
PENALTY = 1e30


class Case(NamedTuple):
    """A strategy with options, and the algorithm of pygmo that it must equal."""

    strategy: Callable[..., Swarm]
    algorithm: Callable[..., Any]
    population: int
    generations: int


RANDOM_NEIGHBOURS: dict[str, Any] = {"variant": 6, "neighb_type": 4, "neighb_param": 3}
RANDOM_NEIGHBOURS |= {"omega": 0.5, "eta1": 1.0, "eta2": 3.0, "max_vel": 0.2}

# pygmo's own defaults are left to pygmo here, so that ours are compared with them.
CASES = {
    "pso": Case(partial(with_options, ParticleSwarm), pygmo.pso_gen, 7, 6),
    "pso, one at a time": Case(partial(with_options, ParticleSwarm, generational=False), pygmo.pso, 7, 6),
    "pso, random neighbours": Case(
        partial(with_options, ParticleSwarm, **RANDOM_NEIGHBOURS), partial(pygmo.pso_gen, **RANDOM_NEIGHBOURS), 8, 6
    ),
    "gaco": Case(partial(with_options, AntColony), pygmo.gaco, 64, 3),
    "gaco, archive as large as the population": Case(
        partial(with_options, AntColony, ker=None, q=0.5, threshold=4, acc=0.0, focus=3.0, oracle=-2.0, n_gen_mark=2),
        partial(pygmo.gaco, ker=9, q=0.5, threshold=4, acc=0.0, focus=3.0, oracle=-2.0, n_gen_mark=2),
        9,
        8,
    ),
    "gaco, which stops by itself": Case(
        partial(with_options, AntColony, ker=5, impstop=2, evalstop=3),
        partial(pygmo.gaco, ker=5, impstop=2, evalstop=3),
        6,
        500,
    ),
    "abc": Case(partial(with_options, BeeColony), pygmo.bee_colony, 6, 8),
    "abc, patient": Case(partial(with_options, BeeColony, limit=9), partial(pygmo.bee_colony, limit=9), 5, 12),
}

cases = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
names = pytest.mark.parametrize("name", ["pso", "gaco", "abc"])


class Recorded(SequentialCNN):
    """Keeps the vectors that it decodes."""

    vectors: list[bytes]

    def decode(self, vector: np.ndarray) -> Genome:
        self.vectors.append(vector.tobytes())
        return super().decode(vector)


def recorded() -> Recorded:
    """A space of few networks, so that vectors share genomes."""
    space = Recorded(min_depth=2, max_depth=4, filters=[8, 16], kernels=[1, 3], activations=["relu"])
    space.vectors = []
    return space


def score(genome: Genome) -> float | None:
    """A made-up score between 0 and 1 with equal values and failures (None) among the networks."""
    digits = "".join(map(str, genome))
    weight = sum(ord(letter) * place for place, letter in enumerate(digits))
    return None if weight % 7 == 0 else weight % 31 / 31


def measured(trial: Trial) -> list[Measurement]:
    value = score(trial.proposal.genome)
    if value is None:
        return [Measurement(trial.number, 0, ("failed", "infeasible")[trial.number % 2], error="broken")]
    return [Measurement(trial.number, 0, "ok", {"val_accuracy": value})]


def driven_directly(case: Case) -> list[bytes]:
    """The vectors that pygmo evaluates, in order, without batches and without nasrun's strategy."""
    space = recorded()
    length = len(space.encode(space.sample(np.random.default_rng(0))))

    class Problem:
        def fitness(self, vector: np.ndarray) -> list[float]:
            value = score(space.decode(vector))
            return [PENALTY if value is None else -value]

        def get_bounds(self) -> tuple[list[float], list[float]]:
            return [0.0] * length, [1.0] * length

    first, second = (int(seed) for seed in np.random.default_rng(SEED).integers(2**32, size=2))
    population = pygmo.population(pygmo.problem(Problem()), size=case.population, seed=first)
    pygmo.algorithm(case.algorithm(gen=case.generations, seed=second)).evolve(population)
    return space.vectors


def made(case: Case, space: SequentialCNN) -> Swarm:
    rng = np.random.default_rng(SEED)
    return case.strategy(space, Objective(), rng, population=case.population, generations=case.generations)


@cases
def test_one_at_a_time_it_is_what_pygmo_evaluates_when_driven_directly(case: Case) -> None:
    space = recorded()
    strategy = made(case, space)
    number = 0
    while not strategy.done:
        (proposal,) = strategy.ask(1)
        strategy.tell(Trial(number, proposal), measured(Trial(number, proposal)))
        number += 1
    expected = driven_directly(case)
    assert space.vectors == expected
    assert number == len(expected)
    assert strategy.ask(5) == []


@settings(max_examples=15, deadline=None)
@given(case=st.sampled_from(list(CASES.values())), data=st.data())
def test_in_any_order_of_asks_and_tells_it_is_the_same(case: Case, data: st.DataObject) -> None:
    space = recorded()
    strategy = made(case, space)
    waiting: list[Trial] = []
    order = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    number = 0
    while not strategy.done:
        for proposal in strategy.ask(int(order.integers(0, 9))):
            waiting.append(Trial(number, proposal._replace(reuse_of=0) if number % 3 else proposal))
            number += 1
        for _ in range(min(len(waiting), int(order.integers(0, 9)))):
            trial = waiting.pop(int(order.integers(len(waiting))))
            strategy.tell(trial, measured(trial))
    assert not waiting
    assert space.vectors == driven_directly(case)


@pytest.mark.parametrize(("case", "later"), [("pso", 7), ("gaco", 64), ("pso, one at a time", 1), ("abc", 1)], ids=str)
def test_what_pygmo_takes_as_a_batch_is_proposed_at_once(case: str, later: int) -> None:
    strategy = made(CASES[case], recorded())
    for batch in range(3):
        proposals = strategy.ask(1000)
        assert len(proposals) == (later if batch else CASES[case].population)
        assert strategy.ask(1000) == []
        assert {proposal.origin for proposal in proposals} == ({case.split(",")[0]} if batch else {"sample"})
        assert {proposal.parent for proposal in proposals} == {None}
        for proposal in proposals:
            strategy.tell(Trial(0, proposal), measured(Trial(0, proposal)))
    assert strategy.initial == CASES[case].population


def test_an_objective_to_be_lowered_is_the_fitness_itself() -> None:
    """The same run with the metric's sign and the mode turned over."""
    genomes = []
    for mode, sign in (("max", 1), ("min", -1)):
        strategy = with_options(
            ParticleSwarm, recorded(), Objective("loss", mode), np.random.default_rng(0), population=5
        )
        asked: list[Proposal] = []
        while len(asked) < 40:
            asked += strategy.ask(1)
            value = sign * (score(asked[-1].genome) or 0.0)
            strategy.tell(Trial(0, asked[-1]), [Measurement(0, 0, "ok", {"loss": value})])
        genomes.append([proposal.genome for proposal in asked])
    assert genomes[0] == genomes[1]


def test_the_penalty_is_what_pygmo_is_told_for_a_failure() -> None:
    """Bees fly to a source by its fitness, so another penalty makes another run as soon as something fails."""
    runs = []
    for penalty in (PENALTY, PENALTY, -0.9):
        space = recorded()
        strategy = with_options(BeeColony, space, Objective(), np.random.default_rng(0), population=4, penalty=penalty)
        for number in range(60):
            (proposal,) = strategy.ask(1)
            strategy.tell(Trial(number, proposal), measured(Trial(number, proposal)))
        runs.append(space.vectors)
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


@names
def test_the_global_generator_of_pygmo_is_neither_used_nor_changed(name: str) -> None:
    def next_global() -> float:
        return float(pygmo.population(pygmo.problem(pygmo.rosenbrock(2)), size=1).get_x()[0, 0])

    def run() -> list[Genome]:
        setup = setup_of(f"strategy={name}", "seed=3", "deduplicate=never")
        return [proposal.genome for proposal in trajectory(setup.strategy, setup, 60)]

    pygmo.set_global_rng_seed(1)
    expected = next_global()
    pygmo.set_global_rng_seed(1)
    first = run()
    assert next_global() == expected
    pygmo.set_global_rng_seed(2)
    assert run() == first


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("strategy=gaco strategy.ker=16", "strategy.ker=16: must be <= population=15"),
        ("strategy=gaco strategy.ker=1", "strategy.ker=1: must be from 2 to "),
        ("strategy=gaco strategy.generations=9 strategy.threshold=10", "strategy.threshold=10: must be <= "),
        ("strategy=gaco strategy.q=0", "strategy.q=0: must be above 0"),
        ("strategy=pso strategy.neighb_param=1", "strategy.neighb_param=1: must be >= 2 "),
        ("strategy=pso strategy.neighb_param=31", "strategy.neighb_param=31: must be <= twice the population, 30"),
        ("strategy=pso strategy.variant=7", "strategy.variant=7: must be from 1 to 6"),
        ("strategy=pso strategy.population=1", "strategy.population=1: must be at least 2"),
        ("strategy=pso strategy.limit=3", "strategy.limit: no such key; "),
        ("strategy=abc strategy.limit=9999999999", "strategy.limit=9999999999: must be from 1 to "),
        ("strategy=abc strategy.penalty=inf", "strategy.penalty="),
    ],
)
def test_options_that_pygmo_cannot_take_are_refused_by_name(words: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        setup_of(*words.split())
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_the_largest_and_smallest_options_run() -> None:
    """At the limits of what is allowed, where pygmo's own checks end and it would read foreign memory."""
    for words in (
        "strategy=pso strategy.population=2 strategy.neighb_param=4",
        "strategy=pso strategy.population=5 strategy.neighb_param=10",
        "strategy=pso strategy.population=5 strategy.neighb_type=4 strategy.neighb_param=1",
        "strategy=pso strategy.population=3 strategy.neighb_type=1 strategy.variant=6",
        "strategy=pso strategy.population=7 strategy.neighb_type=3",
        "strategy=gaco strategy.population=2",
        "strategy=gaco strategy.population=9 strategy.acc=1000",
        "strategy=abc strategy.population=2",
    ):
        setup = setup_of(*words.split())
        assert len(trajectory(setup.strategy, setup, 100)) == 100


@names
def test_without_pygmo_one_line_says_what_to_install(name: str, tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['pygmo'] = None\n"
        f"sys.argv = ['nasrun', 'strategy={name}', 'evaluator=synthetic', 'dataset=synthetic']\n"
        "from nasrun.cli.main import main; sys.exit(main())"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == f"nasrun: strategy={name} needs pygmo: pip install 'nasrun[swarm]'\n"
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def pygmo_threads() -> int:
    return sum(thread.name == "pygmo" for thread in threading.enumerate())


def stopped_after(case: Case, trials: int) -> Swarm:
    strategy = made(case, recorded())
    for number in range(trials):
        (proposal,) = strategy.ask(1)
        strategy.tell(Trial(number, proposal), measured(Trial(number, proposal)))
    strategy.ask(2)
    return strategy


def test_thousands_of_strategies_leave_no_thread_behind() -> None:
    gc.collect()
    before = pygmo_threads()
    for number in range(2000):
        strategy = stopped_after(CASES[("pso", "abc")[number % 2]], number % 12)
        assert pygmo_threads() == before + 1
        del strategy
        assert pygmo_threads() == before


def test_a_strategy_that_was_never_asked_has_no_thread_and_a_finished_one_none_any_more() -> None:
    before = pygmo_threads()
    strategy = made(CASES["pso"], recorded())
    assert pygmo_threads() == before
    while not strategy.done:
        (proposal,) = strategy.ask(1)
        strategy.tell(Trial(0, proposal), measured(Trial(0, proposal)))
    until = time.monotonic() + 10
    while pygmo_threads() != before and time.monotonic() < until:
        time.sleep(0.01)
    assert pygmo_threads() == before


def test_strategies_in_a_reference_cycle_are_collected_with_their_threads() -> None:
    gc.collect()
    before = pygmo_threads()
    for _ in range(20):
        strategy: Any = stopped_after(CASES["gaco"], 3)
        strategy.myself = strategy
    del strategy
    gc.collect()
    assert pygmo_threads() == before


@pytest.mark.parametrize("ending", ["", "sys.exit(0)", "threading.Thread(target=gc.collect).start()"])
def test_a_process_that_stops_in_the_middle_of_searches_ends_at_once_and_quietly(ending: str) -> None:
    code = (
        "import gc, sys, threading\n"
        "from tests.strategies.test_swarm import CASES, stopped_after\n"
        "kept = [stopped_after(case, trials) for case in CASES.values() for trials in (0, 1, 5, 9, 20)]\n"
        "for strategy in kept[::2]: strategy.myself = strategy\n"
        "del strategy, kept[::3]\n"
        f"{ending}"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_what_goes_wrong_inside_is_raised_outside() -> None:
    def work(box: Any) -> None:
        box.fitness(np.zeros(3))
        raise RuntimeError("no good")

    inside = AskTellThread(work, 3)
    assert np.array_equal(inside.advance([]), np.zeros((1, 3)))
    with pytest.raises(RuntimeError, match="no good"):
        inside.advance([1.0])
    inside.close()
    inside.close()
