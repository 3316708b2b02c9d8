"""Ranks of an architecture among others that do not change, so that its score depends on no other trial."""

from collections.abc import Mapping, Sequence

import numpy as np

from nasrun.evaluators.proxies.names import AZ_NAS


class Reference:
    """The scores of some architectures, by which others are ranked: name of a score to its values, one each.

    A rank is a share: of the reference, so many score lower. In between it is interpolated, and beyond both ends it
    continues towards 0 and 1, so that of two architectures with different scores the higher one always ranks higher.
    """

    def __init__(self, values: Mapping[str, Sequence[float]]) -> None:
        self.values = {name: sorted(map(float, found)) for name, found in values.items()}
        self._curves = {name: _Curve(found) for name, found in self.values.items()}

    def rank(self, name: str, value: float) -> float:
        """The rank of a value of a score, above 0 and below 1."""
        return self._curves[name].share(value)

    def rank_sum(self, scores: Mapping[str, float], names: Sequence[str]) -> float:
        """The mean of an architecture's ranks by some scores."""
        return float(np.mean([self.rank(name, scores[name]) for name in names]))

    def az_nas(self, scores: Mapping[str, float]) -> float:
        """The sum of the logarithms of its ranks by the scores of AZ-NAS, so that a low rank by one of them counts more
        than a high one by another. Source: Lee and Ham 2024 (arXiv 2403.19232), section 3.3."""
        return float(sum(np.log(self.rank(name, scores[name])) for name in AZ_NAS))


class _Curve:
    """From a value to its share among others, rising everywhere."""

    def __init__(self, values: Sequence[float]) -> None:
        unique, counts = np.unique(np.asarray(values, dtype=np.float64), return_counts=True)
        self._values = unique
        self._shares = (np.cumsum(counts) - (counts - 1) / 2) / (len(values) + 1)
        spread = float(np.quantile(values, 0.75) - np.quantile(values, 0.25))
        self._spread = spread or float(unique[-1] - unique[0]) or 1.0

    def share(self, value: float) -> float:
        """Above 0 and below 1."""
        low, high = self._values[0], self._values[-1]
        if value > high:
            return float(1 - (1 - self._shares[-1]) / (1 + (value - high) / self._spread))
        if value < low:
            return float(self._shares[0] / (1 + (low - value) / self._spread))
        return float(np.interp(value, self._values, self._shares))
