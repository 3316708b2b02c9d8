"""Look-ups in benchmark tables, for several tests."""

from typing import Any

from nasrun.config.build import Setup
from nasrun.core import Job, Measurement, Proposal, Trial
from tests.support import setup_of

CELLS_101 = ("evaluator=table", "dataset=cifar10", "search_space=nasbench101")


def prepared(*overrides: str) -> Setup:
    setup = setup_of(*overrides)
    setup.evaluator.prepare()
    return setup


def look_up(setup: Setup, text: str, *, seed: int = 0, **proposal: Any) -> Measurement:
    job = Job(Trial(7, Proposal(setup.space.parse(text), **proposal)), 2, seed)
    [measurement] = setup.evaluator.evaluate([job])
    assert (measurement.trial, measurement.repeat) == (7, 2)
    assert measurement.error is None or len(measurement.error.splitlines()) == 1
    return measurement


def final(setup: Setup, text: str, **proposal: Any) -> dict[str, float]:
    result = setup.evaluator.final(Job(Trial(0, Proposal(setup.space.parse(text), **proposal)), 0, 5))
    return dict(result["metrics"]) if result else {}
