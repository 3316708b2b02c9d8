"""The interface of evaluators, and the base of their wrappers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nasrun.core.types import Derivation, Genome, Job, Measurement, Progress, Trial

if TYPE_CHECKING:
    import numpy as np
    import torch

    from nasrun.core.search_space import SearchSpace


class Evaluator(ABC):
    """Evaluates architectures. It knows nothing of strategies, journals or tables."""

    on_progress: Callable[[Progress], None] = staticmethod(lambda progress: None)
    """Called with the progress of the current job; set by the executor."""

    metrics: tuple[str, ...] = ("val_accuracy",)
    """Metrics that `evaluate` reports for every successful trial, and that an objective may name."""

    optional_metrics: tuple[str, ...] = ()
    """Further metrics, reported if `measure_also` requests them."""

    repeats: int = 1
    """Number of measurements per trial, which differ in seed, initial weights and data order."""

    saves: bool = False
    """Whether jobs write their weights to `save_to`."""

    trains_on: bool = False
    """Whether it supports continued training: `train_on` and `test`."""

    final_data: str = "all the training data"
    """Description of the winner's training data."""

    final_step: str = "final training and test"
    """Description, for the user, of what `final` does with the winner."""

    final_epochs: int | None = None
    """Epochs of the winner's final training; None: there is no final training, or it is not counted in epochs."""

    time_limit: float | None = None
    """Time limit of a job in seconds. The evaluator ends the job; the executor ends a worker that exceeds it. None: no
    limit."""

    follows_recipe: bool = False
    """Whether networks are trained with the settings of the config section `recipe`."""

    pad_to: int | None = None
    """Height and width in pixels to which smaller images are padded by repeating their border; None: no padding."""

    preload: tuple[str, ...] = ()
    """Modules that are imported once, before worker processes are forked."""

    @property
    def threads(self) -> tuple[int, int] | None:
        """Current and maximum number of CPU threads for training, if `use_threads` can change it; else None."""
        return None

    def use_threads(self, threads: int | None) -> bool:
        """Set the number of training threads; None: all, because no worker trains any more. Returns whether it took
        effect."""
        return False

    def prepare(self, recorded: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Make the decisions that hold for the whole run (device, precision) and load the data.

        Args:
            recorded: the return value at the start of an interrupted run, whose decisions are then reused.

        Returns:
            Facts to record in the journal, as JSON values.
        """
        return {}

    def messages(self) -> Sequence[str]:
        """Messages for the user before the first trial, one line each; called after `prepare`."""
        return ()

    def measure_also(self, names: Sequence[str]) -> None:
        """Add some of `Evaluator.optional_metrics` to `Evaluator.metrics`; called before `prepare`."""

    def deployed(self, network: torch.nn.Module) -> torch.nn.Module:
        """The network as it is measured and exported, which is also the one timed for latency. Default: unchanged."""
        return network

    def group(self, jobs: Sequence[Job]) -> Sequence[Job]:
        """The jobs of a queue to evaluate together next.

        The choice must depend only on the queue, so that a resumed run forms the same groups. Default: the first job.

        Args:
            jobs: the queue, not empty.

        Returns:
            Some of the jobs, the first one among them.
        """
        return jobs[:1]

    @abstractmethod
    def evaluate(self, jobs: Sequence[Job]) -> Iterator[Measurement]:
        """Measure a group of jobs. Never raises for a job: a failed one yields a measurement with status `failed` and
        the reason.

        Args:
            jobs: a group that `group` chose.

        Yields:
            One measurement per job, in any order, with all of `Evaluator.metrics` if it succeeded.
        """

    def final(self, job: Job) -> Mapping[str, Any]:
        """Train or load the winner of a finished search and evaluate it on the test set, which nothing else uses.

        Args:
            job: the winner; its weights go to `job.save_to`.

        Returns:
            The metrics by name as "metrics", those of each epoch as "history", and the "seconds" that it took; empty if
            there is no final evaluation.
        """
        return {}

    def train_longer(self, job: Job, behind: int) -> Mapping[str, Any]:
        """Continue the winner's final training up to `Evaluator.final_epochs` in total, with a new schedule. For
        evaluators with `Evaluator.trains_on`.

        Args:
            job: the winner, with its weights at `job.load_from`.
            behind: the epochs that it was trained for.

        Returns:
            The same as `final`.
        """
        raise NotImplementedError

    def train_on(self, job: Job, *, search_data: bool = False) -> Mapping[str, Any]:
        """Train the winner up to the budget of its proposal. For evaluators with `Evaluator.trains_on`.

        Args:
            job: the winner, with its archive at `job.load_from` (None: new weights). The new one goes to `job.save_to`.
            search_data: whether to train on the data of the search in place of those of the final training.

        Returns:
            `history` and `seconds`, as `final`.
        """
        raise NotImplementedError

    def test(self, job: Job) -> Mapping[str, Any]:
        """Evaluate the network of the archive at `job.load_from` as `final` does after training; returns the same. For
        evaluators with `Evaluator.trains_on`."""
        raise NotImplementedError

    def unsupported_budget_reason(self, budget: int) -> str | None:
        """The reason why a budget in epochs is not supported; None if it is, or if that is not known yet."""
        return None

    def estimate(self, trial: Trial, timer: Callable[[], float] | None = None) -> float | None:
        """Expected duration of one repeat of a trial, from a short measurement.

        Args:
            trial: what would be measured.
            timer: the clock that counts the seconds; None: `time.monotonic`.

        Returns:
            Seconds; None if not applicable.
        """
        return None

    def estimate_start(self, genome: Genome) -> float:
        """Expected seconds before the first trial, from a short measurement with an architecture."""
        return 0.0

    def work(self, epochs: int, horizon: int) -> float:
        """Cost of the first `epochs` of a schedule over `horizon` epochs, in units of a normal epoch; early epochs may
        cost less."""
        return float(epochs)


class SharedEvaluator(Evaluator):
    """Evaluates architectures with shared weights, which are trained between trials.

    Trials come in rounds of `rounds`; before each round the weights are trained for one epoch. They do not change
    within a round, so the order of its trials does not matter.
    """

    rounds: int
    """Trials after each epoch of the shared weights."""

    warm_up_epochs: int = 0
    """Additional epochs of the shared weights before the first trial."""

    derives: bool = False
    """Whether it learns architecture weights and derives an architecture from them (`derived`)."""

    def derived(self) -> Derivation | None:
        """The architecture derived from the current architecture weights, and these weights; None if there are none."""
        return None

    def draw_from(self, space: SearchSpace) -> None:
        """Draw the architectures that train the weights from `space`, which wraps the evaluator's own, for example to
        respect limits."""

    def sample(self, rng: np.random.Generator) -> Genome | None:
        """An architecture to train the weights on if the strategy has no policy. None: a sample of the space."""
        return None

    def unsupported_budget_reason(self, budget: int) -> str | None:
        return "shared weights have no budgets; choose evaluator=train or evaluator=table"

    @abstractmethod
    def train_shared(
        self, draw: Callable[[np.random.Generator], Genome], rng: np.random.Generator, epoch: int, epochs: int
    ) -> Mapping[str, float]:
        """Train the shared weights for an epoch. The first epoch starts from new weights.

        Args:
            draw: returns the architecture to train next.
            rng: the source of all randomness.
            epoch: from 1 on.
            epochs: their total number.

        Returns:
            Finite metrics of the epoch, by name.

        Raises:
            TrainingError: a loss is not finite (`nasrun.training.outcomes`).
        """

    @abstractmethod
    def save(self, path: Path) -> None:
        """Write the weights, and all other state that the next epoch needs, to a file atomically."""

    @abstractmethod
    def load(self, path: Path) -> None:
        """Restore the state written by `save`."""


class EvaluatorWrapper(Evaluator):
    """Wraps another evaluator (`inner`) and delegates to it whatever a subclass does not override. Attributes that are
    not properties have their values at the time of construction. Not for a `SharedEvaluator`."""

    def __init__(self, inner: Evaluator) -> None:
        self.inner = inner
        self.metrics, self.optional_metrics, self.repeats = inner.metrics, inner.optional_metrics, inner.repeats
        self.saves, self.trains_on, self.preload = inner.saves, inner.trains_on, inner.preload
        self.final_data, self.final_step, self.final_epochs = inner.final_data, inner.final_step, inner.final_epochs
        self.time_limit, self.follows_recipe, self.pad_to = inner.time_limit, inner.follows_recipe, inner.pad_to

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
