"""Progressive search: from simple architectures to complex ones, of which a predictor chooses (PNAS)."""

import math
from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import numpy as np

from nasrun.core import Genome, Measurement, Objective, Origin, Proposal, SearchSpace, Strategy, Trial
from nasrun.core.options import AtLeast, Positive
from nasrun.strategies.predictor.reading import GenomeReader, shares_below, standardised
from nasrun.strategies.predictor.settings import EnsembleSettings

PATIENCE = 1000
"""Simplest architectures drawn in a row that were all proposed before, after which there are no more."""


class Known(NamedTuple):
    """One architecture that was told: its score, what the networks read of it, and its trial."""

    score: float
    genome: Genome
    trial: int | None
    entries: np.ndarray


@dataclass(kw_only=True, frozen=True)
class Growing:
    """`first` of the simplest architectures are measured; then, level by level, the `beam` best by the predictor out of
    `children` at most, which are what the ones before can grow into."""

    first: Annotated[int, AtLeast(2)] = 20
    beam: Positive = 20
    children: Positive = 2000


class PNAS(Strategy):
    """Measures the simplest architectures, and goes on with the most promising of what they grow into.

    Source: Liu et al., "Progressive Neural Architecture Search", ECCV 2018 (arXiv 1712.00559), algorithm 1. The
    simplest architectures (`SearchSpace.simplest`) are measured first. Then, level by level, each of the last level's
    is grown by a part in every way (`SearchSpace.grown`): a block of a cell, an edge, a layer. An ensemble of networks,
    trained from new weights on all that was told, predicts their scores, and the `beam` best by its mean are measured.
    When nothing of a level grows any more, it begins anew with others of the simplest, and knows more by then.

    Other than in the paper: of the simplest ones `first` are drawn, where there are more; networks read one input per
    token and position (or `SearchSpace.encode`), not sequences, and predict ranks, which are the same for any metric;
    of more than `children` architectures so many are drawn, and those that failed are not grown. An architecture that
    was met before is not proposed again. ValueError where the architectures of a space do not grow.
    """

    draws_from_space = False

    def __init__(
        self,
        space: SearchSpace,
        objective: Objective,
        rng: np.random.Generator,
        *,
        growing: Growing = Growing(),
        ensemble: EnsembleSettings = EnsembleSettings(),
    ) -> None:
        self._space, self._objective, self._rng = space, objective, rng
        self._growing, self._ensemble = growing, ensemble
        if not space.grown(space.simplest(np.random.default_rng(0))):
            raise ValueError(
                "search_space: its architectures do not grow, which strategy=pnas goes by; choose one of several "
                "depths, or of cells (nasbench201, micro_cell)"
            )
        self._entries = GenomeReader(space, ensemble.encoding)
        self.initial = growing.first
        self._known: list[Known] = []
        self._level: list[Known] = []
        self._waiting = 0
        self._exhausted = False
        self._seen: set[Hashable] = set()
        self._levels: list[int] = []
        self._queue: deque[Proposal] = deque(self._simplest())

    def ask(self, n: int) -> list[Proposal]:
        if not self._queue and not self._waiting and not self._exhausted:
            self._queue.extend(self._grown() or self._simplest() or self._left())
            self._exhausted = not self._queue
        proposals = [self._queue.popleft() for _ in range(min(n, len(self._queue)))]
        self._waiting += len(proposals)
        return proposals

    def tell(self, trial: Trial, measurements: Sequence[Measurement]) -> None:
        self._waiting -= 1
        self._take(trial.proposal.genome, self._objective.score(measurements), trial.number)

    def reject(self, proposal: Proposal, reason: str) -> None:
        self._waiting -= 1
        self._take(proposal.genome, -math.inf, None)

    def _take(self, genome: Genome, score: float, trial: int | None) -> None:
        known = Known(score, genome, trial, self._entries(genome))
        self._known.append(known)
        if score > -math.inf:
            self._level.append(known)

    @property
    def done(self) -> bool:
        return self._exhausted

    def notes(self) -> dict[str, Any]:
        """`levels`: how many architectures each level proposed."""
        return {"levels": self._levels}

    def _simplest(self) -> list[Proposal]:
        """Different ones of the simplest architectures."""
        found: list[Proposal] = []
        missed = 0
        while len(found) < self._growing.first and missed < PATIENCE:
            genome = self._space.simplest(self._rng)
            missed = 0 if self._new(genome) else missed + 1
            if not missed:
                found.append(Proposal(genome, origin=Origin.SAMPLE))
        if found:
            self._levels.append(len(found))
        return found

    def _left(self) -> list[Proposal]:
        """What any architecture grows into, where all of the simplest were met."""
        self._level = [known for known in self._known if known.score > -math.inf]
        return self._grown()

    def _grown(self) -> list[Proposal]:
        """The most promising that the last level grows into, and that was not met before."""
        children: dict[Hashable, tuple[Genome, int | None]] = {}
        for parent in self._level:
            for genome in self._space.grown(parent.genome):
                key = self._space.key(genome)
                if key not in self._seen:
                    children.setdefault(key, (genome, parent.trial))
        self._level = []
        candidates = list(children.values())
        if len(candidates) > self._growing.children:
            places = self._rng.choice(len(candidates), self._growing.children, replace=False)
            candidates = [candidates[place] for place in sorted(places.tolist())]
        if not candidates:
            return []
        best = self._best([genome for genome, _ in candidates])
        chosen = [candidates[place] for place in best]
        self._levels.append(len(chosen))
        return [Proposal(g, parent=p, origin=Origin.PREDICTED) for g, p in chosen if self._new(g)]

    def _best(self, genomes: Sequence[Genome]) -> list[int]:
        """The places of the `beam` genomes of the highest prediction, best first."""
        from nasrun.strategies.predictor.network import ensemble_predictions  # torch is not imported before

        predicted = ensemble_predictions(
            np.stack([known.entries for known in self._known]),
            standardised(shares_below([known.score for known in self._known])),
            np.stack([self._entries(genome) for genome in genomes]),
            int(self._rng.integers(2**62)),
            self._ensemble,
        )
        return np.argsort(-predicted.mean(0), kind="stable")[: self._growing.beam].tolist()  # type: ignore[no-any-return]

    def _new(self, genome: Genome) -> bool:
        """Whether a genome was not met before; from now on it was."""
        key = self._space.key(genome)
        new = key not in self._seen
        self._seen.add(key)
        return new
