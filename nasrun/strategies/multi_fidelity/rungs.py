"""The rungs of budgets, for strategies that train many architectures briefly and continue the best."""

from bisect import bisect_left, insort
from collections.abc import Sequence
from typing import NamedTuple

from nasrun.core import Genome, Proposal

FAILED = -float("inf")


class Member(NamedTuple):
    """A trial that was measured at a rung. Members sort from the best to the worst, equal ones by their number."""

    loss: float
    trial: int
    genome: Genome

    @property
    def failed(self) -> bool:
        return self.loss == float("inf")


class Rungs:
    """Cumulative budgets in epochs, lowest first; makes the proposals that climb them and keeps the best at the highest
    reached.

    Budgets are `budgets`, or `max_budget` divided by powers of `eta` and rounded down, as long as they are at least
    `min_budget`. ValueError, beginning with the key, if there would be only one.
    """

    def __init__(self, min_budget: int, max_budget: int, eta: int, budgets: Sequence[int] | None) -> None:
        if budgets is not None:
            if len(budgets) < 2 or list(budgets) != sorted(set(budgets)):
                raise ValueError(
                    f"budgets={list(budgets)}: expected two or more numbers of epochs, each larger than the one before"
                )
            self.budgets = tuple(budgets)
        else:
            found = [max_budget]
            while max_budget // eta ** len(found) >= min_budget:
                found.append(max_budget // eta ** len(found))
            if len(found) < 2:
                raise ValueError(
                    f"max_budget={max_budget}: leaves only one rung, so nothing would be stopped early; "
                    f"must be >= min_budget * eta = {min_budget * eta}"
                )
            self.budgets = tuple(reversed(found))
        self.steps = tuple(b - a for a, b in zip((0, *self.budgets), self.budgets, strict=False))
        self._best: tuple[int, float, int] | None = None

    @property
    def top(self) -> int:
        """The index of the highest rung."""
        return len(self.budgets) - 1

    def start(self, genome: Genome, origin: str, rung: int = 0) -> Proposal:
        """The proposal to train a new architecture up to a rung."""
        return Proposal(genome, budget=self.budgets[rung], origin=origin, horizon=self.budgets[-1])

    def promotion(self, member: Member, rung: int) -> Proposal:
        """The proposal to continue a member's training from its checkpoint up to a rung."""
        return self.start(member.genome, "promote", rung)._replace(parent=member.trial, warm_start="continue")

    def rung(self, proposal: Proposal) -> int:
        """The rung of a proposal."""
        return self.budgets.index(proposal.budget or 0)

    def member(self, trial: int, proposal: Proposal, score: float) -> Member:
        """The member of a completed proposal; updates the best at the highest rung."""
        rung = self.rung(proposal)
        if score > FAILED and (self._best is None or (rung, score) > self._best[:2]):
            self._best = (rung, score, trial)
        return Member(-score, trial, proposal.genome)

    @property
    def best(self) -> int | None:
        """The trial with the best score at the highest rung that any trial reached; the first completed of equal
        ones."""
        return None if self._best is None else self._best[2]


class Rung:
    """The members of a rung by rank, and those of them that may still be promoted (`open`, also by rank)."""

    def __init__(self, eta: int, most: int | None = None) -> None:
        """`most`: maximum number of members of the rung; None: unknown."""
        self._eta, self._most = eta, most
        self.members: list[Member] = []
        self.open: list[Member] = []
        # The same by trial number, because the required checkpoints are asked for after every trial.
        self.needed: dict[int, None] = {}
        self.promoted: list[int] = []

    def add(self, member: Member) -> None:
        """Add a member, and remove from `open` those whose rank is now too low."""
        insort(self.members, member)
        if not member.failed:
            insort(self.open, member)
            self.needed[member.trial] = None
        if self._most is not None:
            while self.open and self._rank(self.open[-1]) >= self._most // self._eta:
                del self.needed[self.open.pop().trial]

    @property
    def ready(self) -> bool:
        """Whether a member is among the best 1/eta and not promoted yet."""
        return bool(self.open) and self._rank(self.open[0]) < len(self.members) // self._eta

    def promote(self) -> Member:
        """The best member that is not promoted yet; marks it as promoted."""
        member = self.open.pop(0)
        del self.needed[member.trial]
        self.promoted.append(member.trial)
        return member

    def _rank(self, member: Member) -> int:
        return bisect_left(self.members, member)
