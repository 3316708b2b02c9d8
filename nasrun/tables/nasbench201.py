"""The table of NAS-Bench-201: 15,625 cells on three data sets.

X. Dong and Y. Yang, "NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture Search", ICLR 2020
(arXiv 2001.00326); the topology search space of "NATS-Bench", TPAMI 2021 (arXiv 2009.00437).

Rows stand in the benchmark's own order. An accuracy is the mean over the benchmark's one to three training seeds, with
the six decimals (of percent) that it was exported with. The 12 epochs are trainings of their own, with a schedule of
their own, and not the twelfth epoch of the 200. `cifar10` validation accuracies are of networks trained on half of the
training data and measured on the other half, test accuracies of networks trained on all of it. `cifar100` and
`imagenet16` split the original test data into a validation and a test half.
"""

from collections.abc import Mapping

import numpy as np

from nasrun.core import Genome, SearchSpace, Token
from nasrun.tables.base import ShippedTable, Trainings

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
"""The names on the six edges 0-1, 0-2, 1-2, 0-3, 1-3, 2-3; their places here are the digits of a cell's code."""

_DIGIT: dict[Token, int] = {name: digit for digit, name in enumerate(OPERATIONS)}
EDGES = 6
UNITS = 100_000_000
"""Accuracies are stored as whole numbers of millionths of a percent."""


class NasBench201(ShippedTable):
    """Arrays: `code` (base-5 number of the operations, first edge first), `parameters_<dataset>` and
    `<validation or test>_<dataset>_<epochs>` (whole numbers of `1 / UNITS`), each (15625,)."""

    name = "nasbench201"
    space = "nasbench201"
    datasets = ("cifar10", "cifar100", "imagenet16")
    epochs = (12, 200)
    resolution = 1 / UNITS

    def _prepare(self, arrays: Mapping[str, np.ndarray]) -> None:
        self._rows = np.argsort(arrays["code"])

    def trainings(self, dataset: str, epochs: int) -> Trainings:
        validation = self.arrays[f"validation_{dataset}_{epochs}"] / UNITS
        test = self.arrays[f"test_{dataset}_{epochs}"] / UNITS
        return Trainings(np.arange(len(validation) + 1), validation, test, {})

    def parameters(self, dataset: str) -> np.ndarray:
        return self.arrays[f"parameters_{dataset}"]

    def find(self, space: SearchSpace, genome: Genome) -> int | None:
        """Row, which is the benchmark's index, of six names of operations in the order of the edges."""
        code = code_of(genome)
        return None if code is None else int(self._rows[code])


def code_of(genome: Genome) -> int | None:
    """The number of a cell whose digits in base 5 are its operations; None for what is no cell of the benchmark."""
    if len(genome) != EDGES:
        return None
    code = 0
    for token in genome:
        digit = _DIGIT.get(token)
        if digit is None:
            return None
        code = code * len(OPERATIONS) + digit
    return code
