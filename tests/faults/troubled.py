"""A user's own evaluator, whose trials get into trouble by their numbers."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

from nasrun.core import Job, Measurement
from nasrun.evaluators.synthetic import Synthetic

CHUNK = 2**20


class Troubled(Synthetic):
    """`hangs`: trials that never end. `eats`: trials that take `megabytes` of memory. All others are normal."""

    def __init__(
        self,
        *runtime: Any,
        hangs: list[int] = [],  # noqa: B006 (never changed; the schema wants a default)
        eats: list[int] = [],  # noqa: B006
        megabytes: int = 0,
        time_limit: float | None = None,
        catches: bool = True,
    ) -> None:
        super().__init__(*runtime)
        self._hangs, self._eats, self._megabytes, self.time_limit = hangs, eats, megabytes, time_limit
        self._catches = catches

    def evaluate(self, jobs: Sequence[Job]) -> Iterator[Measurement]:
        for job in jobs:
            try:
                self._suffer(job.trial.number)
                yield from super().evaluate([job])
            except Exception as error:
                if not self._catches:
                    raise
                text = f"{type(error).__name__}: {error}".rstrip(": ")
                yield Measurement(job.trial.number, job.repeat, "failed", error=text)

    def _suffer(self, trial: int) -> None:
        while trial in self._hangs:
            time.sleep(3600)
        if trial in self._eats:
            held = [bytes([number % 255 + 1]) * CHUNK for number in range(self._megabytes)]
            raise AssertionError(f"{len(held)} MiB were there")
