"""With how many CPU threads the networks of a run within a budget of time are trained.

The threads of one training wait for one another at every layer. Where other work takes some of the processors, all
wait for the thread that has none, and fewer are faster (docs/time.md has a measurement). What is chosen follows from
short timings, and is in the journal before anything is trained with it: sums depend on the number of threads, so that
a resumed run has to follow.
"""

from collections.abc import Callable

from nasrun.core import Evaluator, Genome

CLEARLY = 0.9
"""Of the seconds that the present number of threads takes, those that another has to take at most."""
SLOWER = 1.3
"""How many times as long as expected a training takes before other numbers of threads are timed."""


class ThreadChoice:
    """The threads of an evaluator, chosen among those that it began with and halves of them.

    `seconds_of`: what a genome's network takes for a piece of work with the threads that are set; `say` tells the user.
    """

    def __init__(self, evaluator: Evaluator, seconds_of: Callable[[Genome], float], say: Callable[[str], None]) -> None:
        self._evaluator, self._seconds_of, self._say = evaluator, seconds_of, say

    @property
    def now(self) -> int | None:
        """The number of threads; None where the run has no choice."""
        return self._evaluator.threads[0] if self._evaluator.threads is not None else None

    def follow(self, threads: int | None) -> None:
        """Set what is on record, where it is."""
        if threads is not None:
            self._evaluator.use_threads(threads)

    def is_in_doubt(self, slower: float) -> bool:
        """Whether it is time to choose anew: trainings take so many times as long as expected, or there were better
        times, which may be back."""
        now, most = self._evaluator.threads or (1, 1)
        return most > 1 and (slower > SLOWER or now != most)

    def choose(self, genome: Genome) -> float | None:
        """Time other numbers of threads, and go over to one that is clearly faster. Returns the seconds with those that
        are set now; None where there is no choice."""
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
    """The number of threads, of those reached from `now` by halving, or else by doubling up to `most`, as long as each
    is clearly faster than the one before. `seconds_with`: what a piece of work takes with so many; called for few."""
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
