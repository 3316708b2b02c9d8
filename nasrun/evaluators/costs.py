"""What a network costs besides its training, added to what any evaluator reports: its price by formula, its latency."""

import statistics
import time
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from nasrun.core import Evaluator, EvaluatorWrapper, Genome, Job, Measurement, SearchSpace, Task, Trial
from nasrun.core.options import ConfigError, type_and_text
from nasrun.evaluators.latency_model import LatencyModel
from nasrun.hardware.devices import Hardware, Runtime
from nasrun.hardware.latency import times_of
from nasrun.hardware.latency_table import LatencyTable, read_table
from nasrun.hardware.layers import layers_of
from nasrun.hardware.measuring import measured
from nasrun.hardware.onnx_program import onnx_call

if TYPE_CHECKING:
    pass

LATENCY = "latency_ms"
COSTS = ("parameters", "flops", LATENCY)
"""The metrics that every evaluator can have: what `WithCosts` adds where they are asked for."""

FACTS = "latency"
TIMED_SECONDS = 0.1
PYTORCH, ONNX, TABLE = "pytorch", "onnx", "table"
"""What runs a network whose latency is measured, or that it is added up."""


class WithCosts(EvaluatorWrapper):
    """Goes round an evaluator and adds `names`, of `COSTS`, to the metrics of every measurement that succeeded.

    The latency is measured once per architecture and process, before anything is trained: the median of 20 to 200
    calls with one image, in milliseconds, of the untrained network in fp32, on the device and with the threads of
    the run, or by onnxruntime on the CPU (`Hardware.latency_by`). It is a measurement like any other: recorded, so
    that a resumed run goes by the record, and not the same from run to run. Other work on the machine, that of
    other workers too, makes it longer. With `Hardware.latency_table` it is added up from layers measured elsewhere,
    and repeats. A network that takes more than `limit` milliseconds is not trained: it is `infeasible`, and the
    reason says what it took.

    With a `limit`, in a space whose genomes have widths, some architectures are timed in `prepare`, and from those the
    latencies of others predicted (`LatencyModel`), by which the limit steers the search. The model is one of the facts.
    """

    def __init__(
        self,
        inner: Evaluator,
        space: SearchSpace,
        task: Task,
        hardware: Hardware,
        names: Sequence[str],
        limit: float | None = None,
    ) -> None:
        super().__init__(inner)
        self.metrics = (*inner.metrics, *(name for name in names if name not in inner.metrics))
        self._space, self._task, self._hardware = space, task, hardware
        self._names, self._limit = names, limit
        self._runtime: Runtime | None = None
        self._by: str = hardware.latency_by
        self._table: LatencyTable | None = None
        self._latencies: dict[Hashable, float] = {}
        self._model: LatencyModel | None = None

    def prepare(self, recorded: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Prepare the evaluator within; where a latency is to be measured, decide on what, and say it in the facts."""
        inner = None if recorded is None else {name: fact for name, fact in recorded.items() if name != FACTS}
        facts = dict(self.inner.prepare(inner))
        if LATENCY in self._names:
            own = facts.get("runtime") or self._hardware.resolve()._asdict()
            then = (recorded or {}).get(FACTS, {})
            self._runtime = Runtime.from_record(
                {**own, **{name: then[name] for name in ("device", "threads") if name in then}}
            )
            self._runtime.apply()
            self._by = str(then.get("by", PYTORCH if then else self._hardware.latency_by))
            where = "cpu" if self._by == ONNX else self._runtime.device
            facts[FACTS] = {"device": where, "threads": self._runtime.threads, "images": 1, "by": self._by}
            if self._hardware.latency_table is not None:
                facts[FACTS] = self._read_table(self._hardware.latency_table, then)
            if recorded is None:
                self._model = self._measured_model()
            elif "model" in recorded.get(FACTS, {}):
                self._model = LatencyModel.from_record(recorded[FACTS]["model"])
            if self._model is not None:
                facts[FACTS]["model"] = asdict(self._model)
        return facts

    def _read_table(self, path: str, then: Mapping[str, Any]) -> dict[str, Any]:
        """Read the table of latencies; returns what is to be on record. `then`: that of the start, which it must be."""
        self._table, digest = read_table(path)
        if then and then.get("sha256") != digest:
            raise ConfigError(f"hardware.latency_table={path}: not the table that this run began with")
        try:
            self._latency(self._space.sample(np.random.default_rng(0)))
        except LookupError as error:
            raise ConfigError(f"hardware.latency_table={path}: {error}") from None
        return {"by": TABLE, "sha256": digest, **self._table.check._asdict()}

    def _measured_model(self) -> LatencyModel | None:
        """A model of latencies as they are here and now; None where no limit is to steer by it."""
        genome = self._space.sample(np.random.default_rng(0))
        if self._limit is None or not self._space.width_positions(genome):
            return None
        return LatencyModel.measured(self._space, self._task, self._latency)

    def predicted_latency(self, genome: Genome) -> float | None:
        """Milliseconds that the network of a genome is expected to take; None before `prepare`, or without a limit."""
        return None if self._model is None else self._model.predict(self._space, genome, self._task)

    @property
    def threads(self) -> tuple[int, int] | None:
        # Latencies are of one number of threads throughout.
        return None if LATENCY in self._names else self.inner.threads

    def evaluate(self, jobs: Sequence[Job]) -> Iterator[Measurement]:
        costs: dict[tuple[int, int], tuple[dict[str, float], float]] = {}
        for job in jobs:
            number, started = job.trial.number, time.monotonic()
            try:
                found = self._costs(job.trial)
            except Exception as error:  # a job never raises, whatever a space builds
                text = type_and_text(error)
                yield Measurement(number, job.repeat, "failed", error=text, seconds=time.monotonic() - started)
                continue
            spent = time.monotonic() - started
            if self._limit is not None and found[LATENCY] > self._limit:
                reason = f"{LATENCY} {found[LATENCY]:.3g}: over constraints.{LATENCY}={self._limit:g}; not trained"
                yield Measurement(number, job.repeat, "infeasible", error=reason, seconds=spent)
                continue
            costs[number, job.repeat] = found, spent
        within = [job for job in jobs if (job.trial.number, job.repeat) in costs]
        for measurement in measured(self.inner, within) if within else ():
            found, spent = costs[measurement.trial, measurement.repeat]
            metrics = {**measurement.metrics, **found} if measurement.status == "ok" else measurement.metrics
            yield measurement._replace(metrics=metrics, seconds=measurement.seconds + spent)

    def _costs(self, trial: Trial) -> dict[str, float]:
        """The values of the metrics that are added, for the network of a trial."""
        price: dict[str, float] = self._space.cost(trial.proposal.genome, self._task)._asdict()
        if LATENCY in self._names:
            key = self._space.key(trial.proposal.genome)
            if key not in self._latencies:
                self._latencies[key] = self._latency(trial.proposal.genome)
            price[LATENCY] = self._latencies[key]
        return {name: price[name] for name in self._names}

    def _latency(self, genome: Genome) -> float:
        """Milliseconds that the network of a genome takes for one image; torch's global generator stays as it was."""
        if self._table is not None:
            made = partial(self._space.build, genome, self._task)
            return self._table.predict(layers_of(lambda: self.inner.deployed(made()), self._task))
        import torch

        assert self._runtime is not None, "prepare() comes before anything is evaluated"
        task, runtime = self._task, self._runtime
        with torch.random.fork_rng([]), torch.inference_mode():
            torch.manual_seed(0)
            network = self._space.build(genome, task)
            if self._by == ONNX:
                image = torch.randn(1, task.channels, task.height, task.width)
                run = onnx_call(self.inner.deployed(network).eval(), image, runtime.threads)
                return statistics.median(times_of(run, TIMED_SECONDS))
            model = self.inner.deployed(runtime.place(network)).eval()
            image = torch.randn(1, task.channels, task.height, task.width).to(
                runtime.device, memory_format=runtime.memory_format(model)
            )

            def call() -> None:
                model(image)
                if runtime.device == "cuda":
                    torch.cuda.synchronize()

            return statistics.median(times_of(call, TIMED_SECONDS))
