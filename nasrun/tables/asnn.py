"""The tables of the ASNN paper: dense networks on MNIST, ten training runs each.

"ASNN: Learning to Suggest Neural Architectures from Performance Distributions": 25 networks of two hidden layers, 64 of
three, and the ten suggested by the paper's model, for 50 epochs each. The paper prints one accuracy per training run,
measured on MNIST's test set, and compares networks by it. Therefore it serves as validation accuracy here, and there is
no separate test accuracy.
"""

from collections.abc import Iterator, Mapping

import numpy as np

from nasrun.core import Genome, SearchSpace
from nasrun.core.home import at_home
from nasrun.storage.journal import JournalError
from nasrun.storage.records import read_run
from nasrun.tables.base import ShippedTable, Trainings

PARTS = ("two_layer", "three_layer", "predictions")
INPUTS, OUTPUTS = 28 * 28, 10
ACTIVATION = "relu"
TRAININGS = 10
SHIPPED = ("two_layer", "three_layer")
"""The grids of the paper. Its suggestions, which the shipped file also holds, are left out."""

Widths = tuple[int, ...]
UNITS = 10_000
"""Accuracies are printed with four decimals, and stored as integers in units of the last one."""


class Asnn(ShippedTable):
    """Arrays: `part` (rows,), index into `PARTS`; `widths` (rows, 3), 0 if there is no third layer; `accuracies` (rows,
    10), integers in units of `1 / UNITS`, in the order of the paper's columns."""

    name = "asnn"
    space = "mlp"
    datasets = ("mnist",)
    epochs = (50,)
    resolution = 1 / UNITS / TRAININGS

    def _prepare(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.rows = {tuple(w for w in widths if w): row for row, widths in enumerate(arrays["widths"].tolist())}

    def trainings(self, dataset: str, epochs: int) -> Trainings:
        accuracies = self.arrays["accuracies"]
        rows, repeats = accuracies.shape
        return Trainings(np.arange(rows + 1) * repeats, accuracies.ravel() / UNITS, None, {})

    def parameters(self, dataset: str) -> np.ndarray:
        """Number of weights and biases of dense networks from 784 pixels to ten classes; the third layer is
        optional."""
        first, second, third = self.arrays["widths"].astype(np.int64).T
        last = np.where(third > 0, third, second)
        counts: np.ndarray = (INPUTS + 1) * first + (first + 1) * second + (second + 1) * third + (last + 1) * OUTPUTS
        return counts

    def find(self, space: SearchSpace, genome: Genome) -> int | None:
        """Row of a genome (depth, width, width, ...) of a network with ReLU after each layer."""
        depth = int(genome[0])
        activations = genome[1 + depth :] or getattr(space, "activations", (ACTIVATION,))
        return self.row_of(genome[1 : 1 + depth]) if activations[0] == ACTIVATION else None

    def row_of(self, widths: Genome) -> int | None:
        """Row of the network with these widths of its hidden layers, from first to last."""
        return self.rows.get(widths)

    def rows_of(self, part: str) -> np.ndarray:
        """The rows of one of `PARTS`, in the order of the paper's table."""
        return np.flatnonzero(self.arrays["part"] == PARTS.index(part))


def measured_widths(source: str, depth: int, metric: str) -> Iterator[tuple[Widths, list[float]]]:
    """The widths of dense networks of a depth and the values of a metric that their repeats have.

    `source`: one of `SHIPPED`, or the directory of a run. ValueError if it is neither.
    """
    if source in SHIPPED:
        shipped = Asnn()
        shipped.load()
        for row in shipped.rows_of(source).tolist():
            widths = tuple(width for width in shipped.arrays["widths"][row].tolist() if width)
            if len(widths) == depth:
                yield widths, (shipped.arrays["accuracies"][row] / UNITS).tolist()
        return
    try:
        run = read_run(at_home(source))
    except OSError:
        raise ValueError(f"neither a run directory nor one of {', '.join(SHIPPED)}") from None
    except JournalError as error:
        raise ValueError(str(error)) from None
    for record in run.trials.values():
        found = widths_of(record.trial.proposal.genome, depth)
        if record.trial.proposal.reuse_of is None and found is not None:
            yield found, record.values(metric)


def widths_of(genome: Genome, depth: int) -> Widths | None:
    """The widths of a genome `(depth, width, ...)` of dense layers; None for any other genome."""
    numbers = tuple(token for token in genome if isinstance(token, int))
    return numbers[1:] if len(numbers) == len(genome) == depth + 1 and numbers[0] == depth else None
