"""MIHA: hyperparameters that evolve while one network trains."""

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np

from nasrun.core import Genome, Measurement, Objective, Origin, Proposal, SearchSpace, Strategy, Trial
from nasrun.core.options import AtLeast, Positive
from nasrun.strategies.variation import Mutator


class Network(NamedTuple):
    """The network after a trial; `trial` is None before the first. `epochs`: epochs that its weights were trained
    for."""

    trial: int | None
    genome: Genome
    epochs: int

    def trained(self, epochs: int, genome: Genome, origin: str, partners: tuple[int, ...] = ()) -> Proposal:
        """The proposal to train it further for some epochs with the recipe of a genome."""
        if self.trial is None:
            return Proposal(genome, budget=self.epochs + epochs, origin=origin)
        return Proposal(
            genome,
            budget=self.epochs + epochs,
            parent=self.trial,
            warm_start="continue",
            origin=origin,
            partners=partners,
        )


class Copy(NamedTuple):
    """A copy after its training: its network, losses and fitness. `worth` is None if it failed."""

    network: Network
    first: float | None
    last: float | None
    worth: float | None


class Outcome(NamedTuple):
    """The result of a proposal; `trial`: None if the proposal was rejected."""

    trial: int | None
    proposal: Proposal
    measurements: Sequence[Measurement]

    @property
    def network(self) -> Network:
        """The network that was trained."""
        return Network(self.trial, self.proposal.genome, self.proposal.budget or 0)


@dataclass(kw_only=True, frozen=True)
class Phases:
    """The lengths of the phases in epochs (`m` first and last, `n` each copy, `k` the chosen one), and the numbers of
    copies and cycles."""

    m: Positive = 10
    pop_size: Positive = 5
    n: Positive = 3
    k: Positive = 3
    cycles: Positive | None = 10

    @property
    def trials(self) -> int | None:
        """Total number of trials; None: no limit."""
        return None if self.cycles is None else 2 + self.cycles * (self.pop_size + 1)


@dataclass(kw_only=True, frozen=True)
class Choice:
    """How the fitness of a copy is computed, and what is trained further: the fittest copy or a mixture of the
    fittest."""

    fitness: Literal["published", "val_loss", "last_loss", "last_val_loss", "area", "train_loss"] = "published"
    times_batch: bool = False
    choose: Literal["selection", "crossover"] = "selection"
    crossover_parents: Annotated[int, AtLeast(2)] = 2
    weights: Literal["average", "fittest"] = "average"


