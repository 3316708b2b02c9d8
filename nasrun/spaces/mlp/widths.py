"""The legal widths of a dense layer, and their positions in [0, 1]."""

from bisect import bisect_left
from collections.abc import Sequence
from math import log2
from typing import Literal

import numpy as np

from nasrun.core.options import show

STEP = 1 / 8
"""Size of a small change of a width, as a share of [0, 1]."""

STEPS = (1 / 4, 1 / 16)
"""Distances of a width's neighbours, as shares of [0, 1]; the next width on either side is a neighbour too."""


class Widths:
    """Whole numbers in ascending order, each with a share of [0, 1], so that uniform entries give the distribution of
    drawn widths.

    `scale`: with `log2` the share of a width is that of its octave which is nearest to it; with `linear` and `places`
    all shares are equal. The first two are for all whole numbers of a range, `places` is for any list.
    """

    def __init__(self, values: Sequence[int], scale: Literal["log2", "linear", "places"]) -> None:
        """`values`: at least one, all different, all above 0."""
        self.values = tuple(sorted(values))
        self._ranks = {width: rank for rank, width in enumerate(self.values)}
        self._log = scale == "log2"
        low, high = self.values[0] - 0.5, self.values[-1] + 0.5
        self._low, self._high = (log2(low), log2(high)) if self._log else (0.0, float(len(self.values)))

    def __len__(self) -> int:
        return len(self.values)

    def __contains__(self, width: object) -> bool:
        return type(width) is int and width in self._ranks  # the type too: True equals 1

    def __str__(self) -> str:
        first, last = self.values[0], self.values[-1]
        if last - first + 1 == len(self.values) > 2:
            return f"a width from {first} to {last}"
        return f"one of {show(', '.join(map(str, self.values)))}" if len(self.values) > 1 else str(first)

    def entry(self, width: int) -> float:
        """The position of a width in [0, 1]; `at` is the inverse."""
        place = log2(width) if self._log else self._ranks[width] + 0.5
        return (place - self._low) / (self._high - self._low)

    def at(self, entry: float) -> int:
        """The width whose share contains an entry; entries outside of [0, 1] are clipped."""
        place = self._low + min(max(entry, 0.0), 1.0) * (self._high - self._low)
        if self._log:
            return min(max(round(2**place), self.values[0]), self.values[-1])
        return self.values[min(int(place), len(self.values) - 1)]

    def nearest(self, value: float) -> int:
        """The width nearest to a real number; the wider of two."""
        rank = min(bisect_left(self.values, value), len(self.values) - 1)
        below = self.values[max(rank - 1, 0)]
        return below if value - below < self.values[rank] - value else self.values[rank]

    def draw(self, rng: np.random.Generator) -> int:
        """A width, uniform in [0, 1]."""
        return self.at(float(rng.random()))

    def other(self, width: int, rng: np.random.Generator) -> int:
        """Another width, drawn like any; the width itself if there is no other."""
        drawn = width
        while drawn == width and len(self.values) > 1:
            drawn = self.draw(rng)
        return drawn

    def near(self, width: int, rng: np.random.Generator) -> int:
        """Another width at a distance of at most `STEP`, or the next one in the list; the width itself if it is the
        only one."""
        others = self._beside(width)
        if not others:
            return width
        entry = self.entry(width)
        drawn = self.at(entry + STEP * (2 * float(rng.random()) - 1))
        return drawn if drawn != width else others[int(rng.random() * len(others))]

    def neighbours(self, width: int) -> list[int]:
        """The widths one step away, narrower ones first: `STEPS` in both directions, and the next ones in the list."""
        entry = self.entry(width)
        stepped = [self.at(entry + sign * step) for step in STEPS for sign in (-1, 1)]
        return sorted({*stepped, *self._beside(width)} - {width})

    def _beside(self, width: int) -> list[int]:
        """The next narrower and the next wider one, if they exist."""
        rank = self._ranks[width]
        return [self.values[place] for place in (rank - 1, rank + 1) if 0 <= place < len(self.values)]
