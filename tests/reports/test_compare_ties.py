"""Ties: what cannot be told apart is equal, however its values were shuffled, scaled or repeated."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasrun.config.compose import compose_config, task_config
from nasrun.core import Measurement, Objective
from nasrun.core.averages import exact_mean
from nasrun.reports.compare import statistics
from nasrun.reports.compare.numbers import measures
from nasrun.reports.compare.runs import ComparedRun, compare_runs
from nasrun.reports.compare.ties import merge, tolerance
from nasrun.runner.run import start

decimals = st.integers(0, 10_000).map(lambda value: value / 10_000)
"""Accuracies of a table with four decimals."""


@given(st.lists(decimals, min_size=1, max_size=6), st.integers(1, 7), st.randoms())
def test_a_mean_is_the_same_however_values_are_shuffled_and_repeated(values: list[float], times: int, rng) -> None:
    repeated = values * times
    rng.shuffle(repeated)
    assert exact_mean(repeated) == exact_mean(values)
    objective = Objective()
    told = [Measurement(0, place, "ok", {"val_accuracy": value}) for place, value in enumerate(repeated)]
    assert objective.score(told) == exact_mean(values)


@given(st.lists(decimals, min_size=2, max_size=20), st.integers(-30, 30), st.randoms())
def test_ranks_are_the_same_however_values_are_shuffled_scaled_and_disturbed(
    values: list[float], power: int, rng
) -> None:
    numbers, scale = np.array(values), 3.0**power
    expected = statistics.ranks(numbers[None])[0]
    noise = np.array([rng.uniform(-1, 1) for _ in values]) * 1e-12
    order = list(range(len(values)))
    rng.shuffle(order)
    found = merge((scale * (numbers + noise))[order], scale * 0.5e-4)
    assert statistics.ranks(found[None])[0].tolist() == expected[order].tolist()
    untouched = merge(numbers, 0.5e-4)
    assert untouched.tolist() == values  # equal values stay as they are, to the bit


@given(st.lists(decimals, min_size=2, max_size=12))
def test_equal_groups_do_not_differ_in_any_number(values: list[float]) -> None:
    first = np.array(values)
    second = np.array([sum([value] * 3) / 3 for value in values])  # rounded twice, as means once were
    everything = merge(np.concatenate([first, second]), 1e-9)
    first, second = everything[: len(values)], everything[len(values) :]
    assert statistics.permutation_test(first, second) == 1
    assert statistics.paired_cohen_d(first, second) == 0
    assert statistics.friedman(np.stack([first, second], axis=1)) == 1
    assert statistics.ranks(np.stack([first, second], axis=1)).mean(axis=0).tolist() == [1.5, 1.5]
    assert statistics.bootstrap_mean(first) == statistics.bootstrap_mean(second)


def test_what_is_not_finite_stays() -> None:
    numbers = np.array([np.nan, 0.5, 0.5 + 1e-13, np.inf])
    assert merge(numbers, 1e-9).tolist()[1:] == [0.5, 0.5, np.inf]
    assert np.isnan(merge(numbers, 1e-9)[0])


def _run(directory: Path, *words: str) -> ComparedRun:
    quiet = ["search_space=nasbench201", "evaluator=table", "trials=12", "output.plots=false", "output.console=none"]
    start(task_config(compose_config([*quiet, *words])), directory, unique=False, choices={"strategy": "random"})
    return compare_runs([directory]).runs[0]


def test_repeated_look_ups_are_no_difference(tmp_path: Path) -> None:
    """The same search with one and with three look-ups per trial: nothing differs, whatever a sum over 3 rounds to."""
    for seed in range(5):
        for repeats in (1, 3):
            _run(tmp_path / f"{seed}_{repeats}", f"seed={seed}", f"evaluator.repeats={repeats}")
    for measure in measures(compare_runs([tmp_path], ["evaluator.repeats"])):
        [test] = measure.tests
        assert (test.difference, test.p, test.cohen_d, test.a12) == (0.0, 1.0, 0.0, 0.5)
        assert measure.friedman == 1
        first, second = measure.rows
        assert first.rank == second.rank == 1.5
        assert first._replace(group="") == second._replace(group="")


def test_the_tolerance_is_half_of_what_the_metric_can_tell(tmp_path: Path) -> None:
    run = _run(tmp_path / "table", "evaluator.repeats=2")
    numbers = np.array([0.9])
    assert tolerance("val_accuracy", [run], numbers) == pytest.approx(1e-8 / 2 / 2)
    assert tolerance("test_regret", [run], numbers) == pytest.approx(1e-8 / 2)
    assert tolerance("val_loss", [run], np.array([2.0, -4.0, np.nan])) == pytest.approx(4e-9)


@pytest.mark.slow
def test_one_test_image_is_the_resolution_of_a_trained_network(tmp_path: Path) -> None:
    words = ["search_space=mlp", "dataset=fashion_mnist_mini", "evaluator.epochs=1", "recipe=plain", "trials=1"]
    config = task_config(compose_config([*words, "output.plots=false", "output.console=none", "hardware=cpu"]))
    start(config, tmp_path / "run", unique=False, choices={"strategy": "random"})
    [run] = compare_runs([tmp_path / "run"]).runs
    assert run.data is not None
    assert tolerance("val_accuracy", [run], run.values) == 0.5 / run.data.counts["validation"]
    assert tolerance("test_accuracy", [run], run.values) == 0.5 / run.data.counts["test"]
