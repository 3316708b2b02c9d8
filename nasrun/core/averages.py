"""The mean by which architectures and methods are compared: equal measurements give an equal mean, to the bit."""

import statistics
from collections.abc import Sequence


def exact_mean(values: Sequence[float]) -> float:
    """The mean of finite numbers, worked out without rounding and rounded once.

    So it depends neither on their order nor on how often all of them are repeated: the mean of three times 0.1 is 0.1,
    where a sum over 3 would be another number. ValueError (`statistics.StatisticsError`) for no numbers.
    """
    if values and values.count(values[0]) == len(values):
        return float(values[0])
    return float(statistics.mean(map(float, values)))
