"""Pools of which the best by a score of untrained networks is proposed."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nasrun.core import Genome, SearchSpace
from nasrun.core.options import ConfigError
from nasrun.core.wrapped_space import WrappedSpace
from nasrun.evaluators.proxies.screening import Screening, rank_sums
from nasrun.spaces.nasbench201.space import NASBench201
from nasrun.strategies.prescreen import PrescreenedSpace
from tests.support import setup_of, trajectory

SMALL = (
    "search_space=nasbench201",
    "search_space.channels=2",
    "search_space.cells=1",
    "dataset.samples=60",
    "dataset.height=8",
    "dataset.width=8",
    "prescreen.images=4",
)


def convolutions(genome: Genome) -> int:
    return sum(str(token).startswith("nor_conv") for token in genome)


def most_convolutions(genomes: Sequence[Genome]) -> Genome:
    return max(genomes, key=convolutions)


class TestPools:
    space = NASBench201()

    def test_a_draw_is_the_best_of_a_pool(self) -> None:
        screened = PrescreenedSpace(self.space, most_convolutions, pool=10, moves=True)
        found = [convolutions(screened.sample(np.random.default_rng(seed))) for seed in range(50)]
        plain = [convolutions(self.space.sample(np.random.default_rng(seed))) for seed in range(50)]
        assert np.mean(found) > np.mean(plain) + 1
        rng = np.random.default_rng(3)
        pool = [self.space.sample(rng) for _ in range(10)]
        alone = PrescreenedSpace(self.space, most_convolutions, pool=10, moves=True)
        assert convolutions(alone.sample(np.random.default_rng(3))) == max(map(convolutions, pool))

    def test_children_are_the_best_of_a_pool_and_differ(self) -> None:
        screened = PrescreenedSpace(self.space, most_convolutions, pool=24, moves=True)
        parent = ("none",) * 6
        rng = np.random.default_rng(0)
        children = [screened.mutations["operation"](parent, rng) for _ in range(8)]
        assert len(set(children)) == 8
        assert all(convolutions(child) == 1 for child in children)

    def test_crossovers_are_the_best_of_a_pool(self) -> None:
        screened = PrescreenedSpace(self.space, most_convolutions, pool=40, moves=True)
        first, second = ("none",) * 6, ("nor_conv_3x3",) * 6
        child = screened.crossover(first, second, np.random.default_rng(0))
        assert convolutions(child) == 5  # both parents give at least one edge

    def test_moves_may_be_left_alone(self) -> None:
        screened = PrescreenedSpace(self.space, most_convolutions, pool=10, moves=False)
        parent, other = ("none",) * 6, ("nor_conv_1x1",) * 6
        for seed in range(5):
            rngs = [np.random.default_rng(seed) for _ in range(2)]
            spaces = (screened, self.space)
            children = [one.mutations["operation"](parent, rng) for one, rng in zip(spaces, rngs, strict=True)]
            children += [one.crossover(parent, other, rng) for one, rng in zip(spaces, rngs, strict=True)]
            assert children[:2] == [children[0]] * 2
            assert children[2:] == [children[2]] * 2

    def test_a_pool_of_known_ones_gives_one_again(self) -> None:
        screened = PrescreenedSpace(self.space, most_convolutions, pool=2, moves=True)
        rng = np.random.default_rng(0)
        drawn = [screened.mutations["operation"](("none",) * 6, rng) for _ in range(60)]
        assert len(set(drawn)) <= 24
        assert len(drawn) == 60


def test_a_wrapped_space_hands_on_all_that_a_space_can_do() -> None:
    public = {name for name, value in vars(SearchSpace).items() if callable(value) and not name.startswith("_")}
    assert public <= set(vars(WrappedSpace))
    space = NASBench201(channels=4)
    wrapped = WrappedSpace(space)
    attributes = {name for name in vars(SearchSpace).keys() | SearchSpace.__annotations__ if not name.startswith("_")}
    assert all(getattr(wrapped, name) == getattr(space, name) for name in attributes - public)


def test_ranks_are_added_up() -> None:
    assert rank_sums([[1.0, 5.0], [2.0, 5.0], [3.0, -float("inf")]]).tolist() == [1, 2, 2]


def test_scores_are_those_of_the_network_and_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    setup = setup_of(*SMALL, "prescreen=[naswot,synflow]", "strategy=random")
    assert isinstance(setup.screening, Screening)
    setup.prepare()
    genomes = [setup.space.sample(np.random.default_rng(seed)) for seed in range(4)]
    rows = [setup.screening.scores(genome) for genome in genomes]
    again = setup_of(*SMALL, "prescreen=[naswot,synflow]", "strategy=random")
    assert again.screening is not None
    assert [again.screening.scores(genome) for genome in genomes[::-1]] == rows[::-1]
    assert setup.screening.best(genomes) == genomes[int(np.argmax(rank_sums(rows)))]
    monkeypatch.setattr(setup.space, "build", None)
    assert [setup.screening.scores(genome) for genome in genomes] == rows


@pytest.mark.parametrize(
    "strategy", ["random", "aging_evolution", "genetic", "nsga2", "local_search", "predictor", "asha", "dqn"]
)
def test_strategies_that_draw_from_the_space_are_screened(strategy: str) -> None:
    words = (*SMALL, f"strategy={strategy}", "prescreen.pool=6")
    found = []
    for seed in range(2):
        means = []
        for prescreen in ("null", "parameters"):
            setup = setup_of(*words, f"prescreen.score={prescreen}", f"seed={seed}")
            proposals = trajectory(setup.strategy, setup, 10)
            sizes = [setup.space.cost(proposal.genome, setup.dataset.task).parameters for proposal in proposals]
            means.append(float(np.mean(sizes)))
        found.append(means)
    assert all(screened > plain for plain, screened in found)


@pytest.mark.parametrize("strategy", ["tpe", "reinforce", "grid", "fixed", "pso"])
def test_strategies_that_draw_nothing_refuse_in_a_line(strategy: str) -> None:
    words = [*SMALL, f"strategy={strategy}", "prescreen=naswot"]
    if strategy == "fixed":
        text = "|none~0|+|none~0|none~1|+|none~0|none~1|nor_conv_3x3~2|"
        words.append(f"strategy.genomes=['{text}']")
    with pytest.raises(ConfigError, match=r"^prescreen.score=naswot: \w+ does not draw") as error:
        setup_of(*words)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("strategy", ["random", "aging_evolution", "nao", "dqn"])
def test_scores_as_inputs_are_for_predictors(strategy: str) -> None:
    with pytest.raises(ConfigError, match=r"^prescreen.inputs=\[flops\]: \w+ does not predict from scores; choose"):
        setup_of(*SMALL, f"strategy={strategy}", "prescreen.inputs=[flops]")


def test_inputs_and_pools_have_scores_of_their_own() -> None:
    words = (*SMALL, "strategy=predictor", "strategy.initial=3", "strategy.candidates=10")
    setup = setup_of(*words, "prescreen.inputs=[parameters,flops]", "prescreen=synflow", "prescreen.pool=2")
    assert setup.screening is not None
    setup.prepare()
    genome = setup.space.sample(np.random.default_rng(0))
    cost = setup.space.cost(genome, setup.dataset.task)
    assert setup.screening.input_scores(genome) == (cost.parameters, cost.flops)
    (synflow,) = setup.screening.scores(genome)
    assert synflow not in (cost.parameters, cost.flops)
    assert len(trajectory(setup.strategy, setup, 6)) == 6


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("prescreen=naswit",), "prescreen.score=naswit: unknown; did you mean 'naswot'?"),
        (("prescreen=naswot", "prescreen.pool=1"), "prescreen.pool=1: must be at least 2"),
        (("prescreen=naswot", "search_space=training_recipe"), None),
        (("prescreen.scores=naswot",), None),
    ],
)
def test_mistakes_are_said_in_a_line(words: tuple[str, ...], text: str | None) -> None:
    with pytest.raises(ConfigError) as error:
        setup_of(*words)
    assert len(str(error.value).splitlines()) == 1
    assert text is None or str(error.value) == text


@pytest.mark.parametrize(
    "strategy",
    [
        "aging_evolution strategy.population=4 strategy.sample=2",
        "predictor strategy.initial=3 strategy.batch=2 strategy.candidates=6 prescreen.inputs=[naswot,flops]",
    ],
)
def test_a_run_that_was_interrupted_goes_on_to_the_same(
    strategy: str, nasrun_inprocess: Callable[[str], Any], tmp_path: Path
) -> None:
    words = " ".join(SMALL) + f" dataset=synthetic evaluator=synthetic strategy={strategy} output.console=none"
    words += " prescreen=naswot prescreen.pool=3 prescreen.moves=false hardware=cpu"
    for name, trials in (("whole", 9), ("part", 5)):
        done = nasrun_inprocess(f"{words} trials={trials} hydra.run.dir={name}")
        assert (done.returncode, done.stderr) == (0, "")
    done = nasrun_inprocess("resume part trials=9")
    assert done.returncode == 0, done.stderr
    rows = [
        [line.split(",")[:4] for line in (tmp_path / name / "trials.csv").read_text().splitlines()]
        for name in ("whole", "part")
    ]
    assert rows[0] == rows[1]
    assert len(rows[0]) == 10


def test_without_images_there_is_no_run(nasrun_inprocess: Callable[[str], Any], tmp_path: Path) -> None:
    words = "search_space=nasbench201 evaluator=table dataset=cifar100 strategy=random trials=3 hydra.run.dir=run"
    done = nasrun_inprocess(f"{words} prescreen=naswot")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "cifar100" in done.stderr
    assert not (tmp_path / "run").exists()
    done = nasrun_inprocess(f"{words} prescreen=parameters output.console=none")  # no images are needed for that
    assert (done.returncode, done.stderr) == (0, "")
