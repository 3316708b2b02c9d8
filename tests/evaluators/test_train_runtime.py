"""Evaluator train: its device, precision and threads."""

import json

import pytest
import torch

from nasrun.core.options import ConfigError
from nasrun.evaluators.train.memory import reason
from nasrun.hardware.devices import Hardware, Runtime
from tests.evaluators.conftest import RUNTIME, Bench


def test_nothing_works_before_prepare(bench: Bench) -> None:
    unprepared = type(bench.train)(bench.setup.space, bench.setup.dataset, bench.setup.hardware)
    [measurement] = unprepared.evaluate([bench.job()])
    assert measurement.status == "failed"
    assert "prepare()" in str(measurement.error)


def test_runtime_goes_through_json(bench: Bench) -> None:
    recorded = json.loads(json.dumps(bench.facts))
    assert Runtime.from_record(recorded["runtime"]) == RUNTIME
    assert bench.train.prepare(recorded) == bench.facts


def test_a_resumed_run_keeps_what_was_decided(bench: Bench) -> None:
    recorded = {"runtime": {**RUNTIME._asdict(), "precision": "bf16", "reason": "then"}}
    assert bench.train.prepare(recorded) == recorded
    [half] = bench.measure(bench.job())
    bench.train.prepare()
    assert bench.measure(bench.job())[0].metrics["train_loss"] != half.metrics["train_loss"]


def test_a_run_recorded_on_cuda_is_refused_without_one(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="started on a CUDA device, and none is usable here"):
        bench.train.prepare({"runtime": {**RUNTIME._asdict(), "device": "cuda"}})


def test_threads_are_set() -> None:
    Bench("hardware.threads=2")
    assert torch.get_num_threads() == 2
    Bench("hardware.threads=1")
    assert torch.get_num_threads() == 1


def test_threads_of_a_training_without_workers_beside_it_are_followed() -> None:
    """A run resumed on another machine trains its winner with its original number of threads; an older run, with that
    of a worker."""
    bench = Bench("hardware.workers=2", "hardware.threads=null")
    older = {name: value for name, value in bench.facts["runtime"].items() if name != "alone"}
    for runtime, alone in (({**older, "threads": 1, "alone": 3}, 3), ({**older, "threads": 2}, None)):
        bench.train.prepare({**bench.facts, "runtime": runtime})
        assert bench.train.threads is None
        assert torch.get_num_threads() == runtime["threads"]
        assert bench.train.use_threads(None) == (alone is not None)
        assert bench.train.threads == (None if alone is None else (alone, alone))
        assert torch.get_num_threads() == (alone or runtime["threads"])
    Bench("hardware.threads=1")


class TestHardware:
    """The requested settings, and this machine's result."""

    @pytest.fixture(autouse=True)
    def _no_cuda(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    def test_auto_is_the_cpu_without_cuda(self) -> None:
        runtime = Hardware().resolve()
        assert runtime.device == "cpu"
        assert runtime.precision in ("fp32", "bf16")
        assert runtime.threads >= 1
        assert runtime.reason

    @pytest.mark.parametrize(
        ("units", "precision"),
        [({}, "fp32"), ({"amx_bf16": True}, "bf16"), ({"avx512_bf16": True}, "bf16"), ({"avx512_bf16": False}, "fp32")],
    )
    def test_auto_precision_follows_the_units_of_the_cpu(
        self, units: dict[str, bool], precision: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: units, raising=False)
        assert Hardware().resolve().precision == precision
        assert Hardware(precision="fp32").resolve().precision == "fp32"

    @pytest.mark.parametrize(("capability", "precision"), [((7, 5), "fp16"), ((8, 0), "bf16"), ((9, 0), "bf16")])
    def test_auto_precision_follows_the_capability_of_the_gpu(
        self, capability: tuple[int, int], precision: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
        runtime = Hardware().resolve()
        assert (runtime.device, runtime.precision) == ("cuda", precision)

    def test_cuda_without_cuda_is_refused(self) -> None:
        with pytest.raises(ConfigError, match=r"hardware\.device=cuda"):
            Hardware(device="cuda").resolve()

    def test_fp16_without_cuda_is_refused(self) -> None:
        with pytest.raises(ConfigError, match=r"hardware\.precision=fp16"):
            Hardware(precision="fp16").resolve()
        with pytest.raises(ValueError, match="precision=fp16"):
            Hardware(precision="fp16", device="cpu")

    def test_threads(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert Hardware(threads=1).resolve().threads == 1
        monkeypatch.setattr("os.sched_getaffinity", lambda process: {0, 2, 5}, raising=False)
        assert Hardware().resolve().threads == 3
        monkeypatch.delattr("os.sched_getaffinity")
        assert Hardware().resolve().threads >= 1

    def test_many_more_threads_than_processors_are_refused_but_followed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("os.cpu_count", lambda: 16)
        hardware = Hardware(threads=16)
        recorded = hardware.resolve()._asdict()
        monkeypatch.setattr("os.cpu_count", lambda: 2)
        with pytest.raises(ConfigError, match=r"hardware\.threads=16: this machine has 2 processors"):
            hardware.resolve()
        assert Runtime.from_record(recorded).threads == 16  # a run that goes on here

    def test_jobs_ahead(self) -> None:
        assert Hardware().trials_in_flight == 1
        assert Hardware(in_flight=3).trials_in_flight == 3


def test_out_of_memory_is_called_so() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 50)
    for error in (caught.value, MemoryError(), torch.OutOfMemoryError("CUDA out of memory.\nTried 9 GiB")):
        assert reason(error).startswith("out of memory")
        assert "\n" not in reason(error)
    assert reason(MemoryError()) == "out of memory"
    assert reason(KeyError("x")) == "KeyError: 'x'"
    assert reason(ZeroDivisionError()) == "ZeroDivisionError"
    assert len(reason(ValueError("long " * 1000))) < 400
