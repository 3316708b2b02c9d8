"""What a network becomes on the CPU does not depend on its company, to the bit, whatever library multiplies there.

Widths, batches and parts of the data are odd on purpose: matrices of other networks then lie at other addresses, and
vector code has remainders.
"""

import contextlib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from nasrun.datasets import Split, Splits
from nasrun.training.data import DeviceData
from nasrun.training.dense import threads
from nasrun.training.dense.replicas import Replicas
from nasrun.training.loop import train, train_together
from nasrun.training.outcomes import Training, TrainingError
from nasrun.training.request import TrainingRequest
from nasrun.training.settings import TrainSettings
from tests.training.conftest import cpu

LIBRARIES = ("default", "onednn")
NETWORKS = 6
GROUPS = [([2] * 3, 1), ([1, 5], 2), ([6], 1), ([6], 4)]
"""Sizes of groups, and threads."""


@contextlib.contextmanager
def products_by(library: str) -> Iterator[None]:
    """A scope in which torch's fp32 products are those of a library: its default one, or oneDNN's quick ones."""
    setting = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = setting.fp32_precision
    setting.fp32_precision = "bf16" if library == "onednn" else before
    try:
        yield
    finally:
        setting.fp32_precision = before


class Case(NamedTuple):
    """Networks, one list of hidden widths each, and what they are trained with."""

    hidden: Sequence[Sequence[int]]
    pixels: int
    classes: int
    samples: tuple[int, int]
    dropout: float
    options: dict[str, Any]

    def data(self) -> DeviceData:
        """Random pixels and labels for training, and for validation."""
        rng = np.random.default_rng(self.pixels)

        def part(count: int) -> Split:
            images = rng.integers(0, 256, (count, 1, self.pixels, self.pixels), dtype=np.uint8)
            return Split(images, rng.integers(0, self.classes, count))

        train, validation, test = (part(count) for count in (*self.samples, 3))
        return DeviceData(Splits(train, validation, test, (0.5,), (0.3,), tuple(map(str, range(self.classes)))), "cpu")

    def models(self) -> list[nn.Sequential]:
        """The networks with their initial weights."""
        return [self._model(seed, widths) for seed, widths in enumerate(self.hidden)]

    def _model(self, seed: int, hidden: Sequence[int]) -> nn.Sequential:
        torch.manual_seed(seed)
        parts: list[nn.Module] = [nn.Flatten()]
        for before, after in pairwise((self.pixels**2, *hidden)):
            parts += [nn.Linear(before, after), nn.ReLU(), nn.Dropout(self.dropout)]
        return nn.Sequential(*parts, nn.Linear(hidden[-1], self.classes))


def bits(outcome: Training | TrainingError, model: nn.Module) -> tuple[str, str, bytes]:
    """All results of a training run, without seconds."""
    history = [{name: value for name, value in row.items() if name != "seconds"} for row in outcome.history]
    weights = b"".join(tensor.numpy().tobytes() for tensor in model.state_dict().values())
    return str(outcome) if isinstance(outcome, TrainingError) else "", repr(history), weights


def trained(case: Case, sizes: Sequence[int], count: int) -> list[tuple[str, str, bytes]]:
    """The results of the networks of a case in groups of these sizes on so many threads."""
    data, models, runtime = case.data(), case.models(), cpu()._replace(threads=count)
    runtime.apply()
    found, place = [], 0
    for size in sizes:
        group, seeds = models[place : place + size], range(place, place + size)
        outcomes = train_together(group, seeds, TrainingRequest(data, TrainSettings(**case.options), runtime))
        found += [bits(outcome, model) for outcome, model in zip(outcomes, group, strict=True)]
        place += size
    return found


