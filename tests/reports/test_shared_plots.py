"""Pictures of searches with shared weights."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nasrun.core import Measurement, Objective, Proposal, Trial
from nasrun.reports.plots import write_plots
from nasrun.reports.shared_plots import draw_cells, draw_sampled, moving_average, node_places
from nasrun.reports.shared_table import write_shared
from nasrun.spaces.micro_cell.encoding import loose_ends
from nasrun.spaces.micro_cell.space import MicroCell
from nasrun.storage.events import SharedTrained
from nasrun.storage.records import TrialRecord

OPERATIONS: Any = ["conv3", "conv5", "avg3", "max3", "identity"]


def space_of(**options: Any) -> MicroCell:
    return MicroCell(**{"operations": OPERATIONS, "blocks": 4, "layout": "cr", **options})


def test_the_moving_average_is_of_the_last_hundred() -> None:
    values = np.random.default_rng(0).random(250)
    expected = [values[max(0, end - 100) : end].mean() for end in range(1, 251)]
    np.testing.assert_allclose(moving_average(values), expected, rtol=1e-9)


def test_the_first_maximum_is_marked() -> None:
    values = np.array([0.5, 1.0, 0.25, 1.0])
    figure = draw_sampled({"ENAS": (np.arange(4), values), "I-ENAS": (np.arange(4), values / 2)}, "accuracy")
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "first maximum: trial 1, 1" in labels
    assert "first maximum: trial 1, 0.5" in labels
    assert "ENAS: mean of 4" in labels


@pytest.mark.parametrize("seed", range(8))
def test_a_cell_is_drawn_with_all_its_lines(seed: int) -> None:
    space = space_of()
    genome = space.sample(np.random.default_rng(seed))
    graphs = space.cell_graphs(genome)
    figure = draw_cells(graphs)
    assert [axes.get_title("left") for axes in figure.axes] == ["Convolution cell", "Reduction cell"]
    for axes, cell, graph in zip(figure.axes, space.cells(genome), graphs.values(), strict=True):
        places = node_places(graph)
        assert len(set(places.values())) == len(places)
        rows = [y for node, (_, y) in places.items() if node < len(places) - 1]
        assert len(set(rows)) == len(rows)
        # A line for each input of a block, and one from each loose end to the output.
        assert len(axes.lines) == 2 * space.blocks + len(loose_ends(cell))
        for line in axes.lines:  # from left to right, though it may go up and down
            assert list(line.get_xdata()) == sorted(line.get_xdata())


def test_runs_with_shared_weights_have_more_pictures(tmp_path: Path) -> None:
    space, rng = space_of(layout="c"), np.random.default_rng(1)
    records = {
        number: TrialRecord(
            Trial(number, Proposal(space.sample(rng))), [Measurement(number, 0, "ok", {"val_accuracy": number / 5})]
        )
        for number in range(5)
    }
    names = {path.stem for path in write_plots(tmp_path, records, space, Objective())}
    assert "cell" in names
    assert "sampled" not in names
    write_shared(tmp_path, [SharedTrained(version=1, metrics={"train_loss": 2.0}, seconds=1.5)])
    assert (tmp_path / "shared.csv").read_text() == "epoch,train_loss,seconds\n1,2.0,1.5\n"
    names = {path.stem for path in write_plots(tmp_path, records, space, Objective())}
    assert {"cell", "sampled"} <= names
