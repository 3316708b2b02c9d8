"""What strategies begin with: known networks, or genomes of one's own."""

import csv
from pathlib import Path

import pytest

from nasrun.config.sections import kind_of
from nasrun.core import Measurement, Strategy, Trial
from nasrun.core.options import ConfigError, options
from tests.support import SHORTER, made_run, setup_of, strategy_setup, trajectory
from tests.support import options as option_names

OWN = ("relu-cn_r1_k3_s1_c8-bb_r1_k3_s2_c12", "hswish-cn_r1_k3_s2_c8-cn_r2_k3_s2_c16")


def _takes_start(name: str) -> bool:
    return "start" in options(kind_of(strategy_setup(name).config, "strategy", Strategy))  # type: ignore[type-abstract]


WITH_START = [name for name in option_names("strategy") if _takes_start(name)]

with_start = pytest.mark.parametrize("strategy", WITH_START)


def test_strategies_with_populations_take_a_start() -> None:
    assert {"aging_evolution", "genetic", "nsga2", "pso", "gaco", "abc", "pbt", "asha", "local_search"} <= set(
        WITH_START
    )
    assert "miha" not in WITH_START  # one network


def first(strategy: str, count: int, *words: str) -> list[tuple[str, str]]:
    setup = setup_of("search_space=staged_cnn", f"strategy={strategy}", *SHORTER.get(strategy, ()), *words)
    proposals = trajectory(setup.strategy, setup, count)
    return [(setup.space.format(proposal.genome), proposal.origin) for proposal in proposals]


@with_start
def test_known_networks_come_first_scaled_to_the_limits(strategy: str) -> None:
    words = ("constraints.parameters=50000", "strategy.start=known")
    setup = setup_of("search_space=staged_cnn", *words)
    known = [setup.space.format(genome) for genome in setup.steered.known().values()]
    found = [text for text, origin in first(strategy, 40, *words) if origin == "known"]
    # Local search climbs from each in turn; some have a small population at their defaults.
    population = setup_of("search_space=staged_cnn", f"strategy={strategy}").config["strategy"].get("population")
    # The first bracket of Hyperband has nine.
    count = {"local_search": 1, "abc": 4, "hyperband": 9}.get(strategy, min(len(known), population or len(known)))
    assert found[:count] == known[:count]
    assert len(found) == count or strategy == "local_search"


@with_start
def test_genomes_of_ones_own_come_first_as_they_are(strategy: str) -> None:
    found = first(strategy, 2, f"strategy.start=[{','.join(OWN)}]", "constraints.flops=null")
    assert found[0] == (OWN[0], "known")
    if strategy != "local_search":
        assert found[1] == (OWN[1], "known")


@with_start
def test_the_search_goes_on_after_the_start(strategy: str) -> None:
    found = first(strategy, 40, f"strategy.start=[{','.join(OWN)}]")
    assert any(origin != "known" for _, origin in found)
    assert found == first(strategy, 40, f"strategy.start=[{','.join(OWN)}]")


def test_local_search_climbs_from_each_in_turn() -> None:
    setup = setup_of("search_space=staged_cnn", "strategy=local_search", f"strategy.start=[{','.join(OWN)}]")
    origins = []
    for number in range(400):
        proposal = setup.strategy.ask(1)[0]
        origins.append((proposal.origin, setup.space.format(proposal.genome)))
        score = 0.5 if proposal.origin == "known" else 0.1  # no neighbour is better: each is a local optimum
        setup.strategy.tell(Trial(number, proposal), [Measurement(number, 0, "ok", {"val_accuracy": score})])
        if len([1 for origin, _ in origins if origin == "known"]) == 2:
            break
    assert [text for origin, text in origins if origin == "known"] == list(OWN)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["strategy.start=best"], "strategy.start=best: expected one of none, known, auto or a list"),
        (["strategy.start=[]"], "strategy.start=[]: must not be empty"),
        (["strategy.start=[resnet]"], "strategy.start=[resnet]: character 7"),
        (["search_space=sequential_cnn", "strategy.start=known"], "strategy.start=known: the search space has no"),
        (["search_space.blocks=[ds]", "strategy.start=known"], "strategy.start=known: the search space has no"),
        (
            [f"strategy.start=[{','.join(OWN)}]", "strategy.population=1", "strategy.sample=1"],
            f"strategy.start=[{','.join(OWN)}"[:60],
        ),
        (
            [f"strategy.start=[{OWN[0]}]", "constraints.parameters=1000"],
            f"strategy.start=[{OWN[0]}]: over constraints.parameters=1000 (2,546 p",
        ),
    ],
)
def test_what_cannot_be_started_with_is_refused(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        setup_of("search_space=staged_cnn", *words)
    assert str(caught.value).startswith(message)
    assert len(str(caught.value).splitlines()) == 1


def test_of_more_known_networks_than_there_is_room_for_the_first_are_taken() -> None:
    found = first("aging_evolution", 4, "strategy.population=2", "strategy.sample=1", "strategy.start=known")
    assert [origin == "known" for _, origin in found] == [True, True, False, False]


def test_tables_say_what_was_known(tmp_path: Path) -> None:
    words = ["search_space=staged_cnn", "strategy=aging_evolution", "strategy.start=known", "strategy.population=11"]
    words += ["evaluator=synthetic", "dataset=synthetic", "strategy.sample=4", "trials=14"]
    words += ["output.console=none", "output.plots=false"]
    made_run(tmp_path / "run", *words)
    with open(tmp_path / "run" / "trials.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["origin"] for row in rows[:11]] == ["known"] * 10 + ["sample"]
    assert not any(row["origin"] == "known" for row in rows[11:])
