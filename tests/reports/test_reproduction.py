"""Papers' claims compared with runs: the existing files, the measures, and the verdicts."""

import math
import statistics
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml

from nasrun.config.build import build
from nasrun.config.compose import Composer, task_config
from nasrun.core.options import ConfigError, flat, typed
from nasrun.reports.reproduction.measures import GENERATION, PATTERN, STATISTICS, generation_bests
from nasrun.reports.reproduction.plan import Claim, Printed, Selection, names, read_file, read_reproduction
from nasrun.reports.reproduction.table import HEAD, OVERVIEW, cells, overview, read_tables
from nasrun.reports.reproduction.verdict import judge
from tests.documentation import DOCS

OURS = Selection("step", "test_accuracy")
KEPT = read_tables(DOCS / "results")


def figure(value: float, **others: Any) -> Claim:
    return Claim("a figure", Printed(value, **others), OURS)


def order(claimed: Any, **others: Any) -> Claim:
    return Claim("an order", "one against another", OURS, OURS, claimed, **others)


def _as_typed(word: str) -> str:
    """The value of a word as a config that holds it shows it: 0.1 of `key=0.10`."""
    return typed(yaml.safe_load(word.partition("=")[2]))


@pytest.mark.parametrize("name", names())
def test_the_sweeps_of_a_reproduction_are_ones_that_nasrun_takes(name: str) -> None:
    plan = read_reproduction(name)
    known: dict[str, dict[str, set[str]]] = {}
    for step, words in plan.steps.items():
        assert not any(word.startswith(("hydra.", "resume=")) for word in words)
        jobs = Composer().jobs(words, multirun=True)
        config = next(iter(jobs.configs))
        build(task_config(config))  # which refuses what does not go together
        values = {key: {typed(value)} for key, value in flat({k: v for k, v in config.items() if k != "hydra"}).items()}
        values |= {group: {str(option)} for group, option in config.hydra.runtime.choices.items()}
        swept = Composer().values([*(f"{k}={v}" for k, v in (config.hydra.sweeper.params or {}).items()), *words])
        values |= {key: {_as_typed(one) for one in some} for key, some in swept.items()}
        known[step] = values
    for claim in plan.claims:
        for one in (claim.ours, claim.than):
            if one is not None:
                for key, value in one.where.items():
                    assert value in known[one.step][key], f"{claim.says}: {key}={value}"
                statistic = PATTERN.fullmatch(one.measure)
                assert statistic is None or statistic[1] in STATISTICS


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"step": "there: experiment=smoke"}, "steps"),
        ({"steps": {"a": "seed=0"}, "claims": [{"says": "x", "theirs": 1, "step": "b", "measure": "m"}]}, "step 'b'"),
        ({"steps": {"a": "seed=0"}, "claims": [{"says": "x", "theirs": "more", "step": "a", "measure": "m"}]}, "than"),
        ({"steps": {"a": "seed=0"}, "claims": [{"says": "x", "their": 1, "step": "a", "measure": "m"}]}, "theirs"),
        ({"steps": {"a": "seed=0"}, "claims": [], "page": 3}, "page"),
    ],
)
def test_a_file_that_is_wrong_is_said_in_a_line(wrong: dict[str, Any], said: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("# Mine\n" + yaml.safe_dump({"paper": "p", "source": "s", "scale": "c", **wrong}))
    with pytest.raises(ConfigError, match=said):
        read_file(path)


def test_a_figure_agrees_within_both_intervals() -> None:
    ours = dict(enumerate([0.90, 0.92, 0.94, 0.96]))
    mean, deviation = 0.93, statistics.stdev(ours.values())
    near = judge(figure(0.93), ours)
    assert (near.word, near.n, near.mean) == ("agrees", 4, pytest.approx(mean))
    assert near.low is not None
    assert near.high is not None
    assert near.low < mean < near.high
    reach = (near.high - near.low) / 2
    one = math.hypot(reach, 1.96 * deviation)  # of a paper's single run, which varies as ours do
    ten = math.hypot(reach, 1.96 * 0.01 / math.sqrt(10))
    for sign, more in product((-1, 1), (0.999, 1.001)):
        word = "agrees" if more < 1 else "differs"
        assert judge(figure(mean + sign * more * one), ours).word == word
        assert judge(figure(mean + sign * more * ten, n=10, deviation=0.01), ours).word == word


def test_an_order_is_settled_by_pairs_of_one_seed() -> None:
    low = {seed: 0.5 + seed / 100 for seed in range(6)}
    high = {seed: value + 0.001 * (1 + seed) for seed, value in low.items()}
    found = judge(order("above"), {**high, 9: 0.0}, low)
    assert (found.word, found.n, found.p) == ("agrees", 6, 2 / 2**6)
    assert found.mean == pytest.approx(0.0035)
    assert judge(order("above"), low, high).word == "differs"
    assert judge(order("below"), low, high).word == "agrees"
    assert judge(order("alike"), low, high).word == "differs"
    assert judge(order("alike"), low, low).word == "agrees"
    five = {seed: value for seed, value in high.items() if seed < 5}  # with five pairs p cannot fall below 0.0625
    assert judge(order("above"), five, low).word == "not shown"
    assert judge(order("alike"), five, low).word == "not shown"


def test_what_cannot_be_judged_is_not() -> None:
    assert judge(figure(0.9), {}).word == "not run"
    assert judge(order("above"), {0: 1.0}, {1: 1.0}).word == "not run"
    assert judge(figure(0.9), {0: 0.9}).word == "not comparable"
    assert judge(order("above"), {0: 0.9}, {0: 0.8}).word == "not comparable"
    other = judge(order("above", not_comparable="another table"), {0: 0.9, 1: 0.8}, {0: 0.8, 1: 0.7})
    assert (other.word, other.why) == ("not comparable", "another table")


def test_statistics_over_trials_pass_over_those_without_a_value() -> None:
    values = [None, 0.5, 0.7, None, *[0.6] * 30, 0.9, *[0.1] * 10]
    assert generation_bests(values) == {1: 0.7, 2: 0.9}
    assert generation_bests([None] * 30 + [0.5]) == {2: 0.5}
    found = {name: statistic(values, GENERATION) for name, statistic in STATISTICS.items()}
    assert found["highest"] == 0.9
    assert found["first_met"] == 2
    assert found["generations"] == pytest.approx(0.8)
    assert found["first_fifth"] == pytest.approx((0.5 + 0.7 + 0.6 * 5) / 7)
    assert found["last_fifth"] == pytest.approx(0.1)
    assert STATISTICS["generations"](values, 10) == pytest.approx((0.7 + 0.6 + 0.6 + 0.9 + 0.1) / 5)
    assert STATISTICS["first_met"](values, 10) == 4


@pytest.mark.parametrize("table", KEPT, ids=lambda table: table["name"])
def test_results_that_are_kept_are_of_the_claims_as_they_are_now(table: dict[str, Any]) -> None:
    plan = read_reproduction(table["name"])
    assert [claim["claim"] for claim in table["claims"]] == [claim.says for claim in plan.claims]
    assert (table["paper"], table["scale"]) == (plan.paper, plan.scale)
    assert all(len(cells(claim)) == len(HEAD) for claim in table["claims"])


def test_the_page_of_reproductions_begins_with_them() -> None:
    text = (DOCS / "reproductions.md").read_text()
    assert overview(KEPT) in text, "write it again: python scripts/make_docs.py"
    assert text.index(f"| {' | '.join(OVERVIEW)} |") < text.index("\n## ")
