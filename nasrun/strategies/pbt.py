"""Population-based training."""

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp, log
from typing import Annotated, Any

import numpy as np

from nasrun.core import Genome, Measurement, Objective, Origin, Proposal, SearchSpace, Strategy, Trial
from nasrun.core.options import Above, AtLeast, Between, Fraction, Positive
from nasrun.strategies.start import Start, StartingGenomes
from nasrun.strategies.variation import Mutator

FACTORS = (0.8, 1.2)
"""Factors that perturb a hyperparameter (section 4.1.1)."""

Range = list[Annotated[float, Above(0)]]


@dataclass(frozen=True)
class Member:
    """A member of the population: its recipe, its last successful trial with its epochs, and its latest score."""

    genome: Genome
    hparams: Mapping[str, float]
    trial: int | None = None
    epochs: int = 0
    score: float = -float("inf")


class Pbt(Strategy):
    """Trains a population side by side; every `ready` epochs the worst continue from copies of the best, with changed
    hyperparameters.

    Source: Jaderberg et al. 2017, "Population Based Training of Neural Networks", sections 3 and 4: truncation
    selection (the worst share `quantile` copies weights and hyperparameters of members drawn from the best share), then
    exploration (every hyperparameter is multiplied by 0.8 or 1.2, or with probability `resample` drawn anew). In the
    paper the members are not synchronised; here all of them are measured before any is replaced, so that the search
    does not depend on timing.

    Hyperparameters: `lr` and `weight_decay`, each a range [low, high] on a logarithmic scale that overrides the
    evaluator's setting, or None; and, with search_space=training_recipe, the genome, of which exploration mutates one
    gene (`mutations`: names to use, None: all). On other spaces members are different networks, and a copy keeps the
    genome of the original. The score is the objective. `generations`: None: until the trials are used up. `start`:
    known genomes of the first members.
    """

    uses_checkpoints = True

    def __init__(
        self,
        space: SearchSpace,
        objective: Objective,
        rng: np.random.Generator,
        *,
        population: Annotated[int, AtLeast(2)] = 8,
        ready: Positive = 2,
        generations: Positive | None = None,
        quantile: Annotated[float, Between(0, 0.5)] = 0.25,
        resample: Fraction = 0.25,
        lr: Range | None = None,
        weight_decay: Range | None = None,
        mutations: list[str] | None = None,
        start: Start = "none",
    ) -> None:
        self._ranges = {name: _checked(name, limits) for name, limits in (("lr", lr), ("weight_decay", weight_decay))
                        if limits is not None}  # fmt: skip
        if space.start is None and not self._ranges:
            raise ValueError(
                "lr=null: nothing to explore; set a range [low, high], or use search_space=training_recipe"
            )
        self._mutator = Mutator(space, mutations) if space.start is not None else None
        self._space, self._objective, self._rng = space, objective, rng
        self._ready, self._generations, self._resample = ready, generations, resample
        self._cut = max(1, int(population * quantile))
        self.initial = population
        self.length = None if generations is None else population * generations
        self._first = StartingGenomes(space, start, population)
        self.begins_known = self._first.known
        self._members: list[Member] = []
        self._generation = 1
        self._queue: deque[tuple[int, Proposal]] = deque()
        self._waiting: list[tuple[int, Proposal]] = []
        self._changes: list[dict[str, Any]] = []
        self._over = False
        for slot in range(population):
            member, origin = self._new()
            self._members.append(member)
            self._queue.append((slot, self._proposal(member, origin)))

    def ask(self, n: int) -> list[Proposal]:
        asked = [self._queue.popleft() for _ in range(min(n, len(self._queue)))]
        self._waiting.extend(asked)
        return [proposal for _, proposal in asked]

    def tell(self, trial: Trial, measurements: Sequence[Measurement]) -> None:
        self._settle(trial.proposal._replace(reuse_of=None), trial.number, self._objective.score(measurements))

    def reject(self, proposal: Proposal, reason: str) -> None:
        self._settle(proposal, None, -float("inf"))

    def _settle(self, proposal: Proposal, number: int | None, score: float) -> None:
        """Set a member's score, from a trial or a rejection; the next generation begins when all have theirs."""
        place = next(place for place, (_, waiting) in enumerate(self._waiting) if waiting == proposal)
        slot, _ = self._waiting.pop(place)
        if score > -float("inf"):
            self._members[slot] = Member(proposal.genome, proposal.hparams, number, proposal.budget or 0, score)
        else:
            self._members[slot] = replace(self._members[slot], score=score)
        self._note(slot, proposal, number, score)
        if not self._waiting and not self._queue:
            self._next_generation()

    @property
    def done(self) -> bool:
        return self._over

    def required_checkpoints(self) -> Collection[int]:
        found = {member.trial for member in self._members} | {proposal.parent for _, proposal in self._queue}
        return {number for number in found if number is not None}

    def notes(self) -> Mapping[str, Any]:
        return {"changes": self._changes}

    def _next_generation(self) -> None:
        """Exploit and explore, after the whole population is measured."""
        if self._generation == self._generations:
            self._over = True
            return
        self._generation += 1
        ranked = sorted(range(len(self._members)), key=lambda slot: (-self._members[slot].score, slot))
        fine = [slot for slot in ranked if self._members[slot].score > -float("inf")]
        replaced = {*ranked[-self._cut :], *(slot for slot in ranked if slot not in fine)}
        before = list(self._members)
        for slot, member in enumerate(before):
            if slot in replaced:
                best = fine[: self._cut]
                source = before[best[int(self._rng.integers(len(best)))]] if best else member
                self._members[slot] = self._explored(source)
            origin = Origin.EXPLOIT if slot in replaced else Origin.CONTINUE
            self._queue.append((slot, self._proposal(self._members[slot], origin)))

    def _new(self) -> tuple[Member, str]:
        """A member to begin with, known or random, and its origin."""
        genome, origin = self._first.draw(self._rng)
        return Member(genome, {name: self._drawn(name) for name in self._ranges}), origin

    def _drawn(self, name: str) -> float:
        low, high = self._ranges[name]
        return exp(self._rng.uniform(log(low), log(high)))

    def _explored(self, member: Member) -> Member:
        """The member with changed hyperparameters."""
        hparams = {name: self._changed(name, value) for name, value in member.hparams.items()}
        genome = member.genome if self._mutator is None else self._mutator(member.genome, self._rng)[0]
        return replace(member, genome=genome, hparams=hparams)

    def _changed(self, name: str, value: float) -> float:
        if self._rng.random() < self._resample:
            return self._drawn(name)
        low, high = self._ranges[name]
        return min(max(value * FACTORS[int(self._rng.integers(2))], low), high)

    def _proposal(self, member: Member, origin: str) -> Proposal:
        budget = member.epochs + self._ready
        if member.trial is None:
            return Proposal(member.genome, dict(member.hparams), budget, origin=origin)
        return Proposal(member.genome, dict(member.hparams), budget, member.trial, "continue", origin)

    def _note(self, slot: int, proposal: Proposal, number: int | None, score: float) -> None:
        """Add a row to the table of changes: how a member was trained, and its score."""
        said = " ".join(f"{name}={value:.4g}" for name, value in proposal.hparams.items())
        row = {"cycle": self._generation, "copy": slot, "trial": number, "change": proposal.origin}
        row |= {"from": proposal.parent, "to": f"{self._space.format(proposal.genome)} {said}".strip()}
        row |= {"first_loss": None, "last_loss": None, "chosen": None}
        self._changes.append({**row, "fitness": score if score > -float("inf") else None})


def _checked(name: str, limits: Range) -> tuple[float, float]:
    """A valid range; else ValueError, beginning with the key."""
    if len(limits) != 2 or limits[0] > limits[1]:
        raise ValueError(f"{name}={limits}: expected [low, high]")
    return limits[0], limits[1]
