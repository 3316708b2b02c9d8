"""The table that the ASNN learns from, and its network."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nasrun.core import Objective
from nasrun.core.options import ConfigError
from nasrun.storage import journal
from nasrun.storage.events import RunStarted
from nasrun.storage.journal import Journal
from nasrun.strategies.asnn.network import Ensemble, NetworkSettings
from nasrun.strategies.asnn.table import MeasuredTable
from nasrun.tables.asnn import widths_of
from tests.support import run_in, setup_of


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# The table


def test_the_shipped_tables_are_the_papers_grids() -> None:
    for depth, source, rows, best, mean in (
        (2, "two_layer", 25, (256, 16), 0.98310),
        (3, "three_layer", 64, (128, 128, 16), 0.98171),
    ):
        table = MeasuredTable(depth, Objective())
        table.load(source)
        assert (len(table), table.measurements) == (rows, 10 * rows)
        widths, scores = table.best
        assert widths == best
        assert np.mean(scores) == pytest.approx(mean, abs=1e-9)
        assert {size for row in table.augmented(rows, rng())[1] for size in row} == set(
            (16, 32, 64, 128, 256)[: 7 - depth]
        )


@given(st.lists(st.integers(1, 6), min_size=1, max_size=5), st.integers(1, 60), st.integers(0, 100))
def test_training_rows_are_the_scores_in_random_orders(repeats: list[int], rows: int, seed: int) -> None:
    table = MeasuredTable(1, Objective())
    scores = {(place + 1,): [place + i / 10 for i in range(count)] for place, count in enumerate(repeats)}
    for widths, values in scores.items():
        table.add(widths, values)
    inputs, goals = table.augmented(rows, rng(seed))
    assert inputs.shape == (rows, max(repeats))
    assert goals.shape == (rows, 1)
    for row, (width,) in zip(inputs.tolist(), goals.tolist(), strict=True):
        own = scores[(int(width),)]
        assert set(row) == set(own), "every score of the architecture is there, and no other"
        if len(own) == max(repeats):
            assert sorted(row) == own
    shares = [int((goals == widths[0]).sum()) for widths in scores]
    assert max(shares) - min(shares) <= 1
    again = table.augmented(rows, rng(seed))
    assert (again[0] == inputs).all()
    assert (again[1] == goals).all()


def test_orders_and_drawn_scores_differ_between_rows() -> None:
    table = MeasuredTable(1, Objective())
    table.add((1,), [0.1, 0.2, 0.3, 0.4])
    table.add((2,), [0.5, 0.6])
    inputs, goals = table.augmented(400, rng())
    for width, orders in ((1, 24), (2, 14)):
        assert len({tuple(row) for row in inputs[goals[:, 0] == width].tolist()}) == orders


def test_measurements_of_an_architecture_join() -> None:
    table = MeasuredTable(2, Objective())
    table.add((16, 16), [0.9])
    table.add((16, 16), [0.7])
    table.add((32, 16), [])
    assert len(table) == 1
    assert (16, 16) in table
    assert (32, 16) not in table
    assert table.best == ((16, 16), [0.9, 0.7])


def test_losses_are_turned_around() -> None:
    table = MeasuredTable(1, Objective("val_loss", "min"))
    table.add((16,), [0.3, 0.5])
    table.add((32,), [0.1, 0.2])
    assert table.best == ((32,), [-0.1, -0.2])
    assert table.value(table.best[1][0]) == 0.1


def test_only_genomes_of_dense_layers_count() -> None:
    assert widths_of((2, 448, 65), 2) == (448, 65)
    for other in [(2, 448, 65, "relu"), (3, 1, 2, 3), (1, 448, 65), ("a", "b", "c"), ()]:
        assert widths_of(other, 2) is None


def begun(directory: Path) -> Path:
    """A run directory whose journal begins as that of a run does."""
    directory.mkdir()
    log = Journal(directory / journal.NAME)
    log.append(RunStarted(time=0.0))
    log.close()
    return directory


def test_a_run_is_a_table(tmp_path: Path) -> None:
    grid = ("strategy=grid", "search_space=mlp", "search_space.widths=[16,32,64]", "trials=9", "evaluator.repeats=4")
    search, _ = run_in(begun(tmp_path / "run"), *grid, "evaluator.fail_rate=0.2")
    table = MeasuredTable(2, Objective())
    table.load(str(tmp_path / "run"))
    successes = [record for record in search.records.values() if record.status == "ok"]
    assert len(table) == len(successes) > 5
    assert table.measurements == sum(record.repeats for record in successes)
    assert search.best is not None
    assert table.best == (search.best.trial.proposal.genome[1:], search.best.values("val_accuracy"))


def test_a_run_of_another_depth_or_metric_is_no_table(tmp_path: Path) -> None:
    run_in(begun(tmp_path / "run"), "strategy=grid", "search_space=mlp", "search_space.widths=[16,32]", "trials=4")
    for depth, metric in ((3, "val_accuracy"), (2, "test_accuracy")):
        table = MeasuredTable(depth, Objective(metric))
        with pytest.raises(ValueError, match=f"^table=.*holds no architectures of {depth} layers with {metric}"):
            table.load(str(tmp_path / "run"))


def test_tables_that_cannot_be_read_are_refused_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").write_bytes(b"nonsense\nmore nonsense\n")
    for source, words in (
        ("no/such/place", "neither a run directory nor one of two_layer, three_layer"),
        (str(tmp_path), "line 1 is damaged"),
    ):
        with pytest.raises(ConfigError) as caught:
            setup_of("strategy=asnn", "search_space=mlp", f"strategy.table={source}")
        assert str(caught.value).startswith("strategy.table=")
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match=r"^strategy.table=three_layer: holds no architectures of 2 layers"):
        setup_of("strategy=asnn", "search_space=mlp", "strategy.table=three_layer")


# The network


def known(count: int = 40, noise: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Scores (rows, 4) that tell the first of two widths exactly, and nothing of the second."""
    widths = np.array([[2.0 ** (4 + 5 * i / (count - 1)), 2.0 ** (4 + i % 5)] for i in range(count)])
    scores = np.log2(widths[:, :1]) / 10 + rng().normal(0, noise, (count, 4))
    return np.tile(scores, (25, 1)), np.tile(widths, (25, 1))


