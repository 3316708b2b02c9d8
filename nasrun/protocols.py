"""The nouns of nasrun: what a run is made of. This module imports nothing of nasrun.

A run asks a strategy for proposals, numbers them as trials, cuts each trial into jobs (one per repeat),
hands the jobs to an executor whose evaluator measures them, and tells the strategy what was measured.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import torch

Token = int | str
Genome = tuple[Token, ...]
"""A plain tuple of ints and strings: hashable, JSON-able. Only its space knows what it means."""

Mutation = Callable[[Genome, np.random.Generator], Genome]
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


class Cost(NamedTuple):
    """The price of a network, by formula: trainable parameters, and floating-point operations (a multiply-add
    counts as two, as `torch.utils.flop_counter` does) of one forward pass of one input."""

    parameters: int
    flops: int


class Proposal(NamedTuple):
    """What a strategy wants measured.

    `hparams`: training settings that belong to the proposal, laid over the evaluator's own (optimizer, batch size).
    `budget`: cumulative epochs; None means the evaluator's default.
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
    """The metric that a search improves, and in which direction."""

    metric: str = "val_accuracy"
    mode: Literal["max", "min"] = "max"

    def score(self, measurements: Sequence[Measurement]) -> float:
        """Mean of the metric over the repeats that succeeded, turned so that higher is better; -inf where none did."""
        values = [m.metrics[self.metric] for m in measurements if m.status == "ok"]
        if not values:
            return -float("inf")
        mean = sum(values) / len(values)
        return mean if self.mode == "max" else -mean


class SearchSpace(ABC):
    """A set of architectures: how they are drawn, varied, written down and built.

    Every method that takes a generator draws from it alone, so that a seeded search repeats itself.
    """

    #: Named mutations. Each yields a valid genome different from its parent wherever one exists, else the parent.
    mutations: Mapping[str, Mutation]

    #: Number of genomes in the space; None where it is unknown.
    size: int | None = None

    #: The kinds of tasks that `build` makes networks for.
    kinds: tuple[Kind, ...] = ("classification",)

    #: FLOPs that a network may have under `constraints.flops=auto`, so that a trial takes seconds; None: any number.
    flops_limit: int | None = None

    #: Where all genomes are one network that is trained in different ways, so that weights carry over from any to any:
    #: the genome to set out from. None: genomes are different networks.
    start: Genome | None = None

    #: The config that this space was made from, `_target_` and options: archives make it anew from that.
    section: Mapping[str, Any] | None = None

    @abstractmethod
    def sample(self, rng: np.random.Generator) -> Genome:
        """Draw a genome; the space's docstring says how uniformly."""

    @abstractmethod
    def crossover(self, first: Genome, second: Genome, rng: np.random.Generator) -> Genome:
        """Mix two genomes into a valid one."""

    @abstractmethod
    def choices(self, prefix: Genome) -> tuple[Token, ...]:
        """The legal next tokens after a prefix, in a fixed order; empty when the genome is complete."""

    @abstractmethod
    def encode(self, genome: Genome) -> np.ndarray:
        """A vector of fixed length with entries in [0, 1]; `decode` gives the genome back."""

    @abstractmethod
    def decode(self, vector: np.ndarray) -> Genome:
        """The genome nearest to a vector; any vector in [0, 1] of the right length gives a valid one."""

    def neighbours(self, genome: Genome) -> list[Genome]:
        """The genomes one step away, each once, in a fixed order: what local search climbs over.

        Here: every token replaced by each other legal one; of the tokens after it those stay that are still legal, the
        first legal one takes the place of the others.
        """
        found: dict[Genome, None] = {}
        for position, token in enumerate(genome):
            for other in self.choices(genome[:position]):
                if other != token:
                    found[self._completed((*genome[:position], other), genome)] = None
        found.pop(genome, None)
        return list(found)

    def _completed(self, prefix: Genome, pattern: Genome) -> Genome:
        """A whole genome that begins with a prefix and goes on like a pattern where that is legal."""
        while legal := self.choices(prefix):
            wanted = pattern[len(prefix)] if len(prefix) < len(pattern) else legal[0]
            prefix = (*prefix, wanted if wanted in legal else legal[0])
        return prefix

    def hparams(self, genome: Genome) -> Mapping[str, Any]:
        """Training settings that a genome holds, laid over those of the evaluator and under those of the proposal."""
        return {}

    def key(self, genome: Genome) -> Hashable:
        """Equal for architectures that are the same network. Here: the genome itself."""
        return genome

    @abstractmethod
    def validate(self, genome: Genome) -> None:
        """Raise ValueError, naming what is wrong, unless the genome belongs to this space."""

    @abstractmethod
    def format(self, genome: Genome) -> str:
        """The genome as a string that a person can read and type, without tabs, commas or line breaks."""

    @abstractmethod
    def parse(self, text: str) -> Genome:
        """The genome of a string; ValueError names the position and what was expected there."""

    @abstractmethod
    def cost(self, genome: Genome, task: Task) -> Cost:
        """Parameters and FLOPs of the network that `build` makes, by formula, without torch."""

    @abstractmethod
    def build(self, genome: Genome, task: Task) -> "torch.nn.Module":
        """The network: input float (batch, channels, height, width), output as `Task` says for its kind."""


