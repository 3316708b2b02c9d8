"""Wrappers of any strategy: measure no architecture twice, and none above the cost limits."""

import json
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np

from nasrun.core import Cost, Genome, Measurement, Proposal, SearchSpace, Strategy, StrategyWrapper, Task, Trial
from nasrun.core.options import Positive
from nasrun.core.words import counted

PATIENCE = 1000
"""Maximum number of proposals in a row that a wrapper rejects before the search ends."""
UNITS = {"parameters": "parameters", "flops": "FLOPs", "model_bytes": "bytes", "peak_memory": "bytes"}
"""The units of the limits."""


class Deduplicate(StrategyWrapper):
    """Prevents training an architecture again that was measured at the same budget.

    `reuse`: the duplicate is a trial, and takes over the result of the first. `resample`: the inner strategy is told
    that result at once and asked for another proposal; the duplicate is not a trial. Proposals that start from a
    checkpoint are never duplicates. With `resample` the search ends when the space is exhausted, or when 1,000
    proposals in a row were duplicates.
    """

    def __init__(self, inner: Strategy, space: SearchSpace, mode: Literal["reuse", "resample"]) -> None:
        super().__init__(inner)
        self._space, self._mode = space, mode
        self._seen: dict[Hashable, int] = {}
        self._results: dict[int, Sequence[Measurement]] = {}
        self._shadows: dict[int, list[Proposal]] = {}
        self._count = 0
        self._turned_down = 0

    def ask(self, n: int) -> list[Proposal]:
        proposals: list[Proposal] = []
        while len(proposals) < n and not self._exhausted:
            asked = self.inner.ask(n - len(proposals))
            if not asked:
                break
            for proposal in asked:
                original = self._seen.get(self._key(proposal))
                if original is not None and self._mode == "resample":
                    self._turn_down(proposal, original)
                else:
                    proposals.append(self._admit(proposal, original))
        return proposals

    def _admit(self, proposal: Proposal, original: int | None) -> Proposal:
        self._turned_down = 0
        if original is None and proposal.warm_start == "none":
            self._seen[self._key(proposal)] = self._count
        elif original is not None:
            proposal = proposal._replace(reuse_of=original)
        self._count += 1
        return proposal

    def _turn_down(self, proposal: Proposal, original: int) -> None:
        self._turned_down += 1
        if original in self._results:
            self.inner.tell(Trial(original, proposal), self._results[original])
        else:
            self._shadows.setdefault(original, []).append(proposal)

    def _key(self, proposal: Proposal) -> Hashable:
        if proposal.warm_start != "none":
            return self._count, "warm"
        hparams = json.dumps(proposal.hparams, sort_keys=True) if proposal.hparams else ""
        return self._space.key(proposal.genome), proposal.budget, hparams

    def tell(self, trial: Trial, measurements: Sequence[Measurement]) -> None:
        self.inner.tell(trial, measurements)
        if self._mode == "resample":
            self._results[trial.number] = measurements
            for shadow in self._shadows.pop(trial.number, ()):
                self.inner.tell(Trial(trial.number, shadow), measurements)

    @property
    def _exhausted(self) -> bool:
        if self._mode == "reuse":
            return False
        # With continued training runs there can be more proposals than architectures.
        every = not self.inner.uses_checkpoints and len(self._seen) == self._space.size
        return self._turned_down >= PATIENCE or every

    @property
    def done(self) -> bool:
        return self.inner.done or self._exhausted


class Price(NamedTuple):
    """The costs that limits apply to: parameters, FLOPs, and values in memory at a time (`SearchSpace.peak_values`),
    each for one input; `values` is 0 if no limit needs it."""

    parameters: int
    flops: int
    values: int = 0


