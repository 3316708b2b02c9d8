"""Evaluator `train` on dense networks: the initial decision on groups, and estimates of their time."""

import json

import pytest
import torch

from nasrun.hardware.devices import Hardware
from nasrun.training.dense.replicas import Replicas
from tests.evaluators.dense_groups import (
    bench_of,
    jobs_of,
    names,
    steps_of,
    ticking,
)


def test_what_was_decided_is_on_record(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = bench_of()
    facts = json.loads(json.dumps(bench.facts))
    assert facts["replicas"]["mode"] == "equal"
    assert facts["replicas"]["reason"]
    assert set(facts) == {"runtime", "replicas"}
    assert bench_of("evaluator.group_size=3").facts["replicas"]["networks"] == 3
    assert bench_of("evaluator.replicas=off").facts["replicas"]["mode"] == "off"
    monkeypatch.setattr(Hardware, "resolve", lambda hardware: pytest.fail("decided anew"))
    facts["replicas"] |= {"mode": "padded", "networks": 2}
    facts["runtime"] |= {"threads": 3, "precision": "bf16"}
    # Of a run that was begun by an older nasrun.
    facts["products"] = {"backend": "onednn", "reason": "then"}
    assert bench.train.prepare(facts) == facts
    assert names(bench.train.group(jobs_of(bench, "16-8", "20-9", "8-9", repeats=1))) == [(0, 0), (1, 0)]
    assert (bench.train.prepared[0].threads, bench.train.prepared[0].precision) == (3, "bf16")


@pytest.mark.parametrize("repeats", [1, 5])
def test_an_estimate_is_of_one_repeats_share(repeats: int, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = bench_of(f"evaluator.repeats={repeats}")
    ticking(monkeypatch)
    estimate = bench.train.estimate(jobs_of(bench, "16-8", repeats=1)[0].trial)
    assert estimate == pytest.approx(steps_of(bench) * 1.1 / repeats)


def test_an_estimate_is_from_one_threads_part(monkeypatch: pytest.MonkeyPatch) -> None:
    step, seen = Replicas.step, []

    def noted(self: Replicas, inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        seen.append((len(inputs), torch.get_num_threads()))
        return step(self, inputs, labels)

    monkeypatch.setattr(Replicas, "step", noted)
    bench = bench_of("evaluator.repeats=5", "hardware.threads=2")
    assert bench.train.estimate(jobs_of(bench, "16-8", repeats=1)[0].trial) > 0
    assert set(seen) == {(3, 1)}