def check(case: Case, library: str) -> None:
    with products_by(library):
        alone = trained(case, [1] * NETWORKS, 1)
        assert len({weights for _, _, weights in alone}) == NETWORKS
        for sizes, count in GROUPS:
            assert trained(case, sizes, count) == alone, (sizes, count)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    depth, batch = draw(st.integers(1, 3)), draw(st.sampled_from([1, 7, 16, 32, 33, 100]))
    widths = st.lists(st.sampled_from([1, 2, 5, 8, 13, 16, 31, 50, 64, 65, 128, 200]), min_size=depth, max_size=depth)
    equal = draw(st.booleans())
    hidden = [draw(widths)] * NETWORKS if equal else [draw(widths) for _ in range(NETWORKS)]
    options = {
        "epochs": 2,
        "batch_size": batch,
        "optimizer": draw(st.sampled_from(["sgd", "adam", "adadelta"])),
        "weight_decay": draw(st.sampled_from([0.0, 1e-3])),
        "clip_norm": draw(st.sampled_from([None, 0.5])),
        "label_smoothing": draw(st.sampled_from([0.0, 0.1])),
        "shift": draw(st.integers(0, 1)),
    }
    samples = (draw(st.sampled_from([batch, 2 * batch + 3])), draw(st.sampled_from([1, 30, 507])))
    pixels, classes = draw(st.sampled_from([5, 8, 9])), draw(st.sampled_from([2, 3, 10, 17]))
    return Case(hidden, pixels, classes, samples, draw(st.sampled_from([0.0, 0.2])), options)


@pytest.mark.parametrize("library", LIBRARIES)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(case=cases())
def test_a_network_is_the_same_in_any_company(library: str, case: Case) -> None:
    check(case, library)


ADAM = {"epochs": 2, "optimizer": "adam"}


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(
    "case",
    [
        # Products of one network below oneDNN's least size, of several together above it; and both at once.
        Case([[12]] * NETWORKS, 8, 3, (60, 40), 0.0, {**ADAM, "batch_size": 5}),
        Case([[64, 9]] * NETWORKS, 8, 4, (100, 501), 0.2, {**ADAM, "batch_size": 32}),
        # Layers of one unit, whose products are those of vectors.
        Case([[1, 20, 1]] * NETWORKS, 9, 7, (70, 30), 0.2, {**ADAM, "batch_size": 33}),
        Case([[5, 13, 50]] * NETWORKS, 12, 20, (70, 120), 0.0, {**ADAM, "batch_size": 7, "clip_norm": 0.5}),
        Case([[30 + n, 9 * n + 1] for n in range(NETWORKS)], 9, 10, (99, 130), 0.2, {**ADAM, "batch_size": 33}),
    ],
    ids=["least size", "last batch", "one unit", "clipped", "ragged"],
)
def test_shapes_of_which_libraries_make_a_difference(case: Case, library: str) -> None:
    check(case, library)


@pytest.mark.parametrize("threads_", [1, 2])
def test_large_networks_take_all_threads_alone_and_in_a_list(threads_: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "LARGEST", 5000)
    case = Case([[70, 30]] * 3, 9, 4, (100, 40), 0.2, {**ADAM, "batch_size": 50})
    told: list[tuple[int, int]] = []
    at_work: list[int] = []
    step = Replicas.step

    def noted(self: Any, *batch: torch.Tensor) -> torch.Tensor:
        at_work.append(torch.get_num_threads())
        return step(self, *batch)

    monkeypatch.setattr(Replicas, "step", noted)
    data, models, runtime = case.data(), case.models(), cpu()._replace(threads=threads_)
    runtime.apply()
    outcomes = train_together(
        models,
        range(3),
        TrainingRequest(data, TrainSettings(**case.options), runtime),
        lambda network, epoch, metrics: told.append((network, epoch)),
    )
    found = [bits(outcome, model) for outcome, model in zip(outcomes, models, strict=True)]
    assert told == [(network, epoch) for network in range(3) for epoch in (1, 2)]
    assert set(at_work) == {threads_}
    assert found == trained(case, [1] * 3, threads_)
    runtime = cpu()
    runtime.apply()


def test_one_network_by_itself_is_one_of_a_list() -> None:
    case = Case([[31, 5]] * NETWORKS, 9, 3, (50, 33), 0.2, {**ADAM, "batch_size": 7})
    data, models = case.data(), case.models()
    request = TrainingRequest(data, TrainSettings(**case.options), cpu())
    outcomes = [train(model, seed, request) for seed, model in enumerate(models)]
    assert [bits(*pair) for pair in zip(outcomes, models, strict=True)] == trained(case, [NETWORKS], 2)
