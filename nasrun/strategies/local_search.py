"""Local search: hill climbing over neighbouring architectures, with restarts."""

from collections import deque
from collections.abc import Hashable, Sequence
from typing import Literal

import numpy as np

from nasrun.core import Genome, Measurement, Objective, Origin, Proposal, SearchSpace, Strategy, Trial
from nasrun.core.options import Positive
from nasrun.strategies.aging_evolution import Member
from nasrun.strategies.start import Start, StartingGenomes

PATIENCE = 1000
"""Number of random genomes in a row, all proposed before, after which the space counts as exhausted."""


class LocalSearch(Strategy):
    """Climbs from a random genome to better neighbours, and restarts from another when no neighbour is better.

    Sources: White, Nolen and Savani, "Exploring the Loss Landscape in Neural Architecture Search", UAI 2021 (their
    algorithm 1, and the variant that does not query the whole neighbourhood); Den Ottelander et al., "Local Search is a
    Remarkably Strong Baseline for Neural Architecture Search", EMO 2021. The neighbours are those of the space.

    `neighbours`: `all` measures the whole neighbourhood and moves to its best member if that is better; `first`
    measures the neighbours in random order and moves as soon as one is better. Every start measures `starts` random
    genomes and climbs from the best. `start`: known genomes that replace the first random ones, in this start and those
    after it.

    Nothing is proposed twice: an architecture (`space.key`) that was met before keeps its score, and a failed one
    counts as worse than all others. The search ends when a restart finds nothing new in 1,000 random genomes.

    With several trials in flight, `all` proposes neighbours of one genome only and waits for the last of them. `first`
    continues to propose neighbours while others are measured; a late one moves the search if it is better than the
    genome climbed from by then.
    """

    def __init__(
        self,
        space: SearchSpace,
        objective: Objective,
        rng: np.random.Generator,
        *,
        neighbours: Literal["all", "first"] = "first",
        starts: Positive = 1,
        start: Start = "none",
    ) -> None:
        self._space, self._objective, self._rng = space, objective, rng
        self._first, self._starts = neighbours == "first", starts
        self.initial = starts
        self._first_genomes = StartingGenomes(space, start)
        self.begins_known = self._first_genomes.known
        self._current: Member | None = None
        self._neighbours: dict[Hashable, Genome] = {}
        self._unmeasured: deque[Hashable] = deque()
        self._started: list[Member] = []
        self._starts_left = starts
        self._proposed: set[Hashable] = set()
        self._known: dict[Hashable, Member] = {}
        self._waiting = 0
        self._exhausted = False

    def ask(self, n: int) -> list[Proposal]:
        proposals: list[Proposal] = []
        while len(proposals) < n:
            found = self._next()
            if found is not None:
                key, proposal = found
                self._proposed.add(key)
                self._waiting += 1
                proposals.append(proposal)
            elif self._waiting or self.done:
                break  # the best is known when the last one in flight is completed
            else:
                self._settle()
        return proposals

    def _next(self) -> tuple[Hashable, Proposal] | None:
        """A start or neighbour that was not proposed before, with its key; None if there is none left."""
        if self._current is None:
            return self._start() if self._starts_left else None
        while self._unmeasured:
            key = self._unmeasured.popleft()
            if key not in self._proposed:
                return key, Proposal(self._neighbours[key], parent=self._current.trial, origin=Origin.NEIGHBOUR)
        return None

    def _start(self) -> tuple[Hashable, Proposal] | None:
        for _ in range(PATIENCE):
            proposal = self._first_genomes.proposal(self._rng)
            key = self._space.key(proposal.genome)
            if key not in self._proposed:
                self._starts_left -= 1
                return key, proposal
        self._starts_left, self._exhausted = 0, True
        return None

    def _settle(self) -> None:
        """Continue when all starts, or all neighbours, are measured: to the best of them, or to a new start.

        Every move is to a higher score and every start is a new architecture, so this terminates.
        """
        members = self._started if self._current is None else self._measured_neighbours()
        best = max(members, key=lambda member: member.score, default=None)
        self._started = []
        if best is not None and (self._current is None or best.score > self._current.score):
            self._move(best)
        else:
            self._current, self._starts_left = None, self._starts

    def _move(self, member: Member) -> None:
        """Continue to climb from a genome. With `first`, move at once to neighbours that are known to be better."""
        better: Member | None = member
        while better is not None:
            self._current = better
            genomes = self._space.neighbours(better.genome)
            self._neighbours = {self._space.key(genome): genome for genome in genomes}
            higher = [known for known in self._measured_neighbours() if self._first and known.score > better.score]
            better = max(higher, key=lambda known: known.score, default=None)
        keys = list(self._neighbours)
        if self._first:
            keys = [keys[place] for place in self._rng.permutation(len(keys)).tolist()]
        self._unmeasured = deque(keys)

    def _measured_neighbours(self) -> list[Member]:
        return [self._known[key] for key in self._neighbours if key in self._known]

    def tell(self, trial: Trial, measurements: Sequence[Measurement]) -> None:
        self._waiting -= 1
        score = self._objective.score(measurements)
        if score == -float("inf"):
            return
        member = Member(score, trial.proposal.genome, trial.number)
        self._known[self._space.key(member.genome)] = member
        if self._current is None:
            self._started.append(member)
        elif self._first and score > self._current.score:
            self._move(member)

    def reject(self, proposal: Proposal, reason: str) -> None:
        self._waiting -= 1

    @property
    def done(self) -> bool:
        return self._exhausted and self._current is None and not self._started and not self._waiting
