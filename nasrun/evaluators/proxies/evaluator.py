"""Evaluator `proxies`: architectures are scored as they are before any training, from a few images.

torch is imported when something is scored, not before.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, get_args

from nasrun.core import Evaluator, Job, Measurement, SearchSpace, Trial
from nasrun.core.options import AtLeast, Between, ConfigError, NotEmpty, Positive
from nasrun.datasets import Dataset
from nasrun.evaluators.proxies.names import PRICES, Score, Single
from nasrun.evaluators.proxies.reference import Reference
from nasrun.evaluators.proxies.scorer import Scorer
from nasrun.evaluators.train.memory import reason
from nasrun.hardware.devices import Hardware, Runtime

EVERY = tuple(name for name in get_args(Score) if name not in PRICES)
FACTS = "reference"


class Proxies(Evaluator):
    """Scores untrained networks, in milliseconds each ("zero-cost proxies"); of all scores more is better.

    `scores`: what is computed of every architecture, the first being what a search improves unless an objective names
    others, which are computed then too (`nasrun.evaluators.proxies.scores` says what each is). `rank_sum` is the mean
    rank by the scores that it lists; it and `az_nas` rank architectures among `reference` random ones of the space,
    which are scored when the run begins and are part of its record: so a score depends on no other trial. Initial
    weights follow from the job's seed, the `images` of each batch from the data set's `split_seed` and the repeat.
    """

    optional_metrics = EVERY
    final_step = "no test"

    def __init__(
        self,
        space: SearchSpace,
        dataset: Dataset,
        hardware: Hardware,
        *,
        scores: Annotated[list[Score], NotEmpty()],
        rank_sum: Annotated[list[Single], NotEmpty()],
        reference: Annotated[int, AtLeast(2)] = 64,
        images: Annotated[int, Between(2, 4096)] = 64,
        repeats: Positive = 1,
    ) -> None:
        check_space(space, "evaluator=proxies")
        self.repeats = repeats
        self.metrics = tuple(dict.fromkeys((*scores, *PRICES)))
        self._space, self._dataset, self._hardware = space, dataset, hardware
        self._rank_sum, self._size, self._images = rank_sum, reference, images
        self._scorer: Scorer | None = None
        self._reference: Reference | None = None

    def measure_also(self, names: Sequence[str]) -> None:
        self.metrics = (*self.metrics, *(name for name in names if name not in self.metrics))

    def prepare(self, recorded: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Load the data, decide the device, and score what others are ranked among; or take it from a record."""
        runtime = Runtime.from_record(recorded["runtime"]) if recorded else self._hardware.resolve()
        runtime.apply()
        self._dataset.load()
        self._scorer = Scorer(self._space, self._dataset, runtime, self._images, self._rank_sum)
        if recorded:
            self._reference = Reference(recorded[FACTS]) if FACTS in recorded else None
            return dict(recorded)
        self._reference = self._scorer.reference(self._size, self.metrics)
        ranked = {FACTS: self._reference.values} if self._reference is not None else {}
        return {"runtime": runtime._asdict(), **ranked}

    def evaluate(self, jobs: Sequence[Job]) -> Iterator[Measurement]:
        for job in jobs:
            started = time.monotonic()
            number, genome = job.trial.number, job.trial.proposal.genome
            try:
                found = self._ready.scores(genome, job.seed, self.metrics, repeat=job.repeat, reference=self._reference)
                yield Measurement(number, job.repeat, "ok", found, None, time.monotonic() - started)
            except Exception as error:
                yield Measurement(number, job.repeat, "failed", {}, reason(error), time.monotonic() - started)

    def estimate(self, trial: Trial, timer: Callable[[], float] | None = None) -> float | None:
        """Seconds of the scores of one architecture, the second time that they are computed."""
        timer = timer or time.monotonic
        seconds = 0.0
        for _ in range(2):
            started = timer()
            self._ready.scores(trial.proposal.genome, 0, self.metrics, reference=self._reference)
            seconds = timer() - started
        return seconds

    def unsupported_budget_reason(self, budget: int) -> str | None:
        return "scores of untrained networks have no budgets; choose evaluator=train or evaluator=table"

    @property
    def _ready(self) -> Scorer:
        if self._scorer is None:
            raise RuntimeError("prepare() comes before anything is evaluated")
        return self._scorer


def check_space(space: SearchSpace, chosen: str) -> None:
    """ConfigError where all genomes of a space are one network, of which scores tell nothing. `chosen`: the option that
    asks for scores."""
    if space.start is not None:
        raise ConfigError(
            f"search_space={type(space).__name__}: all its genomes are one network, and {chosen} compares untrained "
            "networks; choose another search space"
        )
