"""All figures that `nasrun compare` writes, once more from the tables of the runs and with scipy alone."""

import csv
import itertools
import json
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from tests.conftest import COMMAND

STRATEGIES = ("random", "aging_evolution", "local_search")
SEEDS = 6
MEASURES = {"val_accuracy": 1, "test_accuracy": 1, "val_regret": -1, "test_regret": -1}


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scipy")
    words = f"-m strategy={','.join(STRATEGIES)} dataset=cifar10,cifar100 'seed=range({SEEDS})' trials=30"
    words += " search_space=nasbench201 evaluator=table output.plots=false output.console=none hydra.sweep.dir=swept"
    for line in (words, "compare swept over=dataset"):
        subprocess.run([COMMAND, *shlex.split(line)], cwd=folder, stdin=subprocess.DEVNULL, check=True)
    return folder / "swept"


def table(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def values_of(folder: Path, dataset: str) -> dict[str, dict[str, np.ndarray]]:
    """By measure and strategy the value of each seed, as the tables of the runs have them."""
    found: dict[str, dict[str, dict[int, float]]] = {name: {} for name in MEASURES}
    for summary in folder.glob("*/summary.json"):
        environment = json.loads((summary.parent / "environment.json").read_text())
        if environment["choices"]["dataset"] != dataset:
            continue
        strategy, final = environment["choices"]["strategy"], json.loads(summary.read_text())["final"]
        seed = int(summary.parent.name.rpartition("seed")[2])
        best = max(float(row["val_accuracy"]) for row in table(summary.parent / "trials.csv"))
        for name in MEASURES:
            value = best if name == "val_accuracy" else final[name]
            found[name].setdefault(strategy, {})[seed] = value
    return {
        name: {group: np.array([known[seed] for seed in range(SEEDS)]) for group, known in groups.items()}
        for name, groups in found.items()
    }


def exact_p(first: np.ndarray, second: np.ndarray) -> float:
    def mean(one: np.ndarray, two: np.ndarray, axis: int) -> np.ndarray:
        return np.mean(one - two, axis=axis)

    return float(stats.permutation_test((first, second), mean, permutation_type="samples", n_resamples=np.inf).pvalue)


@pytest.mark.parametrize("dataset", ["cifar10", "cifar100"])
def test_tables_over_seeds(swept: Path, dataset: str) -> None:
    known = values_of(swept, dataset)
    rows = table(swept / "compare" / dataset / "compare.csv")
    assert len(rows) == len(MEASURES) * len(STRATEGIES)
    for name, sign in MEASURES.items():
        ranks = stats.rankdata(np.array([-sign * known[name][group] for group in STRATEGIES]), axis=0).mean(axis=1)
        for group, rank in zip(STRATEGIES, ranks, strict=True):
            [row] = [row for row in rows if (row["measure"], row["group"]) == (name, group)]
            numbers = known[name][group]
            expected = {
                "mean": numbers.mean(),
                "deviation": numbers.std(ddof=1),
                "iqm": stats.trim_mean(numbers, 0.25),
                "best": sign * (sign * numbers).max(),
                "rank": rank,
            }
            for column, value in expected.items():
                assert float(row[column]) == pytest.approx(value, abs=1e-9), (name, group, column)
            drawn = stats.bootstrap(
                (numbers,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(0)
            )
            low, high = drawn.confidence_interval
            width = max(high - low, 1e-12)
            assert float(row["low"]) == pytest.approx(low, abs=0.06 * width)
            assert float(row["high"]) == pytest.approx(high, abs=0.06 * width)


@pytest.mark.parametrize("dataset", ["cifar10", "cifar100"])
def test_tests_of_pairs(swept: Path, dataset: str) -> None:
    known = values_of(swept, dataset)
    rows = table(swept / "compare" / dataset / "pairs.csv")
    for name, sign in MEASURES.items():
        ours = [row for row in rows if row["measure"] == name]
        assert len(ours) == len(list(itertools.combinations(STRATEGIES, 2)))
        raw = []
        for row in ours:
            first, second = (sign * known[name][row[place]] for place in ("first", "second"))
            raw.append(exact_p(first, second))
            assert first.mean() >= second.mean() - 1e-12, "the better one first"
            assert float(row["p"]) == pytest.approx(raw[-1], abs=1e-9)
            assert float(row["difference"]) == pytest.approx(sign * (first - second).mean(), abs=1e-12)
            # The paired t statistic is the effect size times the root of the number of pairs.
            statistic = stats.ttest_rel(first, second).statistic / np.sqrt(SEEDS)
            assert float(row["cohen_d"]) == pytest.approx(statistic, abs=1e-9)
            larger = stats.mannwhitneyu(first, second).statistic / SEEDS**2
            assert float(row["a12"]) == pytest.approx(larger, abs=1e-12)
        order, running = np.argsort(raw), 0.0
        for place, index in enumerate(order):
            running = max(running, min(1.0, raw[index] * (len(raw) - place)))
            assert float(ours[index]["p_holm"]) == pytest.approx(running, abs=1e-9)


def test_friedman_and_the_critical_difference(swept: Path) -> None:
    for dataset in ("cifar10", "cifar100"):
        known, text = values_of(swept, dataset), (swept / "compare" / dataset / "compare.md").read_text()
        p = stats.friedmanchisquare(*(known["val_accuracy"][group] for group in STRATEGIES)).pvalue
        critical = stats.studentized_range.ppf(0.95, len(STRATEGIES), np.inf) / np.sqrt(2)
        critical *= np.sqrt(len(STRATEGIES) * (len(STRATEGIES) + 1) / (6 * SEEDS))
        assert f"Friedman's test that all are equal: p = {p:.3g}; two groups differ if their average ranks" in text
        assert f"at least {critical:.2f} apart (Nemenyi, 5 %)" in text


def test_ranks_over_data_sets(swept: Path) -> None:
    means = np.array(
        [
            [values_of(swept, dataset)["test_accuracy"][group].mean() for group in STRATEGIES]
            for dataset in ("cifar10", "cifar100")
        ]
    )
    ranks = stats.rankdata(-means, axis=1).mean(axis=0)
    rows = [row for row in table(swept / "compare" / "over.csv") if row["measure"] == "test_accuracy"]
    assert {row["group"]: float(row["average_rank"]) for row in rows} == pytest.approx(
        dict(zip(STRATEGIES, ranks, strict=True))
    )
