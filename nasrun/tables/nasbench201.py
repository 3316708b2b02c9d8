"""The table of NAS-Bench-201: 15,625 cells on three data sets.

X. Dong and Y. Yang, "NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture Search", ICLR 2020
(arXiv 2001.00326); the topology search space of "NATS-Bench", TPAMI 2021 (arXiv 2009.00437).

Rows are in the benchmark's order. An accuracy is the mean over the benchmark's one to three training seeds, with six
decimals (of percent). The training runs of 12 epochs are separate ones with their own schedule, not the first twelve of
the 200 epochs. `cifar10` validation accuracies are those of networks trained on half of the training data and measured
on the other half; test accuracies those of networks trained on all of it. `cifar100` and `imagenet16` split the
original test data into a validation and a test half.
"""

from collections.abc import Mapping

import numpy as np

from nasrun.core import Genome, SearchSpace, Token
from nasrun.tables.base import ShippedTable, Trainings

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
"""The operations on the six edges 0-1, 0-2, 1-2, 0-3, 1-3, 2-3; their indices here are the digits of a cell's code."""

_DIGIT: dict[Token, int] = {name: digit for digit, name in enumerate(OPERATIONS)}
EDGES = 6
UNITS = 100_000_000
"""Accuracies are stored as integers in millionths of a percent."""


class NasBench201(ShippedTable):
    """Arrays: `code` (base-5 number of the operations, first edge first), `parameters_<dataset>` and
    `<validation or test>_<dataset>_<epochs>` (integers in units of `1 / UNITS`), each (15625,)."""

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
        """The row (the benchmark's index) of six names of operations in the order of the edges."""
        code = code_of(genome)
        return None if code is None else int(self._rows[code])


def code_of(genome: Genome) -> int | None:
    """The code of a cell, whose digits in base 5 are its operations; None if it is not a cell of the benchmark."""
    if len(genome) != EDGES:
        return None
    code = 0
    for token in genome:
        digit = _DIGIT.get(token)
        if digit is None:
            return None
        code = code * len(OPERATIONS) + digit
    return code
