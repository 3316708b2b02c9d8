"""What is passed around: genomes, proposals, trials, jobs, measurements."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from nasrun.core.averages import exact_mean
from nasrun.core.options import ConfigError

if TYPE_CHECKING:
    import numpy as np

Token = int | str
Genome = tuple[Token, ...]
"""A plain tuple of ints and strings: hashable, JSON-able. Only its space knows what it means."""

Mutation = Callable[[Genome, "np.random.Generator"], Genome]
Status = Literal["ok", "failed", "infeasible"]


class Origin(StrEnum):
    """How nasrun's own strategies make proposals, beside the mutations of a space, which go by their own names.

    Reports make statistics of them, by name: what is `SAMPLE` is the random average that a search is held against.
    """

    SAMPLE = "sample"
    """Drawn at random from the space."""
    KNOWN = "known"
    """One of those that a strategy begins with, which people have found or the user gave."""
    START = "start"
    """The first of a training that others go on from, drawn at random where there are several."""
    GRID = "grid"
    FIXED = "fixed"
    """One of a list that the user gave."""
    CROSSOVER = "crossover"
    """Mixed of several; where it was mutated too, the name of the mutation follows a plus sign."""
    NEIGHBOUR = "neighbour"
    """One step away from the best."""
    POLICY = "policy"
    """Drawn from what a controller has learned; `GREEDY`, `EXPLORE`: as its best, and at random in some place."""
    GREEDY = "greedy"
    EXPLORE = "explore"
    PREDICTED = "predicted"
    """The best of many by a predictor; of TPE, of its model."""
    TPE = "tpe"
    SUGGESTION = "suggestion"
    """Widths that a network suggests; `WIDENED`: the first best, made wider."""
    WIDENED = "widened"
    PROMOTE = "promote"
    """Trained on, since it was among the best; `REPEAT`: trained a second time."""
    REPEAT = "repeat"
    CONTINUE = "continue"
    """A member of a population, trained on as it was; `EXPLOIT`: in place of one that was worse."""
    EXPLOIT = "exploit"
    UNCHANGED = "unchanged"
    DERIVED = "derived"
    """What a differentiable method made of its architecture weights."""
    """A copy of the network that is not mutated; `SELECTION`: the fittest copy; `LAST`: the network at the end."""
    SELECTION = "selection"
    LAST = "last"

    def __repr__(self) -> str:
        return repr(self.value)


_NAME = re.compile(r"[\w+. -]{1,80}")


def check_origin(origin: object) -> None:
    """ConfigError where an origin is no name that statistics can be made of: letters, digits, spaces and `_-+.`, 80 in
    all at most."""
    if not isinstance(origin, str) or not _NAME.fullmatch(origin):
        raise ConfigError(
            f"strategy: proposes with the origin {origin!r:.60}; right is the name of what made a proposal, such as "
            "sample or crossover, in letters, digits, spaces and _-+."
        )


WarmStart = Literal["none", "continue", "inherit"]
Kind = Literal["classification", "regression"]
"""Classification: one of several classes per image. Regression: a picture of values per image."""


@dataclass(frozen=True)
class Task:
    """What a network must do: the shape of one input, and what comes out.

    `channels`, `height`, `width`: pixels of one input. `outputs`: for classification the classes, and the network's
    output is (batch, outputs); for regression the channels of the picture that it gives for each input, of the same
    height and width, and its output is (batch, outputs, height, width), in standardised values.
    """

    name: str
    channels: int
    height: int
    width: int
    outputs: int
    kind: Kind = "classification"

    def enlarged(self, size: int | None) -> Task:
        """The same with inputs of at least `size` in height and width; None: as they are."""
        return replace(self, height=max(self.height, size or 0), width=max(self.width, size or 0))


class Cost(NamedTuple):
    """The price of a network, by formula: trainable parameters, and floating-point operations (a multiply-add
    counts as two, as `torch.utils.flop_counter` does) of one forward pass of one input."""

    parameters: int
    flops: int


class CellGraph(NamedTuple):
    """A cell as a graph. Nodes are numbered: the inputs first, then the blocks, each the sum of operations on earlier
    nodes.

    `inputs`: their labels. `blocks`: for each, pairs of a source node and the name of an operation. `outputs`: the
    nodes that the output of the cell is made of.
    """

    inputs: tuple[str, ...]
    blocks: tuple[tuple[tuple[int, str], ...], ...]
    outputs: tuple[int, ...]


class Proposal(NamedTuple):
    """What a strategy wants measured.

    `hparams`: training settings that belong to the proposal, laid over the evaluator's own (optimizer, batch size).
    `budget`: cumulative epochs; None means the evaluator's default.
    `horizon`: epochs over which the schedule of the learning rate is laid, where a trial may be trained on; None: its
    budget.
    `parent`: the trial this one descends from, and whose checkpoint `warm_start` loads.
    `partners`: further trials, whose weights are averaged with the parent's before the training goes on.
    `origin`: name of the operator that made it, for tables and statistics: an `Origin`, the name of a mutation, or one
    of a strategy's own (`check_origin`).
    `reuse_of`: an earlier trial of the same architecture and budget whose result is taken over; nothing is trained.
    """

    genome: Genome
    hparams: Mapping[str, Any] = {}
    budget: int | None = None
    parent: int | None = None
    warm_start: WarmStart = "none"
    origin: str = Origin.SAMPLE
    reuse_of: int | None = None
    partners: tuple[int, ...] = ()
    horizon: int | None = None


class Trial(NamedTuple):
    """A numbered proposal. The runner numbers trials from 0 in the order of the proposals."""

    number: int
    proposal: Proposal


class Job(NamedTuple):
    """One repeat of a trial: picklable, and all that an executor or evaluator ever sees of it.

    `load_from`, `save_to`: checkpoints of the parent and of this job; `partners`: those of the proposal's partners.
    `resumable`: later proposals may go on from here, so that the state of the optimizer is saved along.
    """

    trial: Trial
    repeat: int
    seed: int
    load_from: str | None = None
    save_to: str | None = None
    partners: tuple[str, ...] = ()
    resumable: bool = False


class Derivation(NamedTuple):
    """What weights of architectures come to. `genome`: the architecture; `weights`: per position of it how much weight
    each choice has, in the order of `SearchSpace.positions`, 1 in all."""

    genome: Genome
    weights: tuple[tuple[float, ...], ...]


class Measurement(NamedTuple):
    """What came of a job. `metrics` holds finite floats (`val_accuracy`, `parameters`, ...) and is empty unless
    `status` is ok; `history` holds one mapping per epoch; `seconds` is the time the job took."""

    trial: int
    repeat: int
    status: Status
    metrics: Mapping[str, float] = {}
    error: str | None = None
    seconds: float = 0.0
    history: Sequence[Mapping[str, float]] = ()


class Progress(NamedTuple):
    """A sign of life of a job in training: `epoch` of `epochs` done (from 1), with the metrics of that epoch.

    Within a long epoch there are others, without metrics: `epoch` are done, and the share `within` of the next.
    """

    trial: int
    repeat: int
    epoch: int
    epochs: int
    metrics: Mapping[str, float]
    within: float = 0.0


class Objective(NamedTuple):
    """The metric that a search improves, and in which direction; `others`: further ones, where there are several.

    The first is the score: what decides for a strategy that knows one objective alone, and who wins. `reference`: the
    worst value of the metric that counts for the hypervolume of a front; None: the worst that a run measured.
    """

    metric: str = "val_accuracy"
    mode: Literal["max", "min"] = "max"
    others: tuple[Objective, ...] = ()
    reference: float | None = None

    @property
    def all(self) -> tuple[Objective, ...]:
        """Every objective on its own, the first one first."""
        return (self._replace(others=()), *self.others)

    def score(self, measurements: Sequence[Measurement]) -> float:
        """Mean of the metric over the repeats that succeeded, turned so that higher is better; -inf where none did.

        Equal measurements give equal scores, however many they are: `nasrun.core.averages`.
        """
        values = [m.metrics[self.metric] for m in measurements if m.status == "ok"]
        if not values:
            return -float("inf")
        mean = exact_mean(values)
        return mean if self.mode == "max" else -mean

    def scores(self, measurements: Sequence[Measurement]) -> tuple[float, ...]:
        """The score by each objective, in their order; -inf in all of them where no repeat succeeded."""
        return tuple(objective.score(measurements) for objective in self.all)
