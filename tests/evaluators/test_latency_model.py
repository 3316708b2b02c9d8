"""Predicted latencies: that the model finds what latencies are made of, is robust, recorded, and steers a run."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from nasrun.config.compose import compose_config, task_config
from nasrun.core import Genome, Task
from nasrun.evaluators.costs import WithCosts
from nasrun.evaluators.latency_model import CALIBRATION, LatencyModel, features
from nasrun.runner.run import resume, start
from nasrun.storage import journal
from tests.support import setup_of

TASK = Task("colour", 3, 32, 32, 10)
SPACE = setup_of("search_space=staged_cnn").space
WEIGHTS = np.array([0.2, 0.05, 2e-8, 0.0])


def latency(genome: Genome) -> float:
    return float(WEIGHTS @ features(SPACE, genome, TASK))


def test_the_parts_of_latencies_are_found() -> None:
    model = LatencyModel.measured(SPACE, TASK, latency)
    assert [model.constant, model.layer, model.flop, model.parameter] == pytest.approx(WEIGHTS, rel=1e-6, abs=1e-12)
    assert model.spread < 1e-6
    assert LatencyModel.from_record(asdict(model)) == model


def test_disturbed_measurements_are_left_out() -> None:
    calls: list[Genome] = []

    def disturbed(genome: Genome) -> float:
        calls.append(genome)
        return latency(genome) * (8 if len(calls) % 8 == 3 else 1)

    model = LatencyModel.measured(SPACE, TASK, disturbed)
    assert len(calls) == CALIBRATION
    genome = SPACE.sample(np.random.default_rng(9))
    assert model.predict(SPACE, genome, TASK) == pytest.approx(latency(genome), rel=0.02)


def test_no_part_is_negative() -> None:
    model = LatencyModel.measured(SPACE, TASK, lambda genome: 1e3 / SPACE.cost(genome, TASK).parameters)
    assert min(model.constant, model.layer, model.flop, model.parameter) >= 0


WORDS = ("search_space=staged_cnn", "dataset=synthetic", "dataset.samples=60", "hardware=cpu", "hardware.threads=1")
WORDS += ("evaluator.epochs=1", "trials=3", "strategy=random", "output.plots=false", "output.console=none")


def test_the_model_is_a_fact_of_the_run_and_a_resumed_run_steers_by_it(tmp_path: Path) -> None:
    # A limit that no network of these widths reaches, however busy the machine.
    small = ("search_space.max_width=24", "constraints.latency_ms=10000")
    config = task_config(compose_config((*WORDS, *small)))
    start(config, tmp_path / "run", unique=False)
    events = journal.read(tmp_path / "run" / journal.NAME)
    recorded = events[0]["facts"]["latency"]["model"]
    assert set(recorded) == {"constant", "layer", "flop", "parameter", "spread"}
    resume(tmp_path / "run", {"trials": 6})
    again = [event for event in journal.read(tmp_path / "run" / journal.NAME) if event["event"] == "ask"]
    assert len(again) == 6
    setup = setup_of(*WORDS[:-3], "evaluator=train", *small)
    assert isinstance(setup.evaluator, WithCosts)
    genome = setup.space.sample(np.random.default_rng(0))
    assert setup.evaluator.predicted_latency(genome) is None
    setup.evaluator.prepare(events[0]["facts"])
    predicted = LatencyModel.from_record(recorded).predict(setup.space, genome, setup.dataset.task)
    assert setup.evaluator.predicted_latency(genome) == predicted
    drawn = [setup.steered.sample(np.random.default_rng(seed)) for seed in range(10)]
    assert all(genome[place] == 24 for genome in drawn for place in setup.space.width_positions(genome))


def test_without_a_limit_nothing_is_timed_beforehand() -> None:
    setup = setup_of(*WORDS[:-3], "evaluator=train", "objective.metric=[val_accuracy,latency_ms]")
    assert "model" not in setup.evaluator.prepare()["latency"]
