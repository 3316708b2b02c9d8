"""Those who act in a run: strategy, evaluator, executor."""

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
    """Decides what to measure next. It knows its space and what it was told, nothing else.

    Constructors take `space`, `objective` and `rng`, then the options of the YAML as keyword-only arguments.
    The proposals of one strategy become the trials 0, 1, 2, ... in the order in which `ask` returned them.
    """

    initial: int = 0
    """Trials that are proposed before anything that was told is made use of; 0 where it makes no difference."""

    uses_checkpoints: bool = False
    """Whether proposals go on from checkpoints of earlier trials (`warm_start`), which `required_checkpoints` names."""

    inherits: bool = False
    """Whether children begin with weights of their parents, for which these must be saved (`Evaluator.saves`)."""

    length: int | None = None
    """Trials that the strategy takes from beginning to end; None: any number will do."""

    budgets: tuple[int, ...] = ()
    """Cumulative epochs that its proposals have, lowest first, where these are known beforehand; empty: any."""

    multi_objective: bool = False
    """Whether all objectives are improved, where there are several; else the first one alone."""

    begins_known: bool = False
    """Whether its first proposals are the known networks of the space (`SearchSpace.known`), best first."""

    steerable: bool = True
    """Whether it takes a space whose limits steer what is drawn (`nasrun.strategies.steering`)."""

    draws_from_space: bool = True
    """Whether it proposes what the space samples, mutates or mixes, which can be chosen from pools (`prescreen`)."""

    follows_derived: bool = False
    """Whether it proposes what the evaluator derives (`tell_derived`), one architecture after each epoch."""

    @abstractmethod
    def ask(self, n: int) -> list[Proposal]:
        """Between 0 and `n` proposals; an empty list means: tell me first (or: I am done)."""

    @abstractmethod
    def tell(self, trial: Trial, measurements: Sequence[Measurement]) -> None:
        """Take in what was measured for a trial, one measurement per repeat; failed trials are told too."""

    def reject(self, proposal: Proposal, reason: str) -> None:
        """Take in that a proposal was turned down, and why: it is no trial, is never told, and another is asked for. A
        strategy that counts what it proposed counts it out; one that learns from failures may. Here: nothing."""

    def tell_derived(self, genome: Genome) -> None:
        """Take in what an evaluator derived from its architecture weights (`SharedEvaluator.derived`) after it trained
        them for an epoch. Here: nothing is done."""

    @property
    def done(self) -> bool:
        """True when the strategy will make no more proposals, whatever it is told."""
        return False

    def required_checkpoints(self) -> Collection[int]:
        """Trials that were told and whose checkpoints later proposals may start from, or `selected_trial` may name."""
        return ()

    def selected_trial(self) -> int | None:
        """The trial whose network is what the search came to; None: the best by the objective."""
        return None

    def epochs(self, trials: int) -> float | None:
        """Epochs that so many trials take in all, about; None: for each of them those of the evaluator."""
        return None

    def draw(self, rng: np.random.Generator) -> Genome | None:
        """A genome as the strategy's policy would propose it now, drawn with a generator of the caller. Nothing that
        the strategy proposes is changed by it. None: it has no policy; samples of the space will do."""
        return None

    def messages(self) -> Sequence[str]:
        """What the user should be told that came up since the last call, a line each."""
        return ()

    def notes(self) -> Mapping[str, Any]:
        """What the strategy learned, as JSON values, for `strategy.json` (loss curves, suggestions); may be empty."""
        return {}


class StrategyWrapper(Strategy):
    """Goes round another strategy (`inner`): whatever a subclass does not define itself is the inner one's."""

    def __init__(self, inner: Strategy) -> None:
        self.inner = inner
        self.initial, self.length, self.budgets = inner.initial, inner.length, inner.budgets
        self.uses_checkpoints, self.multi_objective = inner.uses_checkpoints, inner.multi_objective
        self.steerable, self.begins_known, self.inherits = inner.steerable, inner.begins_known, inner.inherits
        self.draws_from_space, self.follows_derived = inner.draws_from_space, inner.follows_derived

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


