"""Limits that steer: what is drawn, mutated and mixed uses most of what is allowed, in every space with widths."""

import pickle

import numpy as np
import pytest

from nasrun.config.build import Setup
from nasrun.core import Genome, SearchSpace, Task
from nasrun.strategies.steering import FLOOR, SteeredSpace, Steering
from nasrun.strategies.wrappers import Constraints
from tests.support import SHORTER, options, setup_of, trajectory

TASK = Task("colour", 3, 32, 32, 10)
LIMIT = 100_000


def space_of(name: str) -> SearchSpace:
    return setup_of(f"search_space={name}", "strategy=random").space


def has_widths(space: SearchSpace) -> bool:
    return bool(space.width_positions(space.sample(np.random.default_rng(0))))


WITH_WIDTHS = [name for name in options("search_space") if has_widths(space_of(name))]

with_widths = pytest.mark.parametrize("name", WITH_WIDTHS)


def steered(name: str, constraints: Constraints, **more: bool) -> tuple[SearchSpace, Steering, SteeredSpace]:
    space = space_of(name)
    steering = Steering(space, TASK, constraints, **more)  # type: ignore[arg-type]
    return space, steering, SteeredSpace(space, steering)


def drawn(space: SearchSpace, count: int, seed: int = 0) -> list[Genome]:
    rng = np.random.default_rng(seed)
    return [space.sample(rng) for _ in range(count)]


def test_spaces_with_widths_are_found() -> None:
    assert {"staged_cnn", "sequential_cnn", "macro_cnn", "mlp"} <= set(WITH_WIDTHS)


@with_widths
def test_width_positions_name_tokens_that_may_be_any_width(name: str) -> None:
    space, rng = space_of(name), np.random.default_rng(1)
    for genome in drawn(space, 50):
        for place in space.width_positions(genome):
            assert isinstance(genome[place], int)
            legal = [token for token in space.choices(genome[:place]) if isinstance(token, int)]
            other = legal[int(rng.integers(len(legal)))]
            genome = (*genome[:place], other, *genome[place + 1 :])
        space.validate(genome)


@with_widths
@pytest.mark.parametrize(
    "constraints",
    [Constraints(parameters=LIMIT), Constraints(flops=10_000_000), Constraints(parameters=LIMIT, flops=3_000_000)],
    ids=["parameters", "flops", "both"],
)
def test_what_is_fitted_is_within_the_limits_and_stays_as_it_is(name: str, constraints: Constraints) -> None:
    space, _, view = steered(name, constraints)
    for genome in drawn(space, 100):
        fitted = view.fit(genome)
        space.validate(fitted)
        assert view.fit(fitted) == fitted
        places = set(space.width_positions(genome))
        same = [place for place in range(len(genome)) if place not in places]
        assert [fitted[place] for place in same] == [genome[place] for place in same]
        smallest = genome
        for place in places:
            least = min(token for token in space.choices(genome[:place]) if isinstance(token, int))
            smallest = (*smallest[:place], least, *smallest[place + 1 :])
        assert constraints.allow(space.cost(fitted, TASK)) == constraints.allow(space.cost(smallest, TASK))
        if FLOOR <= constraints.usage(space.cost(genome, TASK)) <= 1:
            assert fitted == genome


REACHED = {"staged_cnn": 0.9, "mlp": 0.95, "macro_cnn": 0.75, "sequential_cnn": 0.4}


@pytest.mark.parametrize(("name", "most"), REACHED.items())
def test_networks_use_most_of_a_limit(name: str, most: float) -> None:
    """`sequential_cnn` has five widths, and many genomes that reach the limit with none of them."""
    space, steering, view = steered(name, Constraints(parameters=LIMIT))
    before = [steering.usage(genome) for genome in drawn(space, 200)]
    after = [steering.usage(genome) for genome in drawn(view, 200)]
    assert max(after) <= 1
    assert np.percentile(after, 10) >= most
    assert np.median([usage for usage in before if usage <= 1]) < np.percentile(after, 25)


@with_widths
def test_everything_that_draws_is_steered(name: str) -> None:
    space, steering, view = steered(name, Constraints(parameters=LIMIT))
    rng = np.random.default_rng(5)
    for first, second in zip(drawn(view, 20, 1), drawn(view, 20, 2), strict=True):
        made = [mutate(first, rng) for mutate in view.mutations.values()]
        made += [view.crossover(first, second, rng), view.decode(rng.random(len(view.encode(first))))]
        made += view.neighbours(first)[:20]
        for genome in made:
            space.validate(genome)
            assert steering.usage(genome) <= 1
            assert view.fit(genome) == genome
        assert view.decode(view.encode(first)) == first


def test_mutations_still_change_what_they_are_named_for() -> None:
    _, _, view = steered("staged_cnn", Constraints(parameters=LIMIT))
    rng = np.random.default_rng(0)
    for name, mutate in view.mutations.items():
        parents = drawn(view, 40, 3)
        changed = [mutate(genome, rng) != genome for genome in parents]
        assert sum(changed) > 10, f"{name} changed {sum(changed)} of 40"


def test_without_growth_networks_are_made_smaller_only() -> None:
    space, _, view = steered("staged_cnn", Constraints(parameters=LIMIT), grow=False)
    for genome in drawn(space, 200):
        fitted = view.fit(genome)
        if space.cost(genome, TASK).parameters <= LIMIT:
            assert fitted == genome
        else:
            assert FLOOR / 2 * LIMIT < space.cost(fitted, TASK).parameters <= LIMIT