class Strategy(ABC):
    """Decides what to measure next. It knows its space and what it was told, nothing else.

    Constructors take `space`, `objective` and `rng`, then the options of the YAML as keyword-only arguments.
    The proposals of one strategy become the trials 0, 1, 2, ... in the order in which `ask` returned them.
    """

    #: Trials that are proposed before anything that was told is made use of; 0 where it makes no difference.
    initial: int = 0

    #: Whether proposals go on from checkpoints of earlier trials (`warm_start`): these are then kept as `needs` says.
    continues: bool = False

    #: Trials that the strategy takes from beginning to end; None: any number will do.
    length: int | None = None

    @abstractmethod
    def ask(self, n: int) -> list[Proposal]:
        """Between 0 and `n` proposals; an empty list means: tell me first (or: I am done)."""

    @abstractmethod
    def tell(self, trial: Trial, measurements: Sequence[Measurement]) -> None:
        """Take in what was measured for a trial, one measurement per repeat; failed trials are told too."""

    @property
    def done(self) -> bool:
        """True when the strategy will make no more proposals, whatever it is told."""
        return False

    def needs(self) -> Collection[int]:
        """Trials that were told and whose checkpoints later proposals may start from, or `chosen` may name."""
        return ()

    def chosen(self) -> int | None:
        """The trial whose network is what the search came to; None: the best by the objective."""
        return None

    def draw(self, rng: np.random.Generator) -> Genome | None:
        """A genome as the strategy's policy would propose it now, drawn with a generator of the caller.

        Nothing that the strategy proposes is changed by it. None: it has no policy; samples of the space will do.
        """
        return None

    def notes(self) -> Mapping[str, Any]:
        """What the strategy learned, as JSON values, for `strategy.json` (loss curves, suggestions); may be empty."""
        return {}


class Evaluator(ABC):
    """Measures architectures. It knows nothing of strategies, journals or tables."""

    #: Called with the progress of the job in training; the executor sets it.
    on_progress: Callable[[Progress], None] = staticmethod(lambda progress: None)

    #: The metrics that `evaluate` reports for every trial that succeeds: what an objective may name.
    metrics: tuple[str, ...] = ("val_accuracy",)

    #: Measurements of one trial: seeds, initial weights and data order differ between them.
    repeats: int = 1

    #: Whether jobs write their weights to `save_to`.
    saves: bool = False

    #: Seconds that a job may take; an evaluator ends it then, and an executor a worker that does not. None: any.
    time_limit: float | None = None

    #: Modules that worker processes import before anything else, once for all of them.
    preload: tuple[str, ...] = ()

    def prepare(self, recorded: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Decide what is decided once per run (device, precision) and load the data; returns facts for the record.

        `recorded`: what this returned when an interrupted run was started, which is then taken as it was.
        """
        return {}

    def group(self, jobs: Sequence[Job]) -> Sequence[Job]:
        """The jobs of a queue (never empty) to evaluate together next; the first of the queue is among them.

        What is chosen depends on the queue alone, so that a resumed run forms the same groups. Here: the first.
        """
        return jobs[:1]

    @abstractmethod
    def evaluate(self, jobs: Sequence[Job]) -> Iterator[Measurement]:
        """Measure a group of jobs; yields one measurement each, in any order.

        A job that fails yields a measurement with status `failed` and the reason; it never raises.
        """

    def final(self, job: Job) -> Mapping[str, Any]:
        """Train or load the winner of a finished search and measure it on the test set, which is used nowhere else.

        Returns `metrics`, `history` and `seconds`; empty where the evaluator has nothing to add. The weights go to
        `job.save_to`.
        """
        return {}

    def estimate(self, trial: Trial) -> float | None:
        """Seconds that one repeat of a trial is expected to take, from a short timing; None where it has no meaning."""
        return None


class SharedEvaluator(Evaluator):
    """Measures architectures with weights that all of them share, and that are trained between the trials.

    Trials come in rounds of `rounds`; before each round the weights are trained for one epoch. In between they stay as
    they are, so that the order of the trials of a round makes no difference.
    """

    #: Trials after each epoch of the shared weights.
    rounds: int

    @abstractmethod
    def train_shared(
        self, draw: Callable[[np.random.Generator], Genome], rng: np.random.Generator, epoch: int, epochs: int
    ) -> Mapping[str, float]:
        """Train the shared weights for `epoch` (from 1) of `epochs`, on architectures that `draw` gives.

        The first epoch starts from new weights. Everything random comes from `rng`. Returns finite metrics; raises
        where a loss is not finite.
        """

    @abstractmethod
    def save(self, path: Path) -> None:
        """Write the weights, and all else that the next epoch takes up, to a file that is there as a whole or not."""

    @abstractmethod
    def load(self, path: Path) -> None:
        """Go on from what `save` wrote."""


class Executor(ABC):
    """Moves jobs to where they run, and knows nothing of what they are."""

    @abstractmethod
    def submit(self, jobs: Sequence[Job]) -> None:
        """Queue the jobs of one or more trials."""

    @abstractmethod
    def wait(self) -> list[Measurement]:
        """Block until at least one measurement is there, and return all that are."""

    @property
    @abstractmethod
    def free(self) -> int:
        """How many more jobs can start at once."""

    @abstractmethod
    def close(self) -> None:
        """End what is running and free the resources."""