@dataclass(kw_only=True, frozen=True)
class Constraints:
    """The maximum cost of an architecture, by formula; None: no limit.

    `automatic`: the limit of FLOPs is the bound of the search space, not the user's. `model_bytes`: of the weights,
    `peak_memory`: bytes of the activations that are in memory at a time; both for numbers of `bits` bits.
    """

    parameters: Positive | None = None
    flops: Positive | None = None
    automatic: bool = False
    model_bytes: Positive | None = None
    peak_memory: Positive | None = None
    bits: int = 32

    @property
    def limits(self) -> dict[str, int]:
        """The limits that are set, by name."""
        return {name: getattr(self, name) for name in UNITS if getattr(self, name) is not None}

    def price(self, space: SearchSpace, genome: Genome, task: Task) -> Price | Cost:
        """The cost of an architecture, by formula."""
        cost = space.cost(genome, task)
        return cost if self.peak_memory is None else Price(*cost, space.peak_values(genome, task) or 0)

    def measured(self, price: Price | Cost) -> dict[str, int]:
        """A cost in the units of each limit that is set."""
        values = price.values if isinstance(price, Price) else 0
        found = (price.parameters, price.flops, price.parameters * self.bits // 8, values * self.bits // 8)
        return {name: amount for name, amount in zip(UNITS, found, strict=True) if getattr(self, name) is not None}

    def allow(self, price: Price | Cost) -> bool:
        """Whether a cost is within all limits."""
        return self.usage(price) <= 1

    def usage(self, price: Price | Cost) -> float:
        """The largest share of a limit that a cost reaches; above 1 if it is over one, 0 without limits."""
        # Called for every proposed architecture and every width tried, so it avoids dictionaries.
        share = 0.0
        if self.parameters is not None:
            share = price.parameters / self.parameters
        if self.flops is not None:
            share = max(share, price.flops / self.flops)
        if self.model_bytes is not None:
            share = max(share, price.parameters * self.bits // 8 / self.model_bytes)
        if self.peak_memory is not None and isinstance(price, Price):
            share = max(share, price.values * self.bits // 8 / self.peak_memory)
        return share

    def times(self, share: float) -> "Constraints":
        """The limits multiplied by a share."""
        smaller: dict[str, Any] = {name: max(1, int(limit * share)) for name, limit in self.limits.items()}
        return replace(self, **smaller)

    def exceeded(self, price: Price | Cost) -> list[str]:
        """A description of each limit that a cost exceeds; empty if it is within all limits."""
        if self.allow(price):
            return []
        found, limits = [], self.limits
        for name, value in self.measured(price).items():
            if value > limits[name]:
                automatic = self.automatic and name == "flops"
                set_to = f"auto, which is {limits[name]:,}" if automatic else str(limits[name])
                found.append(f"constraints.{name}={set_to} ({value:,} {UNITS[name]})")
        return found


class Constrain(StrategyWrapper):
    """Rejects architectures above a cost limit, known by formula, before anything is trained; counts them
    (`turned_down`).

    The inner strategy is told by `reject` and asked again. A rejected proposal is not a trial; `messages` reports the
    first, second, fifth, tenth and so on. The search ends when 1,000 proposals in a row were rejected.
    """

    def __init__(self, inner: Strategy, space: SearchSpace, task: Task, constraints: Constraints) -> None:
        super().__init__(inner)
        self._space, self._task, self._constraints = space, task, constraints
        self._in_a_row = self._waiting = 0
        self.proposed = self.turned_down = 0
        self._messages: list[str] = []

    def ask(self, n: int) -> list[Proposal]:
        proposals: list[Proposal] = []
        while len(proposals) < n and self._in_a_row < PATIENCE:
            asked = self.inner.ask(n - len(proposals))
            if not asked:
                self._note_end()
                break
            for proposal in asked:
                self.proposed += 1
                exceeded = self._constraints.exceeded(self._price(proposal.genome))
                if not exceeded:
                    self._in_a_row = 0
                    self._waiting += 1
                    proposals.append(proposal)
                else:
                    self._in_a_row += 1
                    self._note(exceeded)
                    self.inner.reject(proposal, f"over {' and '.join(exceeded)}")
        return proposals

    def _note_end(self) -> None:
        """Add a message if the inner strategy may be waiting for rejected proposals, which it cannot know about."""
        ignorant = type(self.inner).reject is Strategy.reject
        if ignorant and self.turned_down and not self._waiting and not self.inner.done:
            name = type(self.inner).__name__
            self._messages.append(
                f"{name} proposes nothing more; if it waits for one of the {self.turned_down} rejected proposals, "
                f"give it a method reject(proposal, reason)"
            )

    def _price(self, genome: Genome) -> Price | Cost:
        return self._constraints.price(self._space, genome, self._task)

    def _note(self, exceeded: Sequence[str]) -> None:
        """Count a rejection, and add a message when the count is 1, 2 or 5 times a power of ten."""
        self.turned_down += 1
        if str(self.turned_down).rstrip("0") in ("1", "2", "5"):
            lift = "; constraints.flops=null removes the limit" if self._constraints.automatic else ""
            self._messages.append(
                f"rejected {self.turned_down} of {counted(self.proposed, 'architecture')}, the last over "
                f"{' and '.join(exceeded)}{lift}"
            )

    def messages(self) -> Sequence[str]:
        found, self._messages = [*self.inner.messages(), *self._messages], []
        return found

    def tell(self, trial: Trial, measurements: Sequence[Measurement]) -> None:
        self._waiting -= 1
        super().tell(trial, measurements)

    @property
    def done(self) -> bool:
        return self.inner.done or self._in_a_row >= PATIENCE

    def draw(self, rng: np.random.Generator) -> Genome | None:
        """A draw of the inner strategy, or of the space, that is within the constraints; the last of 1,000 draws if
        none is."""
        for _ in range(PATIENCE):
            genome = self.inner.draw(rng)
            genome = self._space.sample(rng) if genome is None else genome
            if self._constraints.allow(self._price(genome)):
                break
        return genome
