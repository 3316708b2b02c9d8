"""The interfaces of a run: strategy, evaluator, executor."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nasrun.core.types import Derivation, Genome, Job, Measurement, Progress, Proposal, Trial, WorkerState

if TYPE_CHECKING:
    import numpy as np
    import torch

    from nasrun.core.search_space import SearchSpace


class Strategy(ABC):
    """Decides what to evaluate next. It knows only its space and the results passed to `tell`.

    Constructors take `space`, `objective` and `rng`, then the options of the YAML as keyword-only arguments.
    The proposals of a strategy become trials 0, 1, 2, ... in the order in which `ask` returns them.
    """

    initial: int = 0
    """Number of trials proposed before results have any influence; 0 if it makes no difference."""

    uses_checkpoints: bool = False
    """Whether proposals continue from checkpoints of earlier trials (`warm_start`), named by `required_checkpoints`."""

    inherits: bool = False
    """Whether children start with weights of their parents, which must therefore be saved (`Evaluator.saves`)."""

    length: int | None = None
    """Number of trials that the strategy takes in total; None: any number."""

    budgets: tuple[int, ...] = ()
    """Cumulative epochs of its proposals in ascending order, if known in advance; empty: any."""

    multi_objective: bool = False
    """Whether it optimises all objectives if there are several; otherwise only the first."""

    begins_known: bool = False
    """Whether its first proposals are the known networks of the space (`SearchSpace.known`), best first."""

    steerable: bool = True
    """Whether it accepts a space that scales genomes to the limits (`nasrun.strategies.steering`)."""

    draws_from_space: bool = True
    """Whether its proposals are samples, mutations or crossovers of the space, which `prescreen` can choose from
    pools."""

    reads_scores: bool = False
    """Whether it predicts from scores of untrained networks too (`SearchSpace.scores`, `prescreen.inputs`)."""

    follows_derived: bool = False
    """Whether it proposes the architectures that the evaluator derives (`tell_derived`), one after each epoch."""

    @abstractmethod
    def ask(self, n: int) -> list[Proposal]:
        """Return 0 to `n` proposals; an empty list means that results must be told first, or that the strategy is
        done."""

    @abstractmethod
    def tell(self, trial: Trial, measurements: Sequence[Measurement]) -> None:
        """Receive the measurements of a trial, one per repeat; failed trials are told too."""

    def reject(self, proposal: Proposal, reason: str) -> None:
        """Receive the rejection of a proposal, with the reason: it becomes no trial, is never told, and another is
        asked for.

        A strategy that counts its proposals must not count it; one that learns from failures may use it. Default:
        ignored.
        """

    def tell_derived(self, genome: Genome) -> None:
        """Receive the architecture that an evaluator derived from its architecture weights after an epoch
        (`SharedEvaluator.derived`). Default: ignored."""

    @property
    def done(self) -> bool:
        """Whether the strategy will make no more proposals, whatever the results."""
        return False

    def required_checkpoints(self) -> Collection[int]:
        """Told trials whose checkpoints later proposals may start from, or that `selected_trial` may name."""
        return ()

    def selected_trial(self) -> int | None:
        """The trial whose network is the result of the search; None: the best by the objective."""
        return None

    def epochs(self, trials: int) -> float | None:
        """Approximate total number of epochs of `trials` trials; None: the evaluator's epochs for each."""
        return None

    def draw(self, rng: np.random.Generator) -> Genome | None:
        """A genome drawn from the strategy's current policy with the caller's generator.

        The call does not change later proposals. None: the strategy has no policy; the caller then samples the space.
        """
        return None

    def messages(self) -> Sequence[str]:
        """New messages for the user since the last call, one line each."""
        return ()

    def notes(self) -> Mapping[str, Any]:
        """What the strategy learned (loss curves, suggestions), as JSON values for `strategy.json`; may be empty."""
        return {}


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
        """Make the decisions that hold for the whole run (device, precision) and load the data; return facts to record.

        `recorded`: the return value at the start of an interrupted run, whose decisions are then reused.
        """
        return {}

    def messages(self) -> Sequence[str]:
        """Messages for the user before the first trial, one line each; called after `prepare`."""
        return ()

    def measure_also(self, names: Sequence[str]) -> None:
        """Add some of `optional_metrics` to `metrics`; called before `prepare`."""

    def deployed(self, network: torch.nn.Module) -> torch.nn.Module:
        """The network as it is measured and exported, which is also the one timed for latency. Default: unchanged."""
        return network

    def group(self, jobs: Sequence[Job]) -> Sequence[Job]:
        """The jobs of a non-empty queue to evaluate together next; includes the first one.

        The choice must depend only on the queue, so that a resumed run forms the same groups. Default: the first job.
        """
        return jobs[:1]

    @abstractmethod
    def evaluate(self, jobs: Sequence[Job]) -> Iterator[Measurement]:
        """Measure a group of jobs; yields one measurement per job, in any order.

        Never raises for a job: a failed one yields a measurement with status `failed` and the reason.
        """

    def final(self, job: Job) -> Mapping[str, Any]:
        """Train or load the winner of a finished search and evaluate it on the test set, which nothing else uses.

        Returns `metrics`, `history` and `seconds`; empty if the evaluator has no final evaluation. The weights go to
        `job.save_to`.
        """
        return {}

    def train_longer(self, job: Job, behind: int) -> Mapping[str, Any]:
        """Continue the winner's final training from the weights at `job.load_from`, after `behind` epochs, up to
        `final_epochs` in total, with a new schedule; returns the same as `final`. For evaluators with `trains_on`.
        """
        raise NotImplementedError

    def train_on(self, job: Job, *, search_data: bool = False) -> Mapping[str, Any]:
        """Train the winner from the archive at `job.load_from` (None: new weights) up to the budget of its proposal, on
        the data of the final training or, with `search_data`, of the search. Returns `history` and `seconds`; the
        archive goes to `job.save_to`. For evaluators with `trains_on`.
        """
        raise NotImplementedError

    def test(self, job: Job) -> Mapping[str, Any]:
        """Evaluate the network of the archive at `job.load_from` as `final` does after training; returns the same. For
        evaluators with `trains_on`."""
        raise NotImplementedError

    def unsupported_budget_reason(self, budget: int) -> str | None:
        """The reason why a budget in epochs is not supported; None if it is, or if that is not known yet."""
        return None

    def estimate(self, trial: Trial, timer: Callable[[], float] | None = None) -> float | None:
        """Expected seconds of one repeat of a trial, from a short measurement; None if not applicable.

        `timer`: the clock that counts these seconds; None: `time.monotonic`.
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
        """Train the shared weights in `epoch` (from 1) of `epochs`, on architectures returned by `draw`.

        The first epoch starts from new weights. All randomness comes from `rng`. Returns finite metrics; raises if a
        loss is not finite.
        """

    @abstractmethod
    def save(self, path: Path) -> None:
        """Write the weights, and all other state that the next epoch needs, to a file atomically."""

    @abstractmethod
    def load(self, path: Path) -> None:
        """Restore the state written by `save`."""


class Executor(ABC):
    """Runs jobs somewhere, without knowledge of their content."""

    @abstractmethod
    def submit(self, jobs: Sequence[Job]) -> None:
        """Queue the jobs of one or more trials."""

    @abstractmethod
    def wait(self) -> list[Measurement]:
        """Block until at least one measurement is available, and return all available ones."""

    @property
    @abstractmethod
    def free(self) -> int:
        """Number of further jobs that can start immediately."""

    def at_work(self) -> Sequence[WorkerState]:
        """The state of each worker; empty if the caller's process is the only one. Thread-safe."""
        return ()

    @abstractmethod
    def close(self) -> None:
        """Stop running jobs and free the resources."""
