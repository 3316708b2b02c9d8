"""The choice of the number of threads."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasrun.runner.thread_choice import fastest_threads


@pytest.mark.parametrize(
    ("now", "most", "fastest", "chosen"),
    [(8, 8, 8, 8), (8, 8, 4, 4), (8, 8, 1, 1), (1, 8, 8, 8), (2, 8, 4, 4), (4, 12, 12, 12), (1, 1, 1, 1), (3, 6, 1, 1)],
)
def test_the_fastest_is_reached_where_times_fall_towards_it(now: int, most: int, fastest: int, chosen: int) -> None:
    assert fastest_threads(now, most, lambda threads: max(threads / fastest, fastest / threads)) == chosen


def test_a_little_faster_is_no_reason() -> None:
    assert fastest_threads(2, 4, lambda threads: {1: 0.95, 2: 1.0, 4: 0.95}[threads]) == 2


@given(st.integers(1, 64), st.integers(0, 6), st.lists(st.floats(0.1, 10), min_size=65, max_size=65))
def test_what_is_chosen_is_never_slower_and_never_more_than_there_are(
    most: int, halved: int, seconds: list[float]
) -> None:
    now = max(1, most >> halved)
    asked: list[int] = []

    def seconds_with(threads: int) -> float:
        asked.append(threads)
        return seconds[threads]

    chosen = fastest_threads(now, most, seconds_with)
    assert 1 <= chosen <= most
    assert chosen in asked
    assert seconds[chosen] <= seconds[now]
    assert len(asked) == len(set(asked)) <= 9
