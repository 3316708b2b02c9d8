"""What networks that train together are trained with: threads of their own."""

import threading
import time
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from nasrun.training.data import DeviceData
from nasrun.training.dense.replicas import Replicas
from nasrun.training.dense.threads import MOST_THREADS, StoppedError, fit_one_thread, in_parallel, shares, tiny_is_zero
from nasrun.training.loop import train_here
from nasrun.training.request import Limits, TrainingRequest
from nasrun.training.settings import TrainSettings
from tests.training.conftest import cpu
from tests.training.test_replicas import SETTINGS, network, ticking, together


class TestThreads:
    """Networks spread over the cores."""

    @given(networks=st.integers(1, 300), threads=st.integers(1, 100))
    def test_shares_are_even_and_complete(self, networks: int, threads: int) -> None:
        found = shares(networks, threads)
        assert [place for part in found for place in part] == list(range(networks))
        assert len(found) == min(networks, threads, MOST_THREADS)
        assert max(map(len, found)) - min(map(len, found)) <= 1

    def test_torch_uses_no_threads_of_its_own(self) -> None:
        torch.set_num_threads(2)
        works = [lambda: (torch.ones(9).sum().item(), torch.get_num_threads(), threading.get_ident())] * 3
        barrier = threading.Barrier(3)
        found = in_parallel([lambda work=work: (barrier.wait(30), work())[1] for work in works], threading.Event())
        assert [pair[:2] for pair in found] == [(9.0, 1)] * 3
        assert len({ident for *_, ident in found}) == 3
        assert in_parallel(works[:1], threading.Event()) == [(9.0, 1, threading.get_ident())]
        assert torch.get_num_threads() == 2
        torch.set_num_threads(1)

    @pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt])
    def test_one_that_raises_stops_the_others(self, error: type[BaseException]) -> None:
        stop, ended = threading.Event(), []

        def waiting() -> None:
            ended.append(stop.wait(60))
            raise StoppedError

        def failing() -> None:
            raise error

        before = torch.get_num_threads()
        with pytest.raises(error):
            in_parallel([waiting, failing, waiting], stop)
        assert ended == [True, True]
        assert torch.get_num_threads() == before
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("nasrun-replicas")]

    def test_a_training_that_raises_ends_the_others(self, data: DeviceData, monkeypatch: pytest.MonkeyPatch) -> None:
        step, steps = Replicas.step, []

        def scarce(self: Replicas, inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            steps.append(len(inputs))
            if len(inputs) == 1 and self.step_number == 2:
                raise MemoryError
            return step(self, inputs, labels)

        monkeypatch.setattr(Replicas, "step", scarce)
        with pytest.raises(MemoryError):
            together(data, [(8,)] * 3, threads=2, epochs=10_000)
        assert set(steps) == {1, 2}
        assert len(steps) < 10_000

    def test_progress_is_told_by_one_at_a_time(self, data: DeviceData) -> None:
        busy, told = threading.Lock(), []

        def tell(network: int, epoch: int, metrics: Any) -> None:
            assert busy.acquire(blocking=False)
            time.sleep(0.002)  # long enough for another thread to come
            told.append((network, epoch))
            busy.release()

        together(data, [(8,)] * 5, threads=4, on_epoch=tell, epochs=4)
        assert sorted(told) == [(network, epoch) for network in range(5) for epoch in range(1, 5)]

    def test_a_threads_seconds_are_shares_of_the_whole_group(
        self, data: DeviceData, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ticking(monkeypatch)
        request = TrainingRequest(data, TrainSettings(**SETTINGS), cpu(), validation=None)
        models, ignored = [network(seed, 8) for seed in range(2)], lambda network, epoch, metrics: None
        first, _ = train_here(models, [0, 1], request, ignored, 6, threading.Event())
        assert [row["seconds"] for row in first.history] == [1 / 6] * 3  # type: ignore[union-attr]
        # An epoch of 12 steps takes 14 ticks, and six networks have 24 between them.
        limited = replace(request, limits=Limits(4.0))
        first, _ = train_here(models, [0, 1], limited, ignored, 6, threading.Event())
        assert str(first) == "time limit of 4 s reached in epoch 2"

    @pytest.mark.parametrize(
        ("models", "expected"),
        [
            ([network(0, 24)], True),
            ([network(0, 24)] * 2, True),
            ([network(0, 2000, 700)], False),
            ([network(0, 2000, 700)] * 2, False),
            ([nn.Sequential(nn.Flatten(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4))], False),
        ],
    )
    def test_which_networks_have_one_thread(self, models: list[nn.Module], expected: bool) -> None:
        assert fit_one_thread(models) is expected


def test_tiny_numbers_are_zero_in_the_threads_that_train_and_nowhere_else() -> None:
    def tiny() -> float:
        return float(torch.full((1,), 1e-38) * 0.5)

    assert tiny() > 0
    assert in_parallel([tiny], threading.Event()) == [0.0]
    assert in_parallel([tiny] * 3, threading.Event()) == [0.0] * 3
    with tiny_is_zero():
        with tiny_is_zero():
            assert tiny() == 0
        assert tiny() == 0
    assert tiny() > 0