class Evaluator(ABC):
    """Measures architectures. It knows nothing of strategies, journals or tables."""

    on_progress: Callable[[Progress], None] = staticmethod(lambda progress: None)
    """Called with the progress of the job in training; the executor sets it."""

    metrics: tuple[str, ...] = ("val_accuracy",)
    """The metrics that `evaluate` reports for every trial that succeeds: what an objective may name."""

    optional_metrics: tuple[str, ...] = ()
    """Further metrics, which it reports where `measure_also` asks for them."""

    repeats: int = 1
    """Measurements of one trial: seeds, initial weights and data order differ between them."""

    saves: bool = False
    """Whether jobs write their weights to `save_to`."""

    trains_on: bool = False
    """Whether trainings are real ones that can be continued: `train_on` and `test`."""

    final_data: str = "all the training data"
    """What the winner is trained on, in words."""

    final_step: str = "final training and test"
    """What `final` does with the winner, in words for the user."""

    final_epochs: int | None = None
    """Epochs of the winner's final training; None: there is none, or it is not counted in epochs."""

    time_limit: float | None = None
    """Seconds that a job may take; an evaluator ends it then, and an executor a worker that does not. None: any."""

    follows_recipe: bool = False
    """Whether networks are trained as the config's section `recipe` says."""

    pad_to: int | None = None
    """Images are enlarged to that many pixels in height and width by repeating their border; None: left as they are."""

    preload: tuple[str, ...] = ()
    """Modules that worker processes import before anything else, once for all of them."""

    @property
    def threads(self) -> tuple[int, int] | None:
        """CPU threads of a training now and at most, where they may be chosen anew (`use_threads`); else None."""
        return None

    def use_threads(self, threads: int | None) -> bool:
        """Train with so many threads from now on; None: with all, since no worker trains any more. Whether it does."""
        return False

    def prepare(self, recorded: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Decide what is decided once per run (device, precision) and load the data; returns facts for the record.

        `recorded`: what this returned when an interrupted run was started, which is then taken as it was.
        """
        return {}

    def messages(self) -> Sequence[str]:
        """What the user should know before the first trial, after `prepare`, a line each."""
        return ()

    def measure_also(self, names: Sequence[str]) -> None:
        """Add some of the `optional_metrics` to `metrics`, before `prepare`."""

    def deployed(self, network: torch.nn.Module) -> torch.nn.Module:
        """An architecture's network as it is measured and exported: what its latency is taken of. Here: as it is."""
        return network

    def group(self, jobs: Sequence[Job]) -> Sequence[Job]:
        """The jobs of a queue (never empty) to evaluate together next; the first of the queue is among them.

        What is chosen depends on the queue alone, so that a resumed run forms the same groups. Here: the first.
        """
        return jobs[:1]

    @abstractmethod
    def evaluate(self, jobs: Sequence[Job]) -> Iterator[Measurement]:
        """Measure a group of jobs; yields one measurement each, in any order.

        A job that fails yields a measurement with status `failed` and the reason; it never raises.
        """

    def final(self, job: Job) -> Mapping[str, Any]:
        """Train or load the winner of a finished search and measure it on the test set, which is used nowhere else.

        Returns `metrics`, `history` and `seconds`; empty where the evaluator has nothing to add. The weights go to
        `job.save_to`.
        """
        return {}

    def train_longer(self, job: Job, behind: int) -> Mapping[str, Any]:
        """Train the winner from the weights at `job.load_from`, which have so many epochs of the final training behind
        them, to `final_epochs` in all, under a schedule of its own; returns what `final` does. For evaluators that say
        so (`trains_on`).
        """
        raise NotImplementedError

    def train_on(self, job: Job, *, search_data: bool = False) -> Mapping[str, Any]:
        """Train the winner of a search on, from the archive at `job.load_from` (None: from new weights) to the budget
        of its proposal, on the data of the final training, or on those that the search trains on. Returns `history` and
        `seconds`; the archive goes to `job.save_to`. For evaluators that say so (`trains_on`).
        """
        raise NotImplementedError

    def test(self, job: Job) -> Mapping[str, Any]:
        """Measure the network of the archive at `job.load_from` as `final` does after its training; returns the same.
        For evaluators that say so (`trains_on`)."""
        raise NotImplementedError

    def unsupported_budget_reason(self, budget: int) -> str | None:
        """Why nothing can be measured at a budget in epochs; None where it can, or where that is not known yet."""
        return None

    def estimate(self, trial: Trial, timer: Callable[[], float] | None = None) -> float | None:
        """Seconds that one repeat of a trial is expected to take, from a short timing; None where it has no meaning.

        `timer`: the clock that these are seconds of; None: `time.monotonic`.
        """
        return None

    def estimate_start(self, genome: Genome) -> float:
        """Seconds that are expected to pass before the first trial, from a short timing with an architecture."""
        return 0.0

    def work(self, epochs: int, horizon: int) -> float:
        """What the first epochs of a schedule over `horizon` cost, in epochs of the usual price: they may be less."""
        return float(epochs)


class SharedEvaluator(Evaluator):
    """Measures architectures with weights that all of them share, and that are trained between the trials.

    Trials come in rounds of `rounds`; before each round the weights are trained for one epoch. In between they stay as
    they are, so that the order of the trials of a round makes no difference.
    """

    rounds: int
    """Trials after each epoch of the shared weights."""

    warm_up_epochs: int = 0
    """Epochs of the shared weights before the first trial, besides the one before each round."""

    derives: bool = False
    """Whether it learns weights of architectures and derives one from them (`derived`)."""

    def derived(self) -> Derivation | None:
        """The architecture that the architecture weights come to by now, and these; None where there are none."""
        return None

    def draw_from(self, space: SearchSpace) -> None:
        """Draw what the weights are trained on from a space round the own one, as where limits steer a search."""

    def sample(self, rng: np.random.Generator) -> Genome | None:
        """An architecture to train the weights on where the strategy has no policy. None: a sample of the space."""
        return None

    def unsupported_budget_reason(self, budget: int) -> str | None:
        return "weights that all architectures share have no budgets; choose evaluator=train or evaluator=table"

    @abstractmethod
    def train_shared(
        self, draw: Callable[[np.random.Generator], Genome], rng: np.random.Generator, epoch: int, epochs: int
    ) -> Mapping[str, float]:
        """Train the shared weights for `epoch` (from 1) of `epochs`, on architectures that `draw` gives.

        The first epoch starts from new weights. Everything random comes from `rng`. Returns finite metrics; raises
        where a loss is not finite.
        """

    @abstractmethod
    def save(self, path: Path) -> None:
        """Write the weights, and all else that the next epoch takes up, to a file that is there as a whole or not."""

    @abstractmethod
    def load(self, path: Path) -> None:
        """Go on from what `save` wrote."""


class Executor(ABC):
    """Moves jobs to where they run, and knows nothing of what they are."""

    @abstractmethod
    def submit(self, jobs: Sequence[Job]) -> None:
        """Queue the jobs of one or more trials."""

    @abstractmethod
    def wait(self) -> list[Measurement]:
        """Block until at least one measurement is there, and return all that are."""

    @property
    @abstractmethod
    def free(self) -> int:
        """How many more jobs can start at once."""

    def at_work(self) -> Sequence[WorkerState]:
        """What each worker is at; empty where the caller's process is the only one. May be asked from any thread."""
        return ()

    @abstractmethod
    def close(self) -> None:
        """End what is running and free the resources."""
