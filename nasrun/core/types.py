"""Data types: genomes, proposals, trials, jobs, measurements."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from nasrun.core.averages import exact_mean

if TYPE_CHECKING:
    import numpy as np
    import torch

Token = int | str
Genome = tuple[Token, ...]
"""A tuple of ints and strings: hashable and JSON-serialisable. Only its space knows the meaning."""

Mutation = Callable[[Genome, "np.random.Generator"], Genome]
Status = Literal["ok", "failed", "infeasible"]


class Origin(StrEnum):
    """How nasrun's strategies create proposals. Mutations of a space have their own names.

    Reports compute statistics by origin; `SAMPLE` is the random average with which a search is compared.
    """

    SAMPLE = "sample"
    """Drawn at random from the space."""
    KNOWN = "known"
    """An initial architecture: one known to work well, or given by the user."""
    START = "start"
    """The start of a training run that others continue from; random if there are several."""
    GRID = "grid"
    FIXED = "fixed"
    """From a list given by the user."""
    CROSSOVER = "crossover"
    """Combined from several parents; the name of an additional mutation follows after a plus sign."""
    NEIGHBOUR = "neighbour"
    """One step from the best."""
    POLICY = "policy"
    """Drawn from the policy of a controller; `GREEDY`: its best choice; `EXPLORE`: random at some position."""
    GREEDY = "greedy"
    EXPLORE = "explore"
    PREDICTED = "predicted"
    """The best candidate by a predictor; `TPE`: by the model of TPE."""
    TPE = "tpe"
    SUGGESTION = "suggestion"
    """Widths suggested by a network; `WIDENED`: the initial best, made wider."""
    WIDENED = "widened"
    PROMOTE = "promote"
    """Trained further because it was among the best; `REPEAT`: trained a second time."""
    REPEAT = "repeat"
    CONTINUE = "continue"
    """A member of a population, trained further unchanged; `EXPLOIT`: replaces a worse member."""
    EXPLOIT = "exploit"
    UNCHANGED = "unchanged"
    """A copy of the network that is not mutated; `SELECTION`: the fittest copy; `LAST`: the network at the end."""
    DERIVED = "derived"
    """Derived from the architecture weights of a differentiable method."""
    SELECTION = "selection"
    LAST = "last"

    def __repr__(self) -> str:
        return repr(self.value)


ORIGIN_RULE = "the operator that made it, such as sample or crossover, in at most 80 letters, digits, spaces and _-+."

_NAME = re.compile(r"[\w+. -]{1,80}")


def is_origin(origin: object) -> bool:
    """Whether an origin is a name of at most 80 letters, digits, spaces and `_-+.`."""
    return isinstance(origin, str) and _NAME.fullmatch(origin) is not None


WarmStart = Literal["none", "continue", "inherit", "morph"]
Kind = Literal["classification", "regression"]
"""Classification: one class per image. Regression: an image of values per image."""


@dataclass(frozen=True)
class Task:
    """The task of a network: the shape of its input and its output."""

    name: str
    """The name of the data set."""
    channels: int
    """Channels of one input; inputs are (batch, channels, height, width)."""
    height: int
    """Pixels from top to bottom."""
    width: int
    """Pixels from left to right."""
    outputs: int
    """Classification: the number of classes; the output is (batch, outputs). Regression: the channels of the output
    image, which has the height and width of the input; the output is (batch, outputs, height, width), in standardised
    values."""
    kind: Kind = "classification"
    """`classification` or `regression`."""

    def enlarged(self, size: int | None) -> "Task":
        """The same task with inputs of at least `size` in height and width; None: unchanged."""
        return replace(self, height=max(self.height, size or 0), width=max(self.width, size or 0))

    def shrunk(self, size: int | None) -> "Task":
        """The same task with inputs of at most `size` in height and width; None: unchanged."""
        return self if size is None else replace(self, height=min(self.height, size), width=min(self.width, size))


class Cost(NamedTuple):
    """The cost of a network, by formula."""

    parameters: int
    """Trainable parameters."""
    flops: int
    """Floating-point operations of one forward pass for one input; a multiply-add counts as two, as in
    `torch.utils.flop_counter`."""


class Morphing(NamedTuple):
    """Result of transferring the weights of a smaller network (`SearchSpace.morph`)."""

    inherited: int
    """Number of parameters with values from the parent."""
    passing: Sequence[tuple["torch.nn.BatchNorm2d", int]]
    """Normalisation layers that pass on their input, with the number of first channels that do so. In evaluation mode
    they do so with any statistics; in training only if their statistics are those of the batch
    (`nasrun.spaces.morphisms.calibrate`)."""


class CellGraph(NamedTuple):
    """A cell as a graph. Nodes are numbered, first the inputs, then the blocks. A block is the sum of operations on
    earlier nodes."""

    inputs: tuple[str, ...]
    """Labels of the inputs."""
    blocks: tuple[tuple[tuple[int, str], ...], ...]
    """For each block, pairs of a source node and the name of an operation."""
    outputs: tuple[int, ...]
    """Nodes that form the output of the cell."""


class Proposal(NamedTuple):
    """An architecture that a strategy wants evaluated."""

    genome: Genome
    """The architecture, as its space encodes it."""
    hparams: Mapping[str, Any] = {}
    """Training settings of the proposal (optimizer, batch size), which override those of the evaluator."""
    budget: int | None = None
    """Cumulative epochs; None: the evaluator's default."""
    parent: int | None = None
    """The parent trial, whose checkpoint `warm_start` loads."""
    warm_start: WarmStart = "none"
    """What to load from the parent's checkpoint: `none`; everything (`continue`); the weights that fit (`inherit`); or
    all weights, transformed so that the network computes the parent's function (`morph`)."""
    origin: str = Origin.SAMPLE
    """The operator that made the proposal, for tables and statistics: an `Origin`, the name of a mutation, or a name of
    at most 80 letters, digits, spaces and `_-+.`."""
    reuse_of: int | None = None
    """An earlier trial of the same architecture and budget whose result is copied, without training."""
    partners: tuple[int, ...] = ()
    """Further trials whose weights are averaged with the parent's before training continues."""
    horizon: int | None = None
    """Length of the learning rate schedule in epochs, if a trial may be trained further; None: its budget."""


