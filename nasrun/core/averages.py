"""The mean used to compare architectures and methods: equal measurements give bitwise equal means."""

import statistics
from collections.abc import Sequence


def exact_mean(values: Sequence[float]) -> float:
    """The mean of finite numbers, computed exactly and rounded once.

    The result depends neither on the order of the numbers nor on how often all of them are repeated: the mean of three
    times 0.1 is 0.1, whereas a floating-point sum divided by 3 is not. ValueError (`statistics.StatisticsError`) for no
    numbers.
    """
    if values and values.count(values[0]) == len(values):
        return float(values[0])
    return float(statistics.mean(map(float, values)))
