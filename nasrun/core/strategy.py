"""The interface of strategies, and the base of their wrappers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nasrun.core.types import Genome, Measurement, Proposal, Trial

if TYPE_CHECKING:
    import numpy as np


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
        """Propose architectures to evaluate next.

        Args:
            n: the maximum number of proposals, from 1 on.

        Returns:
            Up to `n` proposals. An empty list means that results must be told first, or that the strategy is done.
        """

    @abstractmethod
    def tell(self, trial: Trial, measurements: Sequence[Measurement]) -> None:
        """Receive the results of a trial.

        Args:
            trial: the trial, with the proposal that `ask` returned.
            measurements: one per repeat, in any order; those of failed repeats have no metrics.
        """

    def reject(self, proposal: Proposal, reason: str) -> None:
        """Receive the rejection of a proposal, with the reason: it becomes no trial, is never told, and another is
        asked for.

        A strategy that counts its proposals must not count it; one that learns from failures may use it. Default:
        ignored.

        Args:
            proposal: as `ask` returned it.
            reason: which limit it exceeds, in one line.
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

        Args:
            rng: the generator to draw with.
        """
        return None

    def messages(self) -> Sequence[str]:
        """New messages for the user since the last call, one line each."""
        return ()

    def notes(self) -> Mapping[str, Any]:
        """What the strategy learned (loss curves, suggestions), as JSON values for `strategy.json`; may be empty."""
        return {}


class StrategyWrapper(Strategy):
    """Wraps another strategy (`inner`) and delegates to it whatever a subclass does not override. Attributes that are
    not properties have their values at the time of construction."""

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
