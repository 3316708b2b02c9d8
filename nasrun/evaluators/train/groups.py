"""Which jobs of a queue evaluator `train` trains in one computation. torch is imported when jobs are compared."""

import contextlib
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from itertools import pairwise
from math import log2
from typing import TYPE_CHECKING, Any, Literal

from nasrun.core import Genome, Job, SearchSpace, Task
from nasrun.hardware.devices import Runtime
from nasrun.training.dense.threads import LARGEST, MOST_THREADS
from nasrun.training.settings import TrainSettings

if TYPE_CHECKING:
    from nasrun.training.dense.steps import Shape

Replicas = Literal["auto", "equal", "close", "padded", "off"]

WASTE = 1.25
"""How many times the parameters of networks of close widths may grow by padding, as on CUDA, where the CPU leaves gaps
in memory. Up to here the 25 of the ASNN paper's
grid took a quarter less time than one after the other; at twice the parameters nothing is gained."""

MOST = {"cpu": (64, 1_500_000), "cuda": (256, 2**28)}
"""Networks in a group, and parameters of all of them together; on the CPU, for each thread. Beyond these a step on the
CPU works in the main memory in place of the caches, and is slower than several smaller ones; on CUDA they are 4 GiB
with the optimizer's."""


class Groups:
    """Groups of jobs that can train together: plain dense networks of equal depth, trained in the same way.

    `replicas`: `equal` groups networks of the same widths, as repeats are; `close` does that too, and groups those that
    have no equal in the queue with others of nearly the same size; `padded` groups all of the same depth; `off` none.
    On CUDA the narrower ones of a group are padded with units that do nothing. `auto` is `equal` on the CPU, and
    `padded` on CUDA, where one large step replaces many small ones. `size`: networks in a group at most; None: `MOST`.
    On the CPU a job's result is the same to the bit in any group; a network of more than `LARGEST` parameters, which
    takes all threads there, trains alone.
    """

    def __init__(
        self,
        space: SearchSpace,
        task: Task,
        settings_of: Callable[[Job], TrainSettings],
        replicas: Replicas,
        size: int | None,
    ) -> None:
        self._space, self._task, self._settings_of = space, task, settings_of
        self._replicas, self._size = replicas, size
        self._mode: str | None = None
        self._largest: int | None = None
        self._most = MOST["cpu"]
        self._shapes: dict[Genome, Shape | None] = {}

    def decide(self, runtime: Runtime, recorded: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Settle what is grouped, or take it from the record of an interrupted run; returns the record."""
        facts = dict(recorded or self._decision(runtime))
        self._largest = LARGEST if runtime.device == "cpu" else None
        self._mode, self._most = facts["mode"], (facts["networks"], facts["parameters"])
        return facts

    def _decision(self, runtime: Runtime) -> dict[str, Any]:
        on_cpu = runtime.device == "cpu"
        times = min(runtime.threads, MOST_THREADS) if on_cpu else 1
        networks, parameters = (self._size, 2**62) if self._size else (times * most for most in MOST[runtime.device])
        mode, reason = self._replicas, "as configured"
        if mode == "auto":
            mode, reason = ("equal", "repeats in one computation") if on_cpu else ("padded", "one step for all")
        if mode != "off":
            reason += "; other networks than dense ones with ReLU train one after the other"
        return {"mode": mode, "reason": reason, "networks": networks, "parameters": parameters}

    def of(self, jobs: Sequence[Job]) -> Sequence[Job]:
        """The first job of a queue, and those after it that train together with it.

        Where a queue holds more jobs of a kind than one group may, they are spread evenly over several.
        """
        if len(jobs) < 2 or self._mode in (None, "off") or self._task.kind != "classification":
            return jobs[:1]
        key = self._key(jobs[0])
        if key is None:
            return jobs[:1]
        keys = [self._key(job) for job in jobs]
        fitting = [job for job, other in zip(jobs, keys, strict=True) if other == key]
        if len(fitting) == 1 and self._mode == "close":
            counts = Counter(keys)
            return self._close([job for job, other in zip(jobs, keys, strict=True) if counts[other] == 1])
        if len(fitting) == 1:
            return fitting
        groups = -(-len(fitting) // self._room(fitting))
        return fitting[: -(-len(fitting) // groups)]

    def _close(self, jobs: Sequence[Job]) -> Sequence[Job]:
        """The first of some jobs, and others whose networks are so near to it in size that padding wastes little."""
        key = self._key(jobs[0], "padded")
        alike = [job for job in jobs[1:] if self._key(job, "padded") == key]
        widest = self._widths(jobs[0])
        alike.sort(key=lambda job: sum(abs(log2(a / b)) for a, b in zip(self._widths(job), widest, strict=True)))
        group, own = [jobs[0]], _parameters(widest)
        networks, most = self._most
        for job in alike:
            widths = self._widths(job)
            wider = tuple(map(max, widths, widest))
            size, used = _parameters(wider) * (len(group) + 1), own + _parameters(widths)
            if len(group) < networks and size <= min(WASTE * used, most):
                group, widest, own = [*group, job], wider, used
        return [job for job in jobs if any(job is one for one in group)]

    def _room(self, jobs: Sequence[Job]) -> int:
        """How many networks as wide as the widest of these may be in a group."""
        widest = [max(layer) for layer in zip(*map(self._widths, jobs), strict=True)]
        networks, most = self._most
        return max(1, min(networks, most // _parameters(widest)))

    def _key(self, job: Job, mode: str | None = None) -> Hashable:
        """Equal for jobs that may train together in a mode; None for one that trains alone."""
        if job.load_from is not None or job.resumable:
            return None
        try:
            settings, shape = self._settings_of(job), self._shape(job.trial.proposal.genome)
        except Exception:
            return None  # it trains alone, and fails with its own reason
        if shape is None or settings.needs_autograd:
            return None
        widths = shape.widths
        if self._largest is not None and _parameters(widths) > self._largest:
            return None
        alike = (len(widths), widths[0], widths[-1]) if (mode or self._mode) == "padded" else widths
        return settings, alike, shape.relus, shape.rates

    def _widths(self, job: Job) -> tuple[int, ...]:
        """The widths of a network that is plain dense."""
        shape = self._shape(job.trial.proposal.genome)
        assert shape is not None
        return shape.widths

    def _shape(self, genome: Genome) -> "Shape | None":
        """The shape of a genome's network, which is built without memory for it; None unless it is plain dense."""
        from nasrun.training.dense.steps import dense_shape

        if genome not in self._shapes:
            self._shapes[genome] = None
            # A network that cannot be built, or not without memory, trains alone.
            with contextlib.suppress(Exception):
                self._shapes[genome] = dense_shape(self._space.outline(genome, self._task))
        return self._shapes[genome]


def _parameters(widths: Sequence[int]) -> int:
    return sum((before + 1) * after for before, after in pairwise(widths))