class Miha(Strategy):
    """Trains one network and evolves its training recipe: `m` epochs; then, `cycles` times, `pop_size` copies are
    mutated once each and trained for `n` epochs, and the fittest is trained for another `k`; at the end `m` more
    epochs.

    Every segment is a trial that continues from the weights of the one before it, and from the state of its optimizer
    if that stays the same. Trials: 2 + cycles * (pop_size + 1); `cycles` None: as many cycles as the trials allow,
    without the last segment. `mutations`: names to use; None: all of the space. `keep_one`: copy 0 is not mutated.

    Fitness is (first loss - last loss) - last loss over the epochs of a copy, which rewards a low loss and a fast fall:
    of the training loss (`published`; `train_loss` is its earlier name) or the validation loss (`val_loss`). Others:
    the lowest last loss (`last_loss`, `last_val_loss`), or the lowest mean of the training losses (`area`).
    `times_batch`: losses are multiplied by the batch size, as in the authors' notebooks, whose losses are sums. If the
    evaluator reports no losses by epoch, the objective is used instead. The first of equal copies is taken; failed ones
    rank last, and if all failed the network continues unchanged.

    `choose`: `selection` trains the fittest copy further; `crossover` mixes the genes of the `crossover_parents`
    fittest, and `weights` are the mean of theirs (`average`) or those of the fittest. `outcome`: the result of the
    search is the last network, as published, or the best by the objective.
    """

    uses_checkpoints = True

    def __init__(
        self,
        space: SearchSpace,
        objective: Objective,
        rng: np.random.Generator,
        *,
        phases: Phases = Phases(),
        choice: Choice = Choice(),
        mutations: list[str] | None = None,
        keep_one: bool = False,
        outcome: Literal["last", "best"] = "last",
    ) -> None:
        if space.start is None:
            raise ValueError("_target_: miha changes how one network is trained; it needs search_space=training_recipe")
        if choice.choose == "crossover" and choice.crossover_parents > phases.pop_size:
            copies = f"there are no more than pop_size={phases.pop_size} copies"
            raise ValueError(f"crossover_parents={choice.crossover_parents}: {copies}")
        self._space, self._objective, self._rng = space, objective, rng
        self._mutator = Mutator(space, mutations)
        self._phases, self._keep_one, self._outcome = phases, keep_one, outcome
        self._fitness, self._times_batch = choice.fitness, choice.times_batch
        self._average = choice.weights == "average"
        self._parents = choice.crossover_parents if choice.choose == "crossover" else 1
        self.length = phases.trials
        self._network = Network(None, space.start, 0)
        self._phase: Literal["first", "copies", "chosen", "last", "over"] = "first"
        self._cycle = 0
        self._queue = deque([self._network.trained(phases.m, space.start, Origin.START)])
        self._waiting = 0
        self._told: list[Outcome] = []
        self._lineage: list[int] = []
        self._borders: list[int] = []
        self._changes: list[dict[str, Any]] = []

    def ask(self, n: int) -> list[Proposal]:
        proposals = [self._queue.popleft() for _ in range(min(n, len(self._queue)))]
        self._waiting += len(proposals)
        return proposals

    def tell(self, trial: Trial, measurements: Sequence[Measurement]) -> None:
        self._settle(trial.number, trial.proposal, measurements)

    def reject(self, proposal: Proposal, reason: str) -> None:
        self._settle(None, proposal, ())

    def _settle(self, number: int | None, proposal: Proposal, measurements: Sequence[Measurement]) -> None:
        """Record the result of a proposal, as a trial or rejected; the phase is over when all results are known."""
        self._waiting -= 1
        self._told.append(Outcome(number, proposal, measurements))
        if not self._waiting and not self._queue:
            told = sorted(self._told, key=lambda one: -1 if one.trial is None else one.trial)
            self._told = []
            self._advance(told)

    @property
    def done(self) -> bool:
        return self._phase == "over"

    def required_checkpoints(self) -> Collection[int]:
        proposals = list(self._queue)
        found = {number for proposal in proposals for number in (proposal.parent, *proposal.partners)}
        found |= {self._network.trial, *(one.trial for one in self._told)}
        return {number for number in found if number is not None}

    def selected_trial(self) -> int | None:
        return self._network.trial if self._outcome == "last" else None

    def notes(self) -> Mapping[str, Any]:
        return {"changes": self._changes, "lineage": self._lineage, "borders": self._borders}

    def _advance(self, told: Sequence[Outcome]) -> None:
        """End a phase, all of whose trials are completed: use their results, and prepare the next phase."""
        if self._phase == "copies":
            self._choose(list(map(self._copy, told)))
            return
        [one] = told
        if any(measurement.status == "ok" for measurement in one.measurements):
            self._take(one.network)
        if self._phase == "last":
            self._phase = "over"
        elif self._cycle == self._phases.cycles:
            self._phase = "last"
            self._borders.append(self._network.epochs)
            self._queue.append(self._network.trained(self._phases.m, self._network.genome, Origin.LAST))
        else:
            self._begin_cycle()

    def _begin_cycle(self) -> None:
        """Queue copies of the network, each mutated once."""
        self._phase, self._cycle = "copies", self._cycle + 1
        self._borders.append(self._network.epochs)
        for copy in range(self._phases.pop_size):
            keep = self._keep_one and copy == 0
            same = self._network.genome
            genome, origin = (same, Origin.UNCHANGED) if keep else self._mutator(same, self._rng)
            self._queue.append(self._network.trained(self._phases.n, genome, origin))

    def _choose(self, copies: Sequence[Copy]) -> None:
        """Train the fittest copy, or a mixture of the fittest, further."""
        parent = self._network
        fit = [copy for copy in copies if copy.worth is not None]
        best = [copy.network for copy in sorted(fit, key=lambda copy: -_number(copy.worth))[: self._parents]]
        rows = [self._row(number, parent, copy, copy.network in best) for number, copy in enumerate(copies)]
        self._changes.extend(rows)
        self._phase = "chosen"
        genome, origin = parent.genome, Origin.SELECTION
        partners: tuple[int, ...] = ()
        if best:
            genome = best[0].genome
            self._take(best[0])
        if len(best) > 1:
            origin = Origin.CROSSOVER
            for other in best[1:]:
                genome = self._space.crossover(genome, other.genome, self._rng)
            if self._average:
                partners = tuple(network.trial for network in best[1:] if network.trial is not None)
        self._queue.append(self._network.trained(self._phases.k, genome, origin, partners))

    def _take(self, network: Network) -> None:
        self._network = network
        assert network.trial is not None
        self._lineage.append(network.trial)

    def _copy(self, one: Outcome) -> Copy:
        fine = [measurement for measurement in one.measurements if measurement.status == "ok"]
        if not fine:
            return Copy(one.network, None, None, None)
        metric = "val_loss" if self._fitness.endswith("val_loss") else "train_loss"
        scale = int(self._space.hparams(one.network.genome)["batch_size"]) if self._times_batch else 1
        curves = [[scale * row[metric] for row in m.history if metric in row] for m in fine]
        if not all(curves):
            return Copy(one.network, None, None, self._objective.score(one.measurements))
        first, last = fmean(curve[0] for curve in curves), fmean(curve[-1] for curve in curves)
        if self._fitness == "area":
            worth = -fmean(fmean(curve) for curve in curves)
        else:
            worth = -last if self._fitness.startswith("last") else (first - last) - last
        return Copy(one.network, first, last, worth)

    def _row(self, copy: int, parent: Network, outcome: Copy, chosen: bool) -> dict[str, Any]:
        """A row of the table of changes."""
        genome = outcome.network.genome
        places = [place for place, token in enumerate(genome) if token != parent.genome[place]]
        return {
            "cycle": self._cycle,
            "copy": copy,
            "trial": outcome.network.trial,
            "change": self._names(places),
            "from": " ".join(str(parent.genome[place]) for place in places),
            "to": " ".join(str(genome[place]) for place in places),
            "first_loss": outcome.first,
            "last_loss": outcome.last,
            "fitness": outcome.worth,
            "chosen": chosen,
        }

    def _names(self, places: Sequence[int]) -> str:
        """The names of the genes at some positions of a genome."""
        named = getattr(self._space, "name_of", str)
        return " ".join(named(place) for place in places)


def _number(worth: float | None) -> float:
    return -float("inf") if worth is None else worth
