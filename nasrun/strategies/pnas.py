"""Progressive search from simple architectures to complex ones, chosen by a predictor (PNAS)."""

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
"""Number of simplest architectures drawn in a row, all proposed before, after which they count as exhausted."""


class Known(NamedTuple):
    """A completed architecture: its score, its trial, and the networks' input for it."""

    score: float
    genome: Genome
    trial: int | None
    entries: np.ndarray


@dataclass(kw_only=True, frozen=True)
class Growing:
    """How a search grows: `first` of the simplest architectures are measured; then, level by level, the `beam` best by
    the predictor of at most `children` that the last level can grow into."""

    first: Annotated[int, AtLeast(2)] = 20
    beam: Positive = 20
    children: Positive = 2000


class PNAS(Strategy):
    """Measures the simplest architectures, and continues with the most promising ones that they can grow into.

    Source: Liu et al., "Progressive Neural Architecture Search", ECCV 2018 (arXiv 1712.00559), algorithm 1. The
    simplest architectures (`SearchSpace.simplest`) are measured first. Then, level by level, each of the last level's
    is grown by one part in every possible way (`SearchSpace.grown`): a block of a cell, an edge, a layer. An ensemble
    of networks, trained from new weights on all results, predicts their scores, and the `beam` best by its mean are
    measured. When nothing of a level can grow, the search restarts with others of the simplest, and keeps its results.

    Differences from the paper: if there are more than `first` simplest ones, `first` are drawn; networks read one input
    per token and position (or `SearchSpace.encode`), not sequences, and predict ranks, which are the same for any
    metric; of more than `children` architectures, `children` are drawn, and failed ones are not grown. No architecture
    is proposed twice. ValueError if the architectures of a space cannot grow.
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
                "search_space: its architectures cannot grow, as strategy=pnas needs; choose a space with several "
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
        """Grow any completed architecture, when all of the simplest were met."""
        self._level = [known for known in self._known if known.score > -math.inf]
        return self._grown()

    def _grown(self) -> list[Proposal]:
        """The most promising new architectures that the last level can grow into."""
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
        """The indices of the `beam` genomes with the highest predictions, best first."""
        from nasrun.strategies.predictor.network import ensemble_predictions  # imports torch

        predicted = ensemble_predictions(
            np.stack([known.entries for known in self._known]),
            standardised(shares_below([known.score for known in self._known])),
            np.stack([self._entries(genome) for genome in genomes]),
            int(self._rng.integers(2**62)),
            self._ensemble,
        )
        return np.argsort(-predicted.mean(0), kind="stable")[: self._growing.beam].tolist()  # type: ignore[no-any-return]

    def _new(self, genome: Genome) -> bool:
        """Whether a genome was not met before; marks it as met."""
        key = self._space.key(genome)
        new = key not in self._seen
        self._seen.add(key)
        return new
