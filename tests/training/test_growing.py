"""Images that grow in the course of a training: how large at which step, what it costs, and what the network sees."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nasrun.training.data import DeviceData
from nasrun.training.growing import STAGES, Growth, shrunk
from nasrun.training.loop import make_trainee
from nasrun.training.request import TrainingRequest
from nasrun.training.settings import TrainSettings
from tests.training.conftest import cpu, small_network

GROWTHS = st.builds(Growth, st.floats(0.25, 1), st.integers(1, 5000))


@given(GROWTHS)
def test_images_never_shrink_and_end_whole(growth: Growth) -> None:
    sizes = [growth.size(step) for step in range(growth.steps)]
    assert sizes == sorted(sizes)
    assert sizes[0] == growth.first
    assert growth.steps < 10 or sizes[-1] == 1


@given(GROWTHS, st.data())
def test_work_grows_by_less_than_a_whole_step(growth: Growth, data: st.DataObject) -> None:
    step = data.draw(st.integers(0, growth.steps - 1))
    assert 0 < growth.work(step + 1) - growth.work(step) <= 1 + 1e-9
    assert growth.work(0) == growth.position(0) == 0
    assert growth.position(growth.steps) == pytest.approx(growth.steps)
    assert growth.position(step) <= step + 1e-6


def test_each_size_has_an_equal_share_of_the_work() -> None:
    growth = Growth(0.5, 3000)
    at = [growth.size(step) for step in range(3000)]
    bounds = [at.index(size) for size in growth.sizes] + [3000]
    works = [growth.work(end) - growth.work(begin) for begin, end in pairwise(bounds)]
    assert works == pytest.approx([growth.work(3000) / STAGES] * STAGES, rel=0.01)
    assert growth.work(3000) / 3000 == pytest.approx(0.56, abs=0.01)


def test_whole_images_are_left_as_they_are() -> None:
    images, growth = torch.rand(2, 3, 8, 8), Growth(1.0, 10)
    assert shrunk(images, 1.0) is images
    assert [growth.work(step) for step in range(11)] == [growth.position(step) for step in range(11)] == list(range(11))


def test_shrunk_images_are_means_of_their_pixels() -> None:
    images = torch.zeros(1, 1, 12, 8)
    images[..., 4:] = 1.0
    small = shrunk(images, 0.5)
    assert small.shape == (1, 1, 6, 4)
    assert small.mean() == pytest.approx(0.5)


def test_a_network_is_shown_growing_images(data: DeviceData) -> None:
    seen: list[int] = []
    model = small_network()
    model.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].shape[-1]))
    request = TrainingRequest(data, TrainSettings(epochs=6, batch_size=32, first_size=0.5), cpu())
    trainee = make_trainee([model], [1], request)
    for _ in range(6):
        for batch in trainee.batches():
            trainee.step(*batch)
        trained = seen[-1]
        trainee.measure("validation")
        assert seen[-1] == trained  # measured on what it was trained on last
    assert seen == sorted(seen)
    assert len(set(seen)) == STAGES
    assert seen[-1] == 2 * seen[0]
