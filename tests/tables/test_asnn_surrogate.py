"""The model of the ASNN paper's tables: it gives back what it was made of, and guesses what was left out."""

import numpy as np
import pytest

from nasrun.core import Job, Proposal, Trial
from nasrun.core.options import ConfigError
from nasrun.tables.asnn import UNITS, Asnn
from nasrun.tables.asnn_surrogate import AsnnSurrogate
from tests.support import setup_of


@pytest.fixture(scope="module")
def printed() -> dict[tuple[int, ...], np.ndarray]:
    table = Asnn()
    table.load()
    rows = zip(table.arrays["widths"].tolist(), table.arrays["accuracies"] / UNITS, strict=True)
    return {tuple(width for width in widths if width): values for widths, values in rows}


@pytest.mark.parametrize("depth", [2, 3])
def test_the_means_are_the_printed_ones_up_to_their_noise(depth: int, printed: dict) -> None:
    model = AsnnSurrogate(depth)
    mine = {widths: values for widths, values in printed.items() if len(widths) == depth}
    assert len(model.rows) == len(mine)
    off = np.array([model.mean(widths) - values.mean() for widths, values in mine.items()])
    noise = np.array([values.std(ddof=1) / 10**0.5 for values in mine.values()])
    assert np.abs(off / noise).mean() < 1.5
    deviations = np.array([model.deviation(widths) / values.std(ddof=1) for widths, values in mine.items()])
    assert 0.8 < np.exp(np.log(deviations).mean()) < 1.25


def test_an_architecture_that_is_left_out_is_guessed(printed: dict) -> None:
    """Better than by the mean of the others, by far."""
    whole = AsnnSurrogate(2)
    mine = [widths for widths in printed if len(widths) == 2]
    off = [
        AsnnSurrogate(2, (row,)).mean(mine[place]) - printed[mine[place]].mean() for place, row in enumerate(whole.rows)
    ]
    assert np.sqrt(np.mean(np.square(off))) < 0.001
    assert np.std([printed[widths].mean() for widths in mine]) > 0.01


def test_repeats_are_drawn_around_the_mean_and_the_winner_is_tested_by_it() -> None:
    setup = setup_of("evaluator=asnn_surrogate", "search_space=mlp", "search_space.max_width=732", "dataset=mnist")
    trial = Trial(0, Proposal((2, 256, 16)))
    found = [m.metrics["val_accuracy"] for m in setup.evaluator.evaluate([Job(trial, 0, seed) for seed in range(400)])]
    mean = setup.evaluator.final(Job(trial, 0, 0))["metrics"]["test_accuracy"]
    deviation = AsnnSurrogate(2).deviation((256, 16))
    assert np.mean(found) == pytest.approx(mean, abs=4 * deviation / 20)
    assert np.std(found) == pytest.approx(deviation, rel=0.2)
    assert all(value * 10_000 == pytest.approx(round(value * 10_000)) for value in found)


def test_networks_that_the_tables_do_not_have_are_refused() -> None:
    with pytest.raises(ConfigError, match="with two or with three hidden layers"):
        setup_of("evaluator=asnn_surrogate", "search_space=mlp", "search_space.max_depth=3", "dataset=mnist")
