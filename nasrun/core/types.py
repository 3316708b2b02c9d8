"""What is passed around: genomes, proposals, trials, jobs, measurements."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from nasrun.core.averages import exact_mean

if TYPE_CHECKING:
    import numpy as np

Token = int | str
Genome = tuple[Token, ...]
"""A plain tuple of ints and strings: hashable, JSON-able. Only its space knows what it means."""

Mutation = Callable[[Genome, "np.random.Generator"], Genome]
Status = Literal["ok", "failed", "infeasible"]
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
    `origin`: name of the operator that made it (sample, swap, crossover, ...), for the tables.
    `reuse_of`: an earlier trial of the same architecture and budget whose result is taken over; nothing is trained.
    """

    genome: Genome
    hparams: Mapping[str, Any] = {}
    budget: int | None = None
    parent: int | None = None
    warm_start: WarmStart = "none"
    origin: str = "sample"
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
    """A sign of life of a job in training: `epoch` of `epochs` done (from 1), with the metrics of that epoch."""

    trial: int
    repeat: int
    epoch: int
    epochs: int
    metrics: Mapping[str, float]


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