def test_latency_steers_by_what_is_predicted() -> None:
    space = space_of("staged_cnn")

    def predict(genome: Genome) -> float:
        return 0.1 * space.layers(genome) + space.cost(genome, TASK).flops / 1e7

    steering = Steering(space, TASK, Constraints(), latency=(4.0, predict))
    fitted = [steering.fit(genome) for genome in drawn(space, 100)]
    usage = [predict(genome) / 4.0 for genome in fitted]
    assert max(usage) <= 1
    assert np.percentile(usage, 10) > 0.85
    unknown = Steering(space, TASK, Constraints(parameters=LIMIT), latency=(4.0, lambda genome: None))
    assert all(space.cost(unknown.fit(genome), TASK).parameters <= LIMIT for genome in drawn(space, 20))


def test_known_networks_are_scaled_and_steered_spaces_can_be_pickled() -> None:
    space, steering, view = steered("staged_cnn", Constraints(parameters=LIMIT))
    known = view.known()
    assert list(known) == list(space.known())
    assert all(FLOOR <= steering.usage(genome) <= 1 for genome in known.values())
    tiny = steered("staged_cnn", Constraints(parameters=1500))[2].known()
    assert 0 < len(tiny) < len(known)  # some have more at their smallest widths
    again = pickle.loads(pickle.dumps(view))
    assert drawn(again, 5) == drawn(view, 5)


# In a run


def usages(setup: Setup, count: int = 60) -> list[float]:
    proposals = trajectory(setup.strategy, setup, count)
    costs = [setup.space.cost(proposal.genome, setup.dataset.task) for proposal in proposals]
    return [cost.parameters / LIMIT for cost in costs]


EVERY = [name for name in options("strategy") if name not in ("asnn", "grid", "miha", "fixed", "derived")]


@pytest.mark.parametrize("strategy", EVERY)
def test_every_strategy_proposes_what_uses_most_of_the_limit(strategy: str) -> None:
    words = (f"constraints.parameters={LIMIT}", *SHORTER.get(strategy, ()))
    setup = setup_of("search_space=staged_cnn", f"strategy={strategy}", *words)
    found = usages(setup)
    assert len(found) == 60 or setup.strategy.done
    assert max(found) <= 1
    assert np.percentile(found, 10) > 0.85


def test_steering_can_be_turned_off_and_is_off_without_limits_of_the_users_own() -> None:
    base = ("search_space=staged_cnn", "strategy=random")
    off = setup_of(*base, f"constraints.parameters={LIMIT}", "constraints.steer=false")
    assert off.steered is off.space
    assert np.median(usages(off)) < 0.6
    for free in (setup_of(*base), setup_of(*base, "constraints.flops=null")):
        assert free.steered is free.space
    cells = setup_of("search_space=nasbench201", f"constraints.parameters={10**7}")
    assert cells.steered is cells.space  # its genomes hold no widths


def test_costs_that_are_objectives_are_not_driven_up() -> None:
    words = ("search_space=staged_cnn", "strategy=nsga2", f"constraints.parameters={LIMIT}")
    found = usages(setup_of(*words, "objective.metric=[val_accuracy,parameters]"))
    assert max(found) <= 1
    assert min(found) < 0.3


@pytest.mark.parametrize("strategy", ["fixed", "grid"])
def test_genomes_that_are_named_are_left_as_they_are(strategy: str) -> None:
    text = "relu-cn_r1_k3_s1_c8-bb_r1_k3_s2_c12"
    words = ("search_space=staged_cnn", f"strategy={strategy}", f"strategy.genomes=[{text}]")
    setup = setup_of(*words, f"constraints.parameters={LIMIT}")
    assert setup.space.format(setup.strategy.ask(1)[0].genome) == text


# The automatic bound, and what is said of what is turned down


def test_the_automatic_bound_follows_the_size_of_the_image() -> None:
    def bound(side: int) -> int | None:
        words = ("search_space=sequential_cnn", "strategy=random", f"dataset.height={side}", f"dataset.width={side}")
        return setup_of(*words, "dataset.samples=60").constraints.flops

    assert [bound(side) for side in (8, 28, 32)] == [20_000_000] * 3
    assert bound(64) == 80_000_000
    assert bound(96) == 180_000_000


@pytest.mark.parametrize("own", ["parameters=100000", "latency_ms=5", "flops=1000000", "flops=null"])
def test_the_automatic_bound_is_off_where_the_user_sets_a_limit(own: str) -> None:
    setup = setup_of("search_space=sequential_cnn", f"constraints.{own}")
    assert setup.constraints.flops in (None, 1_000_000)
    assert not setup.constraints.automatic


def test_what_is_turned_down_is_said() -> None:
    setup = setup_of(
        "search_space=sequential_cnn", "strategy=random", "dataset.height=32", "dataset.width=32", "seed=1"
    )
    lines: list[str] = []
    for _ in range(60):
        setup.strategy.ask(1)
        lines += setup.strategy.messages()
    assert [line.split()[1] for line in lines] == ["1", "2", "5", "10", "20", "50"][: len(lines)]
    assert len(lines) >= 3
    assert "over constraints.flops=auto, which is 20,000,000 (" in lines[0]
    assert lines[0].endswith(" FLOPs); constraints.flops=null removes the limit")
    assert list(setup.strategy.messages()) == []
    setup = setup_of("strategy=random", "constraints.parameters=20000", "constraints.steer=false")
    setup.strategy.ask(5)
    assert "over constraints.parameters=20000 (" in setup.strategy.messages()[0]
