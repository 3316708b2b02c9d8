"""Shared weights in a search: when they are trained, where they are kept, and which version a resumed run uses.

They are trained for one epoch before each round of trials (for more before the first, if the evaluator says so). After
each epoch they are written to `shared/<version>.safetensors`, and then the journal gets an event `shared`. So a run
that is killed during such an epoch returns to the version before, and one that is killed between trials has the version
that it needs. Only one earlier version is kept.
"""

import os
import time
from pathlib import Path

import numpy as np

from nasrun.core import Genome, SearchSpace, SharedEvaluator, Strategy, seeding
from nasrun.storage.events import SharedTrained
from nasrun.storage.journal import Journal

FOLDER = "shared"
KEPT = 2
"""Number of versions on disk."""


class SharedWeights:
    """The shared weights of one run.

    `trials`: the number that the run was started with, which determines the epochs of the schedule. A run that is
    extended later continues past the end of the schedule.
    """

    def __init__(
        self,
        evaluator: SharedEvaluator,
        space: SearchSpace,
        journal: Journal,
        directory: Path,
        *,
        seed: int,
        trials: int,
    ) -> None:
        self._evaluator, self._space, self._journal, self._seed = evaluator, space, journal, seed
        self._folder = directory / FOLDER
        self._epochs = evaluator.warm_up_epochs + -(-trials // evaluator.rounds)
        self.version = 0
        """Number of epochs that the journal holds."""

    @property
    def trials(self) -> int:
        """Number of trials that may be asked for with the current weights."""
        return max(0, self.version - self._evaluator.warm_up_epochs) * self._evaluator.rounds

    def load(self) -> None:
        """Load the version that the journal ends with. FileNotFoundError if its file is missing."""
        if self.version:
            path = self._path(self.version)
            if not path.is_file():
                raise FileNotFoundError(2, "the shared weights that the journal names are missing", str(path))
            self._evaluator.load(path)

    def train(self, strategy: Strategy) -> str:
        """Train one more epoch on what the strategy's policy draws, record it, and tell the strategy what was derived;
        returns a description."""

        def draw(rng: np.random.Generator) -> Genome:
            genome = strategy.draw(rng)
            genome = self._evaluator.sample(rng) if genome is None else genome
            return self._space.sample(rng) if genome is None else genome

        started, version = time.monotonic(), self.version + 1
        rng = seeding.generator(self._seed, seeding.Purpose.SHARED, version)
        metrics = self._evaluator.train_shared(draw, rng, version, self._epochs)
        seconds = time.monotonic() - started
        self._folder.mkdir(exist_ok=True)
        self._evaluator.save(self._path(version))
        _to_disk(self._path(version))
        event = SharedTrained(version=version, metrics=metrics, seconds=seconds, derived=self._evaluator.derived())
        self._journal.append(event, fsync=True)
        self.take(event, strategy)
        for path in self._folder.glob("*.safetensors"):
            if path.stem.isdigit() and int(path.stem) <= version - KEPT:
                path.unlink(missing_ok=True)
        told = ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())
        return f"shared weights, epoch {version} of {max(self._epochs, version)}: {told}; {seconds:.1f} s"

    def take(self, event: SharedTrained, strategy: Strategy) -> None:
        """All state changes of an epoch, the first time and in a replay."""
        self.version = event.version
        if event.derived is not None:
            strategy.tell_derived(event.derived.genome)

    def _path(self, version: int) -> Path:
        return self._folder / f"{version}.safetensors"


def _to_disk(path: Path) -> None:
    """Force a file and its name to disk: the journal, itself on disk, must not name a file that a power failure
    took."""
    for name in (path, path.parent):
        file = os.open(name, os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)
