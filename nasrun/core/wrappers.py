"""Bases of wrappers, which pass on whatever a subclass does not override."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nasrun.core.interfaces import Evaluator, Strategy
from nasrun.core.types import Genome, Job, Measurement, Progress, Proposal, Trial

if TYPE_CHECKING:
    import numpy as np
    import torch


class StrategyWrapper(Strategy):
    """Wraps another strategy (`inner`) and delegates to it whatever a subclass does not override."""

    def __init__(self, inner: Strategy) -> None:
        self.inner = inner
        self.initial, self.length, self.budgets = inner.initial, inner.length, inner.budgets
        self.uses_checkpoints, self.multi_objective = inner.uses_checkpoints, inner.multi_objective
        self.steerable, self.begins_known, self.inherits = inner.steerable, inner.begins_known, inner.inherits
        self.draws_from_space, self.follows_derived = inner.draws_from_space, inner.follows_derived
        self.reads_scores = inner.reads_scores

    def ask(self, n: int) -> list[Proposal]:
        return self.inner.ask(n)

    def tell(self, trial: Trial, measurements: Sequence[Measurement]) -> None:
        self.inner.tell(trial, measurements)

    def reject(self, proposal: Proposal, reason: str) -> None:
        self.inner.reject(proposal, reason)

    def tell_derived(self, genome: Genome) -> None:
        self.inner.tell_derived(genome)

    @property
    def done(self) -> bool:
        return self.inner.done

    def required_checkpoints(self) -> Collection[int]:
        return self.inner.required_checkpoints()

    def selected_trial(self) -> int | None:
        return self.inner.selected_trial()

    def epochs(self, trials: int) -> float | None:
        return self.inner.epochs(trials)

    def draw(self, rng: np.random.Generator) -> Genome | None:
        return self.inner.draw(rng)

    def messages(self) -> Sequence[str]:
        return self.inner.messages()

    def notes(self) -> Mapping[str, Any]:
        return self.inner.notes()


class EvaluatorWrapper(Evaluator):
    """Wraps another evaluator (`inner`) and delegates to it whatever a subclass does not override."""

    def __init__(self, inner: Evaluator) -> None:
        for name in Evaluator.__annotations__:
            if name != "on_progress":
                setattr(self, name, getattr(inner, name))
        self.inner = inner

    @property
    def on_progress(self) -> Callable[[Progress], None]:  # type: ignore[override]
        """As of the inner evaluator."""
        return self.inner.on_progress

    @on_progress.setter
    def on_progress(self, call: Callable[[Progress], None]) -> None:
        self.inner.on_progress = call

    @property
    def threads(self) -> tuple[int, int] | None:
        return self.inner.threads

    def use_threads(self, threads: int | None) -> bool:
        return self.inner.use_threads(threads)

    def prepare(self, recorded: Mapping[str, Any] | None = None) -> dict[str, Any]:
        return self.inner.prepare(recorded)

    def messages(self) -> Sequence[str]:
        return self.inner.messages()

    def measure_also(self, names: Sequence[str]) -> None:
        self.inner.measure_also(names)
        self.metrics = (*self.metrics, *(name for name in self.inner.metrics if name not in self.metrics))

    def deployed(self, network: torch.nn.Module) -> torch.nn.Module:
        return self.inner.deployed(network)

    def group(self, jobs: Sequence[Job]) -> Sequence[Job]:
        return self.inner.group(jobs)

    def evaluate(self, jobs: Sequence[Job]) -> Iterator[Measurement]:
        return self.inner.evaluate(jobs)

    def final(self, job: Job) -> Mapping[str, Any]:
        return self.inner.final(job)

    def train_longer(self, job: Job, behind: int) -> Mapping[str, Any]:
        return self.inner.train_longer(job, behind)

    def train_on(self, job: Job, *, search_data: bool = False) -> Mapping[str, Any]:
        return self.inner.train_on(job, search_data=search_data)

    def test(self, job: Job) -> Mapping[str, Any]:
        return self.inner.test(job)

    def estimate(self, trial: Trial, timer: Callable[[], float] | None = None) -> float | None:
        return self.inner.estimate(trial, timer)

    def estimate_start(self, genome: Genome) -> float:
        return self.inner.estimate_start(genome)

    def work(self, epochs: int, horizon: int) -> float:
        return self.inner.work(epochs, horizon)

    def unsupported_budget_reason(self, budget: int) -> str | None:
        return self.inner.unsupported_budget_reason(budget)
