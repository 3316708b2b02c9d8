"""A model of the ASNN paper's tables, which predicts accuracies for any widths, for simulated searches.

The table's means, as the logarithm of the error, are a Gaussian process over the logarithms of the widths (Rasmussen
and Williams 2006, sections 2.2, 2.7 and 5.4.1): a linear trend, a squared exponential kernel with a separate length
scale for each layer, and noise estimated from the repeats of each architecture. Length scales and amplitude maximise
the likelihood over a few values. The deviation of repeats follows a linear trend too. Between the widths of the grid
the model interpolates; beyond them it depends on the ten networks suggested by the paper's model.
"""

from itertools import product
from typing import NamedTuple

import numpy as np

from nasrun.tables.asnn import TRAININGS, UNITS, Asnn

LENGTHS = (1.0, 2.0, 4.0, 8.0)
"""Candidate length scales of the kernel for each layer, in octaves."""
SCALES = (0.05, 0.1, 0.2, 0.4, 0.8)
"""Candidate standard deviations of the process around its trend, in the logarithm of the error."""


class Fit(NamedTuple):
    """The process with its length scales and amplitude: coefficients of the trend, weights of the architectures,
    likelihood."""

    lengths: np.ndarray
    scale: float
    trend: np.ndarray
    weights: np.ndarray
    likelihood: float


class AsnnSurrogate:
    """The model of the printed architectures with `depth` hidden layers (2 or 3), without the rows `leave_out`."""

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
        """The standard deviation of its training runs."""
        return float(np.exp(_basis(np.log2(np.array([widths], dtype=float))) @ self._spread)[0])


def _basis(points: np.ndarray) -> np.ndarray:
    """The features of the trend: 1 and the logarithms of the widths."""
    return np.hstack([np.ones((len(points), 1)), points])


def _kernel(first: np.ndarray, second: np.ndarray, lengths: np.ndarray, scale: float) -> np.ndarray:
    difference = (first[:, None] - second[None]) / lengths
    result: np.ndarray = scale**2 * np.exp(-0.5 * (difference**2).sum(2))
    return result


def _fit(points: np.ndarray, target: np.ndarray, noise: np.ndarray, lengths: np.ndarray, scale: float) -> Fit:
    """Fit the trend by generalised least squares, and the process around it (equations 2.41, 2.42 and 2.30)."""
    root = np.linalg.cholesky(_kernel(points, points, lengths, scale) + np.diag(noise))
    basis = np.linalg.solve(root, _basis(points))
    whitened = np.linalg.solve(root, target)
    trend = np.linalg.lstsq(basis, whitened, rcond=None)[0]
    rest = whitened - basis @ trend
    likelihood = -0.5 * float(rest @ rest) - float(np.log(np.diag(root)).sum())
    return Fit(lengths, scale, trend, np.linalg.solve(root.T, rest), likelihood)
