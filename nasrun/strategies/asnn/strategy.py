"""ASNN: a network that suggests the widths of dense networks for the accuracies that are asked for."""

from collections import deque
from collections.abc import Mapping, Sequence
from itertools import chain, product
from math import log2
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np

from nasrun.core import Genome, Measurement, Objective, Origin, Proposal, SearchSpace, Strategy, Trial
from nasrun.core.options import Above, AtLeast, IsPath, NotEmpty, Positive
from nasrun.strategies.asnn.network import WIDEST, Ensemble, NetworkSettings
from nasrun.strategies.asnn.table import MeasuredTable
from nasrun.tables.asnn import SHIPPED, Widths


class Trained(NamedTuple):
    """What the suggestions of a round need: the networks, the scores of the best architecture, the deviation in the
    table."""

    ensemble: Ensemble
    scores: np.ndarray
    deviation: float


class Asnn(Strategy):
    """Learns to map accuracies to widths on a table of measured architectures, then asks for higher accuracies than the
    best has.

    Source: "ASNN: Learning to Suggest Neural Architectures from Performance Distributions", sections 3 to 5. First a
    grid is measured, each architecture several times (`evaluator.repeats`). A network is trained to predict an
    architecture's widths from the accuracies of its repeats, on `rows` rows that hold these accuracies in random
    orders. It is asked for accuracies a little above the best; its answer is rounded, measured and added to the table.
    Then the network is trained again from new initial weights.

    `table`: architectures measured earlier, which need no trial: the paper's `two_layer` or `three_layer`, or the
    directory of an earlier run. `grid`: widths; all combinations are the first trials. `rounds`: number of trainings of
    the network; None: until the trials are used up. `suggestions`: trials per round. `suggest`: `network`; or
    `widened`, the baseline for the network: the best architecture of the initial table with all widths times
    `widening`, times `widening` twice, and so on.

    The paper does not say which accuracies it asks for. Here they are those of the best architecture, each raised by
    `headroom` to `headroom + spread`, evenly over the suggestions of a round, in standard deviations of the means in
    the table. Suggestion i comes from network i modulo `members`. If it was measured or proposed before, the nearest
    new genome is proposed instead. Until two architectures are measured, suggestions are drawn from the space.
    """

    draws_from_space = False

    Settings = NetworkSettings
    steerable = False  # the strategy itself chooses the widths

    def __init__(
        self,
        space: SearchSpace,
        objective: Objective,
        rng: np.random.Generator,
        *,
        table: Annotated[str, IsPath(SHIPPED)] | None = None,
        grid: Annotated[list[Positive], NotEmpty()] | None = None,
        rounds: Positive | None = None,
        suggestions: Positive = 4,
        suggest: Literal["network", "widened"] = "network",
        widening: Annotated[float, Above(1)] = 1.4,
        headroom: Annotated[float, AtLeast(0)] = 0.02,
        spread: Annotated[float, AtLeast(0)] = 0.05,
        **settings: Any,
    ) -> None:
        if space.free_widths is None:
            raise ValueError(
                "_target_: asnn suggests only widths; it needs search_space=mlp with one depth and one activation"
            )
        if table is None and grid is None:
            raise ValueError("table=null: nothing to learn from; set table or grid")
        for width in grid or ():
            nearest = space.widths_of(space.with_widths([width] * space.free_widths))[0]
            if width != nearest:
                raise ValueError(f"grid={width}: not a width of the search space; the nearest one is {nearest}")
        self._settings = NetworkSettings(**settings)
        self._space, self._depth, self._objective, self._rng = space, space.free_widths, objective, rng
        self._rounds, self._suggestions, self._suggest, self._widening = rounds, suggestions, suggest, widening
        self._headroom, self._spread = headroom, spread
        self._table = MeasuredTable(self._depth, objective)
        if table is not None:
            self._table.load(table)
        self._grid = deque(product(grid, repeat=self._depth) if grid else ())
        self.initial = len(self._grid)
        self._proposed: set[Genome] = set()
        self._trained: Trained | None = None
        self._first_best: Widths | None = None
        self._widened = 0
        self._round = self._made = self._left = self._waiting = 0
        self._exhausted = False
        self._notes: list[dict[str, Any]] = []

    def ask(self, n: int) -> list[Proposal]:
        proposals: list[Proposal] = []
        while len(proposals) < n and not self.done:
            if self._grid:
                genome: Genome = self._space.with_widths(self._grid.popleft())
                origin = Origin.GRID
            elif self._left:
                found = self._next_suggestion()
                if found is None:
                    self._exhausted = True
                    break
                genome, origin = found
            elif self._waiting:
                break
            else:
                self._begin_round()
                continue
            self._proposed.add(genome)
            self._waiting += 1
            proposals.append(Proposal(genome, origin=origin))
        return proposals

    def tell(self, trial: Trial, measurements: Sequence[Measurement]) -> None:
        self._waiting -= 1
        if measurements[0].status == "infeasible":
            self._left += trial.proposal.origin != Origin.GRID
        values = [m.metrics[self._objective.metric] for m in measurements if m.status == "ok"]
        self._table.add(self._space.widths_of(trial.proposal.genome), values)

    def reject(self, proposal: Proposal, reason: str) -> None:
        self._waiting -= 1
        self._left += proposal.origin != Origin.GRID
        self._table.add(self._space.widths_of(proposal.genome), [])

    @property
    def done(self) -> bool:
        if self._exhausted:
            return True
        return self._round == self._rounds and not (self._grid or self._left or self._waiting)

    def notes(self) -> Mapping[str, Any]:
        return {"rounds": self._notes}

    def _begin_round(self) -> None:
        """Train the network on the current table, which stays the basis of all suggestions of the round."""
        self._round, self._made, self._left = self._round + 1, 0, self._suggestions
        note: dict[str, Any] = {"round": self._round, "architectures": len(self._table)}
        note |= {"measurements": self._table.measurements}
        self._trained = None
        if len(self._table) > 1:
            best, scores = self._table.best
            self._first_best = self._first_best or best
            note |= {"best": "-".join(map(str, best)), "best_mean": self._table.value(float(np.mean(scores)))}
            if self._suggest == "network":
                inputs, widths = self._table.augmented(self._settings.rows, self._rng)
                ensemble = Ensemble(inputs, widths, self._settings, int(self._rng.integers(2**62)))
                # If the best has fewer repeats than others, the missing ones repeat its own.
                self._trained = Trained(ensemble, np.resize(scores, inputs.shape[1]), self._table.deviation)
                note |= {"rows": len(inputs), "repeats": inputs.shape[1], "loss": ensemble.losses}
        self._notes.append({**note, "suggestions": []})

    def _next_suggestion(self) -> tuple[Genome, Origin] | None:
        """A genome that was neither measured nor proposed, and its origin; None if there is none left."""
        note: dict[str, Any] = {}
        origin, wanted = Origin.SAMPLE, np.full(self._depth, np.nan)
        if self._trained is not None:
            share = self._made % self._suggestions / max(1, self._suggestions - 1)
            target = self._trained.scores + (self._headroom + share * self._spread) * self._trained.deviation
            note["target_mean"] = self._table.value(float(target.mean()))
            member = self._made % self._settings.members
            origin, wanted = Origin.SUGGESTION, self._trained.ensemble.widths(target, member)
        elif self._suggest == "widened" and self._first_best is not None:
            self._widened += 1
            factor = 2 ** min(self._widened * log2(self._widening), log2(WIDEST))
            origin, wanted = Origin.WIDENED, np.array(self._first_best) * factor
        if np.isfinite(wanted).all():
            note["widths"] = wanted.tolist()
            start: Genome = self._space.with_widths(wanted.tolist())
        else:
            origin, start = Origin.SAMPLE, self._space.sample(self._rng)
        genome = self._nearest_new(start)
        if genome is None:
            return None
        self._made, self._left = self._made + 1, self._left - 1
        self._notes[-1]["suggestions"].append({**note, "genome": self._space.format(genome), "origin": origin})
        return genome, origin

    def _nearest_new(self, start: Genome) -> Genome | None:
        """The genome nearest to a start (by steps, then by encoding) that is new; None if there is none."""
        reached, ring = {start}, [start]
        while ring:
            new = [genome for genome in ring if self._is_new(genome)]
            if new:
                centre = self._space.encode(start)
                return min(new, key=lambda genome: float(np.abs(self._space.encode(genome) - centre).sum()))
            nearby = dict.fromkeys(chain.from_iterable(map(self._space.neighbours, ring)))
            ring = [genome for genome in nearby if genome not in reached]
            reached.update(ring)
        return None

    def _is_new(self, genome: Genome) -> bool:
        return genome not in self._proposed and self._space.widths_of(genome) not in self._table
