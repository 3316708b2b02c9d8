"""What is passed around: genomes, proposals, trials, jobs, measurements."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from nasrun.core.averages import exact_mean
from nasrun.core.options import ConfigError

if TYPE_CHECKING:
    import numpy as np
    import torch

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


WarmStart = Literal["none", "continue", "inherit", "morph"]
Kind = Literal["classification", "regression"]
"""Classification: one of several classes per image. Regression: a picture of values per image."""


@dataclass(frozen=True)
class Task:
    """What a network must do: the shape of one input, and what comes out."""

    name: str
    """The name of the data set."""
    channels: int
    """Channels of one input; inputs are (batch, channels, height, width)."""
    height: int
    """Pixels from top to bottom."""
    width: int
    """Pixels from left to right."""
    outputs: int
    """Classification: the number of classes; the network's output is (batch, outputs). Regression: the channels of the
    picture that it gives for each input, of the same height and width; the output is (batch, outputs, height, width),
    in standardised values."""
    kind: Kind = "classification"
    """`classification` or `regression`."""

    def enlarged(self, size: int | None) -> "Task":
        """The same with inputs of at least `size` in height and width; None: as they are."""
        return replace(self, height=max(self.height, size or 0), width=max(self.width, size or 0))

    def shrunk(self, size: int | None) -> "Task":
        """The same with inputs of at most `size` in height and width; None: as they are."""
        return self if size is None else replace(self, height=min(self.height, size), width=min(self.width, size))


class Cost(NamedTuple):
    """The price of a network, by formula."""

    parameters: int
    """Trainable parameters."""
    flops: int
    """Floating-point operations of one forward pass of one input; a multiply-add counts as two, as in
    `torch.utils.flop_counter`."""


class Morphing(NamedTuple):
    """What became of a network that was given the weights of a smaller one (`SearchSpace.morph`)."""

    inherited: int
    """Parameters whose values are the parent's."""
    passing: Sequence[tuple["torch.nn.BatchNorm2d", int]]
    """Normalisations that pass their input on, and how many of their first channels do so. In evaluation mode they do
    that whatever their statistics are, in training only where these are those of the batch
    (`nasrun.spaces.morphisms.calibrate`)."""


class CellGraph(NamedTuple):
    """A cell as a graph. Nodes are numbered: the inputs first, then the blocks, each the sum of operations on earlier
    nodes."""

    inputs: tuple[str, ...]
    """The labels of the inputs."""
    blocks: tuple[tuple[tuple[int, str], ...], ...]
    """For each block, pairs of a source node and the name of an operation."""
    outputs: tuple[int, ...]
    """The nodes that the output of the cell is made of."""


class Proposal(NamedTuple):
    """What a strategy wants measured."""

    genome: Genome
    """The architecture, as its space encodes it."""
    hparams: Mapping[str, Any] = {}
    """Training settings that belong to the proposal, laid over the evaluator's own (optimizer, batch size)."""
    budget: int | None = None
    """Cumulative epochs; None: the evaluator's default."""
    parent: int | None = None
    """The trial this one descends from, and whose checkpoint `warm_start` loads."""
    warm_start: WarmStart = "none"
    """What is loaded of the parent's checkpoint: nothing, all (`continue`), the weights that fit (`inherit`), or all of
    them, transformed so that the network computes what the parent's did (`morph`)."""
    origin: str = Origin.SAMPLE
    """The operator that made it, for tables and statistics: an `Origin`, the name of a mutation, or a strategy's own:
    letters, digits, spaces and `_-+.`, 80 at most."""
    reuse_of: int | None = None
    """An earlier trial of the same architecture and budget whose result is taken over; nothing is trained."""
    partners: tuple[int, ...] = ()
    """Further trials, whose weights are averaged with the parent's before the training goes on."""
    horizon: int | None = None
    """Epochs over which the schedule of the learning rate is laid, where a trial may be trained on; None: its
    budget."""


class Trial(NamedTuple):
    """A numbered proposal."""

    number: int
    """From 0, in the order of the proposals."""
    proposal: Proposal
    """What is measured."""


class Job(NamedTuple):
    """One repeat of a trial: picklable, and all that an executor or evaluator ever sees of it."""

    trial: Trial
    """What is measured."""
    repeat: int
    """From 0; repeats of a trial differ by their seed."""
    seed: int
    """Gives initial weights, order of the data, augmentation and dropout."""
    load_from: str | None = None
    """The checkpoint of the parent."""
    save_to: str | None = None
    """Where the checkpoint of this job goes."""
    partners: tuple[str, ...] = ()
    """The checkpoints of the proposal's partners."""
    resumable: bool = False
    """Whether later proposals may go on from here, so that the state of the optimizer is saved along."""


class Derivation(NamedTuple):
    """What weights of architectures come to. `genome`: the architecture; `weights`: per position of it how much weight
    each choice has, in the order of `SearchSpace.positions`, 1 in all."""

    genome: Genome
    weights: tuple[tuple[float, ...], ...]


class Measurement(NamedTuple):
    """What came of a job."""

    trial: int
    """The number of the trial."""
    repeat: int
    """Which repeat of it, from 0."""
    status: Status
    """`ok`, `failed`, or `infeasible` for what cannot be measured."""
    metrics: Mapping[str, float] = {}
    """Finite floats by name (`val_accuracy`, `parameters`, ...); empty unless `status` is ok."""
    error: str | None = None
    """Why it failed, in one line."""
    seconds: float = 0.0
    """The time that the job took."""
    history: Sequence[Mapping[str, float]] = ()
    """One mapping of metrics per epoch."""


class Progress(NamedTuple):
    """A sign of life of a job in training: after each epoch, and from time to time within a long one."""

    trial: int
    """The number of the trial."""
    repeat: int
    """Which repeat of it, from 0."""
    epoch: int
    """Epochs that are done."""
    epochs: int
    """Epochs in all."""
    metrics: Mapping[str, float]
    """Those of the epoch that was done just now; empty within an epoch."""
    within: float = 0.0
    """The share of the next epoch that is done."""


class WorkerState(NamedTuple):
    """What a worker is at."""

    name: str
    """Where it is: a process, or a machine with a process."""
    trials: tuple[int, ...]
    """The trials of its jobs, without repetition; empty where it waits for some."""
    seconds: float
    """For how long it has been at that."""


@dataclass(frozen=True)
class Objective:
    """The metric that a search improves, and in which direction."""

    metric: str = "val_accuracy"
    """The name of the metric. It is the score: what decides for a strategy that knows one objective alone, and who
    wins."""
    mode: Literal["max", "min"] = "max"
    """Whether more or less of it is better."""
    others: tuple["Objective", ...] = ()
    """Further objectives, where there are several."""
    reference: float | None = None
    """The worst value of the metric that counts for the hypervolume of a front; None: the worst that a run
    measured."""

    @property
    def all(self) -> "tuple[Objective, ...]":
        """Every objective on its own, the first one first."""
        return (replace(self, others=()), *self.others)

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
