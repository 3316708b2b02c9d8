"""Search with a score predictor: an ensemble of small networks and an acquisition function."""

import math
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import numpy as np

from nasrun.core import Genome, Objective, Origin, Proposal, SearchSpace
from nasrun.core.options import AtLeast, NotEmpty, Positive
from nasrun.strategies.predictor.batches import ModelSearch
from nasrun.strategies.predictor.reading import GenomeReader, ranks_of, shares_below, standardised
from nasrun.strategies.predictor.settings import EnsembleSettings
from nasrun.strategies.start import Start, StartingGenomes
from nasrun.strategies.variation import Mutator

PATIENCE = 4
"""Maximum mutations tried per candidate, because most may be known already."""


class Candidate(NamedTuple):
    """An architecture that was not proposed yet, and the trial that it is a mutation of."""

    genome: Genome
    parent: int | None
    entries: np.ndarray


@dataclass(kw_only=True, frozen=True)
class Proposing:
    """How new architectures are made: `batch` of the best of `candidates`, mutations of the `parents` best.

    `mutations`: names to use; None: all of the space.
    """

    batch: Positive = 10
    candidates: Positive = 200
    parents: Positive = 10
    mutations: Annotated[list[str], NotEmpty()] | None = None

    def __post_init__(self) -> None:
        if self.batch > self.candidates:
            raise ValueError(f"batch={self.batch}: must be <= candidates={self.candidates}")


@dataclass(kw_only=True, frozen=True)
class Acquisition:
    """How candidates are ranked, from the mean and deviation of the networks' predictions."""

    acquisition: Literal["its", "ucb", "ei"] = "its"
    exploration: Annotated[float, AtLeast(0)] = 0.5

    def values(self, means: np.ndarray, deviations: np.ndarray, best: float, rng: np.random.Generator) -> np.ndarray:
        """The acquisition value of each candidate, float (candidates,), from the mean and deviation of its predictions
        and the best score so far; `its` draws from `rng`."""
        if self.acquisition == "its":
            return np.asarray(means + deviations * rng.standard_normal(len(means)))
        if self.acquisition == "ucb":
            return np.asarray(means + self.exploration * deviations)
        deviations = np.maximum(deviations, 1e-12)
        ratios = (means - best) / deviations
        below = np.array([0.5 * math.erfc(-ratio / 2**0.5) for ratio in ratios])
        return np.asarray(deviations * (ratios * below + np.exp(-(ratios**2) / 2) / (2 * math.pi) ** 0.5))


class Predictor(ModelSearch):
    """Bayesian optimization with an ensemble of networks that predict the score of an architecture.

    Source: White, Neiswanger and Savani, "BANANAS: Bayesian Optimization with Neural Architectures for Neural
    Architecture Search", AAAI 2021 (arXiv 1910.11858), algorithm 1. The search begins with `initial` random
    architectures (with `start`, known ones first). Then, for every `batch` proposals, `networks` networks are trained
    from new weights on all results; `candidates` are made by mutating the `parents` best, and those with the highest
    acquisition are proposed. With mean and standard deviation over the networks, `acquisition` is one of

    - `its`, independent Thompson sampling: an independent draw from the normal distribution of each candidate;
    - `ucb`, the upper confidence bound: the mean plus `exploration` standard deviations;
    - `ei`, the expected improvement over the best so far.

    Differences from the paper: networks read `space.encode` (`encoding=vector`) or one input per token and position
    (`tokens`), not paths, which only cells have; they predict ranks among the scores so far, which are the same for any
    metric, with the squared error, where the paper weighs errors by the accuracy; a candidate is mutated once, and
    again with probability 1/2 each time, so that there are new ones when all neighbours are known. Failed and
    infeasible trials count as worse than all others; infeasible ones do not count as trials. Nothing is proposed twice
    while mutations find something new.
    """

    reads_scores = True

    def __init__(
        self,
        space: SearchSpace,
        objective: Objective,
        rng: np.random.Generator,
        *,
        initial: Annotated[int, AtLeast(2)] = 20,
        start: Start = "none",
        proposing: Proposing = Proposing(),
        acquisition: Acquisition = Acquisition(),
        ensemble: EnsembleSettings = EnsembleSettings(),
    ) -> None:
        self._entries = GenomeReader(space, ensemble.encoding)
        super().__init__(space, objective, rng, StartingGenomes(space, start, initial), initial, self._entries)
        self._mutate = Mutator(space, proposing.mutations)
        self._proposing, self._acquisition, self._ensemble = proposing, acquisition, ensemble

    def _batch(self) -> list[Proposal]:
        """The candidates of the highest acquisition, best first."""
        from nasrun.strategies.predictor.network import ensemble_predictions  # imports torch

        candidates = self._made_up()
        targets = self.targets()
        read = [(one.genome, one.entries) for one in self._known] + [(one.genome, one.entries) for one in candidates]
        scores = ranks_of([self._space.scores(genome) for genome, _ in read])
        entries = np.concatenate([np.stack([row for _, row in read]), scores], 1)
        predicted = ensemble_predictions(
            entries[: len(self._known)],
            targets,
            entries[len(self._known) :],
            int(self._rng.integers(2**62)),
            self._ensemble,
        )
        values = self._acquisition.values(predicted.mean(0), predicted.std(0), float(targets.max()), self._rng)
        order = np.argsort(-values, kind="stable")[: self._proposing.batch]
        return [Proposal(candidates[i].genome, parent=candidates[i].parent, origin=Origin.PREDICTED) for i in order]

    def targets(self) -> np.ndarray:
        """The targets of the networks, float (completed trials,): standardised ranks."""
        return standardised(shares_below([known.score for known in self._known]))

    def _made_up(self) -> list[Candidate]:
        """Mutations of the best that were not proposed yet; random architectures if there are none."""
        best = sorted(self._known, key=lambda known: -known.score)[: self._proposing.parents]
        taken: set[Hashable] = set()
        found: list[Candidate] = []
        for attempt in range(PATIENCE * self._proposing.candidates):
            parent = best[attempt % len(best)]
            genome, _ = self._mutate(parent.genome, self._rng)
            while self._rng.random() < 0.5:
                genome, _ = self._mutate(genome, self._rng)
            key = self._space.key(genome)
            if key not in self._seen and key not in taken:
                taken.add(key)
                found.append(Candidate(genome, parent.trial, self._entries(genome)))
            if len(found) == self._proposing.candidates:
                return found
        if not found:
            drawn = [self._space.sample(self._rng) for _ in range(self._proposing.batch)]
            found = [Candidate(genome, None, self._entries(genome)) for genome in drawn]
        return found
