"""Latencies by onnxruntime: those of the file that an export writes, recorded as such."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from nasrun.core import Job, Proposal, Trial
from nasrun.core.options import ConfigError
from nasrun.evaluators import costs
from nasrun.evaluators.costs import WithCosts
from nasrun.hardware import onnx_program as programs
from nasrun.hardware.onnx_program import onnx_call, onnx_program
from tests.support import setup_of

WORDS = ("search_space=staged_cnn", "objective=[val_accuracy,latency_ms]", "hardware=cpu", "hardware.threads=1")


def prepared(*words: str) -> WithCosts:
    evaluator = setup_of(*WORDS, *words).evaluator
    assert isinstance(evaluator, WithCosts)
    return evaluator


def test_the_program_gives_what_the_network_gives(tmp_path: Path) -> None:
    setup = setup_of(*WORDS)
    task = setup.dataset.task
    network = setup.space.build(next(iter(setup.space.known().values())), task).eval()
    image = torch.randn(1, task.channels, task.height, task.width)
    with torch.inference_mode():
        expected = network(image).numpy()
        answers: Any = onnx_call(network, image, 1)()
    assert len(answers) == 1
    assert np.allclose(answers[0], expected, atol=1e-4)
    onnx_program(network, torch.cat([image, image])).save(str(tmp_path / "m.onnx"))
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    assert session.run(["outputs"], {"images": image.numpy().repeat(3, 0)})[0].shape == (3, task.outputs)


@pytest.mark.parametrize("by", ["pytorch", "onnx"])
def test_it_is_on_record_who_ran_the_network(by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    called = []
    monkeypatch.setattr(costs, "onnx_call", lambda *arguments: called.append(1) or onnx_call(*arguments))
    evaluator = prepared(f"hardware.latency_by={by}")
    facts = evaluator.prepare()
    assert facts["latency"]["by"] == by
    genome = next(iter(setup_of(*WORDS).space.known().values()))
    [found] = evaluator.evaluate([Job(Trial(0, Proposal(genome)), 0, 0)])
    assert found.status == "ok"
    assert found.metrics["latency_ms"] > 0
    assert len(called) == (by == "onnx")


def test_a_resumed_run_goes_by_its_record() -> None:
    then = prepared("hardware.latency_by=onnx").prepare()
    assert prepared("hardware.latency_by=pytorch").prepare(then)["latency"]["by"] == "onnx"
    older = {"latency": {name: value for name, value in then["latency"].items() if name != "by"}}
    assert prepared("hardware.latency_by=onnx").prepare(older)["latency"]["by"] == "pytorch"


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "PACKAGES", ("onnx", "no_such_package"))
    with pytest.raises(ConfigError, match=r"hardware.latency_by=onnx: needs no_such_package; install nasrun\[export\]"):
        prepared("hardware.latency_by=onnx")
    prepared("hardware.latency_by=pytorch")


@pytest.mark.parametrize("words", [(), ("objective.metric=parameters", "objective.mode=min")])
def test_it_is_refused_where_nothing_asks_for_latencies(words: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as error:
        setup_of("hardware.latency_by=onnx", *words)
    assert str(error.value).startswith("hardware.latency_by=onnx: no option needs latencies; add constraints.latency_")
    assert "\n" not in str(error.value)
    setup_of("hardware.latency_by=onnx", "constraints.latency_ms=5")
    setup_of("hardware.latency_by=pytorch", *words)
