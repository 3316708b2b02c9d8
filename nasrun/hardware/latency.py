"""Measures how long a call takes: the only timer of networks in nasrun."""

import time
from collections.abc import Callable

CALLS = (20, 200)
WARM_UP = 5


def times_of(call: Callable[[], object], seconds: float) -> list[float]:
    """Milliseconds of each of 20 to 200 calls, within about `seconds` if that allows 20, after five calls that are not
    counted. `call` must wait for work on a GPU to end."""
    for _ in range(WARM_UP):
        call()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < CALLS[0] or (time.perf_counter() < end and len(times) < CALLS[1]):
        started = time.perf_counter()
        call()
        times.append(1000 * (time.perf_counter() - started))
    return times