@pytest.mark.parametrize("outputs", ["log2", "linear"])
def test_the_network_learns_which_widths_go_with_which_scores(outputs: Any) -> None:
    inputs, widths = known()
    ensemble = Ensemble(inputs, widths, NetworkSettings(outputs=outputs, batch_size=50), seed=1)
    assert len(ensemble.losses) == 20
    assert ensemble.losses[-1] < ensemble.losses[0]
    for wanted in (24.0, 60.0, 128.0, 400.0):
        found = ensemble.widths(np.full(4, math.log2(wanted) / 10), 0)
        assert found.shape == (2,)
        assert found[0] == pytest.approx(wanted, rel=0.15)


def test_the_squared_error_gives_means_and_the_absolute_error_medians() -> None:
    # Of five equally likely second widths, 16 to 256: mean 99, median 64. On the log2 scale both are 64.
    inputs, widths = known()
    for loss, outputs, expected in (("squared", "linear", 99), ("absolute", "linear", 64), ("squared", "log2", 64)):
        settings = NetworkSettings(loss=loss, outputs=outputs, epochs=60, members=4, hidden=[16])  # type: ignore[arg-type]
        ensemble = Ensemble(inputs, widths, settings, seed=1)
        found = [ensemble.widths(np.full(4, score), member)[1] for score in (0.5, 0.6, 0.7) for member in range(4)]
        assert np.median(found) == pytest.approx(expected, rel=0.15)


def test_the_scaling_that_the_paper_names_is_only_by_100() -> None:
    inputs, widths = known()
    settings = NetworkSettings(inputs="times_100", hidden=[], epochs=1, batch_size=1000, lr=1e-9)
    ensemble = Ensemble(inputs, widths, settings, seed=0)
    with torch.random.fork_rng([]):
        weights = torch.rand(1, 4, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weights = (2 * weights - 1) * (6 / 6) ** 0.5
    scores = np.array([0.5, 0.6, 0.7, 0.8])
    expected = np.exp2(100 * scores @ weights[0].numpy())
    assert ensemble.widths(scores, 0) == pytest.approx(np.clip(expected, 1, 2**20), rel=1e-4)


def test_the_same_seed_gives_the_same_network_on_any_number_of_threads() -> None:
    inputs, widths = known(noise=0.01)
    found = []
    for threads, seed in ((1, 5), (2, 5), (3, 5), (2, 6)):
        torch.set_num_threads(threads)
        ensemble = Ensemble(inputs, widths, NetworkSettings(epochs=3, members=2), seed)
        assert torch.get_num_threads() == threads
        found.append((ensemble.losses, [ensemble.widths(inputs[7], member).tolist() for member in (0, 1)]))
    assert found[0] == found[1] == found[2]
    assert found[0] != found[3]
    assert found[0][1][0] != found[0][1][1], "members differ"


def test_torchs_global_generator_is_left_alone() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    Ensemble(*known(), NetworkSettings(epochs=1), seed=1)
    assert torch.equal(torch.get_rng_state(), before)


def test_equal_scores_and_widths_are_no_division_by_zero() -> None:
    ensemble = Ensemble(np.full((10, 3), 0.5), np.full((10, 2), 64.0), NetworkSettings(epochs=2), seed=1)
    assert ensemble.widths(np.full(3, 0.5), 0) == pytest.approx([64, 64])
