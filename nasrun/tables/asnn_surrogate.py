"""What networks of any widths would measure, by a model of the ASNN paper's tables: for searches that are simulated.

The table's means, as the logarithm of the error, are a Gaussian process over the logarithms of the widths (Rasmussen
and Williams 2006, sections 2.2, 2.7 and 5.4.1): a linear trend, a squared exponential kernel with a length of its own
for each layer, and as noise what the repeats of each architecture say. Lengths and scale have the highest likelihood
among a few values. The deviation of repeats follows a linear trend too. Between the widths of the grid that is an
interpolation; beyond them it rests on the ten networks that the paper's model suggested.
"""

from itertools import product
from typing import NamedTuple

import numpy as np

from nasrun.tables.asnn import TRAININGS, UNITS, Asnn

LENGTHS = (1.0, 2.0, 4.0, 8.0)
"""Lengths of the kernel, in octaves, that are tried for each layer."""
SCALES = (0.05, 0.1, 0.2, 0.4, 0.8)
"""Standard deviations of the process around its trend, of the logarithm of the error."""


class Fit(NamedTuple):
    """The process at its lengths and scale: coefficients of the trend, weights of the architectures, likelihood."""

    lengths: np.ndarray
    scale: float
    trend: np.ndarray
    weights: np.ndarray
    likelihood: float


class AsnnSurrogate:
    """The model of the printed architectures of `depth` hidden layers (2 or 3); without those of `leave_out` rows."""

    def __init__(self, depth: int, leave_out: tuple[int, ...] = ()) -> None:
        table = Asnn()
        table.load()
        widths, accuracies = table.arrays["widths"], table.arrays["accuracies"] / UNITS
        rows = [row for row in np.flatnonzero((widths > 0).sum(1) == depth) if row not in leave_out]
        self.rows = tuple(int(row) for row in rows)
        means, deviations = accuracies[rows].mean(1), accuracies[rows].std(1, ddof=1)
        self._points = np.log2(widths[rows, :depth])
        target = np.log(1 - means)
        noise = (deviations / (1 - means)) ** 2 / TRAININGS
        fits = (
            _fit(self._points, target, noise, np.array(lengths), scale)
            for lengths in product(LENGTHS, repeat=depth)
            for scale in SCALES
        )
        self.fit = max(fits, key=lambda fit: fit.likelihood)
        basis = _basis(self._points)
        self._spread: np.ndarray = np.linalg.lstsq(basis, np.log(deviations), rcond=None)[0]

    def mean(self, widths: tuple[int, ...]) -> float:
        """The expected accuracy of a network."""
        point = np.log2(np.array([widths], dtype=float))
        fit = self.fit
        error = _basis(point) @ fit.trend + _kernel(point, self._points, fit.lengths, fit.scale) @ fit.weights
        return float(1 - np.exp(error[0]))

    def deviation(self, widths: tuple[int, ...]) -> float:
        """The standard deviation of its trainings."""
        return float(np.exp(_basis(np.log2(np.array([widths], dtype=float))) @ self._spread)[0])


def _basis(points: np.ndarray) -> np.ndarray:
    """What the trend is made of: 1 and the logarithms of the widths."""
    return np.hstack([np.ones((len(points), 1)), points])


def _kernel(first: np.ndarray, second: np.ndarray, lengths: np.ndarray, scale: float) -> np.ndarray:
    difference = (first[:, None] - second[None]) / lengths
    result: np.ndarray = scale**2 * np.exp(-0.5 * (difference**2).sum(2))
    return result


def _fit(points: np.ndarray, target: np.ndarray, noise: np.ndarray, lengths: np.ndarray, scale: float) -> Fit:
    """The trend by generalised least squares, and the process around it (equations 2.41, 2.42 and 2.30)."""
    root = np.linalg.cholesky(_kernel(points, points, lengths, scale) + np.diag(noise))
    basis = np.linalg.solve(root, _basis(points))
    whitened = np.linalg.solve(root, target)
    trend = np.linalg.lstsq(basis, whitened, rcond=None)[0]
    rest = whitened - basis @ trend
    likelihood = -0.5 * float(rest @ rest) - float(np.log(np.diag(root)).sum())
    return Fit(lengths, scale, trend, np.linalg.solve(root.T, rest), likelihood)
