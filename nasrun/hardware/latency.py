"""How long a network takes, measured here and now: the one way in which nasrun times calls."""

import time
from collections.abc import Callable

CALLS = (20, 200)
WARM_UP = 5


def times_of(call: Callable[[], object], seconds: float) -> list[float]:
    """Milliseconds of each of 20 to 200 calls, within about `seconds` where that is enough for 20, after five that are
    not counted. What runs on a GPU must wait for it in `call`."""
    for _ in range(WARM_UP):
        call()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < CALLS[0] or (time.perf_counter() < end and len(times) < CALLS[1]):
        started = time.perf_counter()
        call()
        times.append(1000 * (time.perf_counter() - started))
    return times
