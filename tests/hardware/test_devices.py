"""How workers are placed on GPUs, and how threads are divided among them."""

import os

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nasrun.core.options import ConfigError
from nasrun.hardware import devices
from nasrun.hardware.devices import Hardware, gpus_of_workers, spread
from nasrun.hardware.ray.cluster import RayCluster
from tests.support import setup_of


@pytest.mark.parametrize(
    ("workers", "free", "expected"),
    [
        (4, [10, 10], [0, 1, 0, 1]),
        (3, [10, 10, 10], [0, 1, 2]),
        (2, [30, 10], [0, 0]),
        (4, [30, 10], [0, 0, 0, 1]),
        (3, [5, 80], [1, 1, 1]),
        (3, [7], [0, 0, 0]),
        (1, [3, 9, 4], [1]),
    ],
)
def test_workers_go_where_memory_is_free(workers: int, free: list[int], expected: list[int]) -> None:
    assert spread(workers, free) == expected


@given(st.integers(1, 40), st.lists(st.integers(1, 10**6), min_size=1, max_size=8))
def test_no_worker_would_have_more_memory_elsewhere(workers: int, free: list[int]) -> None:
    placed = spread(workers, free)
    assert len(placed) == workers
    counts = [placed.count(number) for number in range(len(free))]
    least = min(free[number] / counts[number] for number in placed)
    for number, count in enumerate(counts):
        assert free[number] / (count + 1) <= least


def test_gpus_are_named_as_this_process_sees_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda number: ((20, 10)[number], 80))
    monkeypatch.delenv(devices.GPUS, raising=False)
    assert gpus_of_workers(4) == ["0", "0", "1", "0"]
    monkeypatch.setenv(devices.GPUS, "3,5")
    assert gpus_of_workers(4) == ["3", "3", "5", "3"]
    monkeypatch.setenv(devices.GPUS, "GPU-aa, GPU-bb")
    assert gpus_of_workers(3) == ["GPU-aa", "GPU-aa", "GPU-bb"]


def test_cores_are_divided_among_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(12)))
    for workers, threads in ((1, 12), (2, 6), (5, 2), (12, 1), (40, 1)):
        assert Hardware(device="cpu", workers=workers).resolve().threads == threads
    assert Hardware(device="cpu", workers=4, threads=2).resolve().threads == 2


def test_a_training_without_workers_beside_it_may_have_all_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(12)))
    for workers, alone in ((1, 0), (2, 12), (40, 12)):
        assert Hardware(device="cpu", workers=workers).resolve().alone == alone
    assert Hardware(device="cpu", workers=4, threads=2).resolve().alone == 0
    assert RayCluster(device="cpu", cpus=3).resolve().alone == 12
    assert RayCluster(device="cpu", cpus=12).resolve().alone == 0


def test_trials_in_flight_are_as_many_as_workers() -> None:
    assert Hardware(workers=3).trials_in_flight == 3
    assert Hardware(workers=3, in_flight=5).trials_in_flight == 5


@pytest.mark.parametrize("value", ["0", "-1", "257", "two"])
def test_a_number_of_workers_that_makes_no_sense(value: str) -> None:
    with pytest.raises(ConfigError, match=f"hardware.workers={value}: "):
        setup_of(f"hardware.workers={value}")
