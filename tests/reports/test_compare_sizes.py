"""Runs under different limits side by side: the sizes that they came to, and which of them no smaller one beats."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from nasrun.core import Objective
from nasrun.core.options import ConfigError
from nasrun.reports.compare.runs import ComparedRun, Comparison, compare_runs
from nasrun.reports.compare.sizes import Size, beats, sizes
from tests.reports.test_compare_runs import run

LIMITS = (20_000, 60_000, 200_000)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("limits")
    for limit in LIMITS:
        for seed in (0, 1):
            run(folder / f"{limit}_{seed}", "random", seed, f"constraints.parameters={limit}")
    return folder


def found_in(sweep: Path) -> tuple[Comparison, list[Size]]:
    comparison = compare_runs([sweep], ["constraints.parameters"])
    return comparison, sizes(comparison)


def test_a_sweep_over_limits_shows_sizes_and_the_front(sweep: Path) -> None:
    comparison, found = found_in(sweep)
    assert sorted(one.group for one in found) == sorted(f"parameters={limit}" for limit in LIMITS)
    assert [one.parameters for one in found] == sorted(one.parameters for one in found)
    for one, limit in zip(found, LIMITS, strict=True):
        runs: list[ComparedRun] = list(comparison.groups[one.group])
        assert one.parameters == sum(r.parameters or 0 for r in runs) / 2 <= limit
        assert one.measure == "val_accuracy"  # the made-up landscape has no test set
        assert one.value == pytest.approx(sum(r.values.max() for r in runs) / 2)
    best = max(found, key=lambda one: one.value)
    assert best.on_front
    assert found[0].on_front, "nothing is as small"
    for one in found:
        beaten = [o for o in found if o.parameters <= one.parameters and o.value >= one.value and o is not one]
        assert one.on_front == (not beaten)


def test_a_group_beats_others_by_size_and_value() -> None:
    small, large = (Size("", 1, size, None, "test_accuracy", value, False) for size, value in ((10, 0.5), (20, 0.4)))
    assert beats(small, large, 1.0)
    assert not beats(large, small, 1.0)
    assert not beats(small, large, -1.0)  # of a loss, lower is better
    assert not beats(small, small, 1.0)


def test_the_command_writes_and_shows_them(sweep: Path, tmp_path: Path, nasrun_inprocess: Callable) -> None:
    answer = nasrun_inprocess(f"compare {sweep} by=constraints.parameters --out out")
    assert answer.returncode == 0, answer.stderr
    _, found = found_in(sweep)
    assert "sizes" in answer.stdout
    rows = list(csv.DictReader((tmp_path / "out" / "sizes.csv").open()))
    assert [row["group"] for row in rows] == [one.group for one in found]
    assert [float(row["parameters"]) for row in rows] == [one.parameters for one in found]
    assert [row["on_front"] for row in rows] == [str(int(one.on_front)) for one in found]
    runs = list(csv.DictReader((tmp_path / "out" / "runs.csv").open()))
    assert all(0 < int(row["parameters"]) <= LIMITS[-1] and int(row["flops"]) > 0 for row in runs)
    assert "## Sizes" in (tmp_path / "out" / "compare.md").read_text()
    assert "<h2>Sizes</h2>" in (tmp_path / "out" / "compare.html").read_text()


def test_limits_are_compared_where_that_is_asked_for(sweep: Path) -> None:
    with pytest.raises(ConfigError, match=r"; to compare limits: by=constraints\.parameters$"):
        compare_runs([sweep])
    one = compare_runs([sweep / "20000_0", sweep / "20000_1"])
    assert sizes(one) == []
    assert one.objective == Objective()