class Trial(NamedTuple):
    """A numbered proposal."""

    number: int
    """From 0, in the order of the proposals."""
    proposal: Proposal
    """What is measured."""


class Job(NamedTuple):
    """One repeat of a trial: picklable, and all that an executor or evaluator sees of it."""

    trial: Trial
    """What is measured."""
    repeat: int
    """From 0; repeats of a trial differ by their seed."""
    seed: int
    """Seed of initial weights, data order, augmentation and dropout."""
    load_from: str | None = None
    """Path of the parent's checkpoint."""
    save_to: str | None = None
    """Path for the checkpoint of this job."""
    partners: tuple[str, ...] = ()
    """Paths of the checkpoints of the proposal's partners."""
    resumable: bool = False
    """Whether later proposals may continue from this job, so that the optimizer state is saved too."""


class Derivation(NamedTuple):
    """An architecture derived from architecture weights. `genome`: the architecture; `weights`: for each position the
    weights of the choices, in the order of `SearchSpace.positions`, which add up to 1."""

    genome: Genome
    weights: tuple[tuple[float, ...], ...]


class Measurement(NamedTuple):
    """The result of a job."""

    trial: int
    """The number of the trial."""
    repeat: int
    """Which repeat of it, from 0."""
    status: Status
    """`ok`, `failed`, or `infeasible` if the architecture cannot be measured."""
    metrics: Mapping[str, float] = {}
    """Finite floats by name (`val_accuracy`, `parameters`, ...); empty unless `status` is ok."""
    error: str | None = None
    """The reason of a failure, in one line."""
    seconds: float = 0.0
    """Duration of the job."""
    history: Sequence[Mapping[str, float]] = ()
    """One mapping of metrics per epoch."""


class Progress(NamedTuple):
    """Progress of a job in training, sent after each epoch and occasionally within a long one."""

    trial: int
    """The number of the trial."""
    repeat: int
    """Which repeat of it, from 0."""
    epoch: int
    """Number of finished epochs."""
    epochs: int
    """Total number of epochs."""
    metrics: Mapping[str, float]
    """Metrics of the epoch that has just finished; empty within an epoch."""
    within: float = 0.0
    """Finished share of the current epoch."""


class WorkerState(NamedTuple):
    """The state of a worker."""

    name: str
    """Location: a process, or a machine with a process."""
    trials: tuple[int, ...]
    """The distinct trials of its jobs; empty while it waits for jobs."""
    seconds: float
    """Time since it started these jobs."""


@dataclass(frozen=True)
class Objective:
    """The metric that a search optimises, and the direction."""

    metric: str = "val_accuracy"
    """Name of the metric. It decides which trial wins, and is the only objective of single-objective strategies."""
    mode: Literal["max", "min"] = "max"
    """`max` if higher values are better, else `min`."""
    others: tuple["Objective", ...] = ()
    """Further objectives, if there are several."""
    reference: float | None = None
    """Reference value of the metric for the hypervolume of a front; None: the worst value measured in the run."""

    @property
    def all(self) -> "tuple[Objective, ...]":
        """All objectives separately, the first one first."""
        return (replace(self, others=()), *self.others)

    def score(self, measurements: Sequence[Measurement]) -> float:
        """Mean of the metric over successful repeats, with the sign chosen so that higher is better; -inf if all
        failed.

        Equal measurements give equal scores, for any number of repeats (`nasrun.core.averages`).
        """
        values = [m.metrics[self.metric] for m in measurements if m.status == "ok"]
        if not values:
            return -float("inf")
        mean = exact_mean(values)
        return mean if self.mode == "max" else -mean

    def scores(self, measurements: Sequence[Measurement]) -> tuple[float, ...]:
        """The score for each objective, in order; -inf for all if no repeat succeeded."""
        return tuple(objective.score(measurements) for objective in self.all)
