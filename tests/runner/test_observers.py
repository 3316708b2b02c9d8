"""Files that are written during a run: how often, and their share of its time."""

from itertools import pairwise
from types import SimpleNamespace

import pytest

from nasrun.runner import observers


@pytest.mark.parametrize("cost", [0.001, 0.7, 4.0])
def test_pages_take_their_share_of_the_time_at_most(monkeypatch: pytest.MonkeyPatch, cost: float) -> None:
    now, written = [0.0], []
    monkeypatch.setattr(observers, "time", SimpleNamespace(monotonic=lambda: now[0]))
    turns = observers._Turns(10.0, observers.FIRST_PAGE)

    def write() -> None:
        now[0] += cost
        written.append(now[0])

    for trial in range(20_000):
        now[0] += 0.1
        turns.take(write, trial)
        spent = cost * (len(written) - (cost > observers.FIRST_PAGE))  # what the first one costs is not known
        assert spent <= observers.SHARE * now[0] * 1.001
    assert written[0] >= observers.FIRST_PAGE / observers.SHARE
    gaps = [later - earlier for earlier, later in pairwise(written)]
    assert gaps
    assert min(gaps) >= 10


def test_a_page_of_many_trials_waits_before_its_cost_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(observers, "time", SimpleNamespace(monotonic=lambda: now[0]))
    turns, written = observers._Turns(5.0), []
    for trial in range(0, 1_000_000, 10_000):
        now[0] += 1.0  # 100 microseconds each
        turns.take(lambda: written.append(now[0]), trial)
    assert len(written) <= 1
