"""Chooses the number of CPU threads for training the networks of a run within a time budget.

The threads of one training run wait for one another at every layer. If other work uses some of the processors, all
threads wait for the one without a processor, and fewer are faster (docs/time.md has a measurement). The choice follows
from short timings and is in the journal before anything is trained with it: sums depend on the number of threads, so a
resumed run must use the same.
"""

from collections.abc import Callable

from nasrun.core import Evaluator, Genome

CLEARLY = 0.9
"""Maximum time with another number of threads for it to be chosen, as a share of the present time."""
SLOWER = 1.3
"""Factor by which a training run must be slower than expected before other numbers of threads are timed."""


class ThreadChoice:
    """The number of threads of an evaluator, chosen among the initial number and its halves.

    `seconds_of`: seconds that a genome's network takes for a piece of work with the current threads; `say` tells the
    user.
    """

    def __init__(self, evaluator: Evaluator, seconds_of: Callable[[Genome], float], say: Callable[[str], None]) -> None:
        self._evaluator, self._seconds_of, self._say = evaluator, seconds_of, say

    @property
    def now(self) -> int | None:
        """The number of threads; None if the run has no choice."""
        return self._evaluator.threads[0] if self._evaluator.threads is not None else None

    def follow(self, threads: int | None) -> None:
        """Set a recorded number of threads, if there is one."""
        if threads is not None:
            self._evaluator.use_threads(threads)

    def is_in_doubt(self, slower: float) -> bool:
        """Whether to choose again: training is `slower` than expected by a clear factor, or the number was reduced
        earlier, which may no longer be needed."""
        now, most = self._evaluator.threads or (1, 1)
        return most > 1 and (slower > SLOWER or now != most)

    def choose(self, genome: Genome) -> float | None:
        """Time other numbers of threads, and switch to one that is clearly faster. Returns the seconds with the chosen
        number; None if there is no choice."""
        before, most = self._evaluator.threads or (1, 1)
        if most == 1:
            return None

        found: dict[int, float] = {}

        def seconds_with(threads: int) -> float:
            self._evaluator.use_threads(threads)
            found[threads] = self._seconds_of(genome)
            return found[threads]

        threads = fastest_threads(before, most, seconds_with)
        self._evaluator.use_threads(threads)
        if threads != before:
            noun, share = "thread" if threads == 1 else "threads", found[threads] / found[before]
            self._say(f"trained with {threads} {noun}, which takes {share:.2f} of the time of {before} at present")
        return found[threads]


def fastest_threads(now: int, most: int, seconds_with: Callable[[int], float]) -> int:
    """The fastest number of threads that is reached from `now` by halving, or else by doubling up to `most`, as long as
    each step is clearly faster. `seconds_with`: seconds of a piece of work with a number of threads; called for few
    numbers."""
    best, least = now, seconds_with(now)
    ways: tuple[Callable[[int], int], ...] = (lambda threads: threads // 2, lambda threads: min(2 * threads, most))
    for following in ways:
        while 0 < (threads := following(best)) != best:
            seconds = seconds_with(threads)
            if seconds > CLEARLY * least:
                break
            best, least = threads, seconds
        if best != now:
            break
    return best
