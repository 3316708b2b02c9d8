"""Optuna's tree-structured Parzen estimator (`pip install 'nasrun[tpe]'`)."""

import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np

from nasrun.core import Genome, Measurement, Objective, Origin, Proposal, SearchSpace, Strategy, Token, Trial
from nasrun.core.options import AtLeast, ConfigError, Positive

if TYPE_CHECKING:
    import optuna


class Tpe(Strategy):
    """Proposes architectures for which good results are more likely than bad ones, by density estimates of both.

    Source: Bergstra et al. 2011, "Algorithms for Hyper-Parameter Optimization", section 4, as implemented in Optuna.
    `through`: `encoding` searches the vectors of `space.encode`, each entry a number in [0, 1], so that neighbouring
    widths are alike; `choices` writes the genome token by token, each a categorical choice. `startup`: number of random
    trials at the start. `candidates`: number drawn for each proposal. `multivariate`: one density over all entries,
    Optuna's own default since version 5, in place of one for each. Trials in flight count as bad ones ("constant
    liar"), which keeps parallel trials apart.
    """

    draws_from_space = False

    def __init__(
        self,
        space: SearchSpace,
        objective: Objective,
        rng: np.random.Generator,
        *,
        through: Literal["encoding", "choices"] = "encoding",
        startup: Annotated[int, AtLeast(0)] = 10,
        candidates: Positive = 24,
        multivariate: bool = True,
    ) -> None:
        try:
            import optuna
        except ImportError:
            raise ConfigError("strategy=tpe: needs Optuna: pip install 'nasrun[tpe]'") from None
        self._space, self._objective, self._through = space, objective, through
        self.initial = startup
        self._length = len(space.encode(space.sample(rng)))
        seed = int(rng.integers(2**32))
        with _quiet():
            sampler = optuna.samplers.TPESampler(
                n_startup_trials=startup,
                n_ei_candidates=candidates,
                multivariate=multivariate,
                constant_liar=True,
                seed=seed,
            )
            self._study = optuna.create_study(direction="maximize", sampler=sampler)
        self._names: dict[tuple[int, tuple[Token, ...]], str] = {}
        self._waiting: dict[Genome, deque[optuna.trial.Trial]] = {}
        self._asked = 0
        self._told: set[int] = set()

    def ask(self, n: int) -> list[Proposal]:
        proposals = []
        with _quiet():
            for _ in range(n):
                trial = self._study.ask()
                genome = self._decoded(trial) if self._through == "encoding" else self._walked(trial)
                self._waiting.setdefault(genome, deque()).append(trial)
                proposals.append(Proposal(genome, origin=Origin.SAMPLE if self._asked < self.initial else Origin.TPE))
                self._asked += 1
        return proposals

    def tell(self, trial: Trial, measurements: Sequence[Measurement]) -> None:
        score = self._objective.score(measurements)
        # A dropped duplicate teaches nothing: told again, the best so far would attract all proposals.
        again = trial.number in self._told
        self._told.add(trial.number)
        self._finish(trial.proposal.genome, None if again or score == -float("inf") else score)

    def reject(self, proposal: Proposal, reason: str) -> None:
        self._finish(proposal.genome, None)

    def _finish(self, genome: Genome, score: float | None) -> None:
        """Tell the study the score of a genome that was asked for; None: no score."""
        import optuna

        asked = self._waiting[genome].popleft()
        if not self._waiting[genome]:
            del self._waiting[genome]
        with _quiet():
            if score is not None:
                self._study.tell(asked, score)
            else:
                self._study.tell(asked, state=optuna.trial.TrialState.FAIL)

    def _decoded(self, trial: "optuna.trial.Trial") -> Genome:
        entries = [trial.suggest_float(f"x{place}", 0.0, 1.0) for place in range(self._length)]
        return self._space.decode(np.array(entries))

    def _walked(self, trial: "optuna.trial.Trial") -> Genome:
        """A genome token by token; a choice has the same name wherever the same tokens are legal."""
        genome: Genome = ()
        while legal := self._space.choices(genome):
            name = self._names.setdefault((len(genome), legal), f"t{len(genome)}.{len(self._names)}")
            token = trial.suggest_categorical(name, legal) if len(legal) > 1 else legal[0]
            assert isinstance(token, int | str)
            genome = (*genome, token)
        return self._space.fit(genome)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Optuna's log lines and its warnings of experimental features; both are restored afterwards."""
    import optuna

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)
