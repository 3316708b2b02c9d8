"""Swarm algorithms over the vectors of a space: pygmo's PSO, ant colony and bee colony. Needs pygmo
(`nasrun[swarm]`)."""

import importlib
import threading
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Annotated, Any

import numpy as np

from nasrun.core import Genome, Measurement, Objective, Origin, Proposal, SearchSpace, Strategy, Trial
from nasrun.core.options import Above, AtLeast, Between, ConfigError, Fraction
from nasrun.strategies.start import Start, StartingGenomes

ENDLESS = 2**31 - 1
"""Default number of generations: more than there will ever be trials."""

FAILED = 1e30
"""Default fitness of a failed trial: worse than any metric, accuracies and FLOPs alike."""

Count = Annotated[int, Between(1, ENDLESS)]
Counted = Annotated[int, Between(0, ENDLESS)]


@dataclass(kw_only=True, frozen=True)
class Individuals:
    """The options of all swarms. `population`: number of individuals. `generations`: pygmo's, which do not count the
    initial population; None: until the trials are used up. `penalty`: fitness of a failed or infeasible trial. `start`:
    known genomes of the first individuals."""

    population: Annotated[int, AtLeast(2)] = 30
    generations: Count | None = None
    penalty: float = FAILED
    start: Start = "none"


def _evolve(pygmo: Any, box: "Box", algorithm: Any, population: int, starts: Sequence[np.ndarray], seed: int) -> None:
    """Call a pygmo algorithm's `evolve` once, on a population that begins with the vectors `starts`."""
    batches = pygmo.bfe(box)
    if hasattr(algorithm, "set_bfe"):
        algorithm.set_bfe(batches)
    problem = pygmo.problem(box)
    if starts:
        swarm = pygmo.population(problem, size=0, seed=seed)
        vectors = [*starts, *(swarm.random_decision_vector() for _ in range(population - len(starts)))]
        for vector, fitness in zip(vectors, batches(problem, np.concatenate(vectors)), strict=True):
            swarm.push_back(vector, [fitness])
    else:
        swarm = pygmo.population(problem, size=population, b=batches, seed=seed)
    pygmo.algorithm(algorithm).evolve(swarm)


class Swarm(Strategy):
    """A pygmo algorithm that minimises `-score` over the box [0, 1]^d; a vector represents `space.decode(vector)`.

    Source: Biscani and Izzo, "A parallel global multiobjective framework for optimization: pagmo", JOSS 2020. The
    proposals are the points that pygmo evaluates, in the same order, when it is called directly with the same fitness:
    a `population` seeded with the first 32-bit integer drawn from `rng`, then one call of `evolve` of the algorithm
    seeded with the second. d is the length of `space.encode`. Points that pygmo evaluates as a batch are proposed as a
    batch: the initial population, and every generation of an algorithm with a batch evaluator.
    """

    draws_from_space = False

    def __init__(
        self,
        space: SearchSpace,
        objective: Objective,
        rng: np.random.Generator,
        name: str,
        algorithm: str,
        parameters: Mapping[str, Any],
        individuals: Individuals,
    ) -> None:
        """`name`: of the YAML file; also the origin of proposals. `algorithm`: a class of pygmo, with its `parameters`.

        ConfigError: pygmo is not installed.
        """
        population, generations = individuals.population, individuals.generations
        try:
            pygmo = importlib.import_module("pygmo")
        except ImportError:
            raise ConfigError(f"strategy={name} needs pygmo: pip install 'nasrun[swarm]'") from None
        first, second = (int(seed) for seed in rng.integers(2**32, size=2))
        length = len(space.encode(space.sample(rng)))
        known = StartingGenomes(space, individuals.start, population)
        self.begins_known = known.known
        starts = [space.encode(genome) for genome in known.all()]
        gen = ENDLESS if generations is None else generations
        chosen = getattr(pygmo, algorithm)(gen=gen, seed=second, **parameters)
        self.initial = population
        self._space, self._objective, self._name, self._penalty = space, objective, name, individuals.penalty
        self._pygmo = AskTellThread(lambda box: _evolve(pygmo, box, chosen, population, starts, first), length)
        weakref.finalize(self, self._pygmo.close)
        self._batch = 0
        self._starts = len(starts)
        self._genomes: list[Genome] = []
        self._fitness: list[float] = []
        self._waiting: dict[Genome, deque[int]] = {}
        self._asked = self._told = 0
        self._done = False

    def ask(self, n: int) -> list[Proposal]:
        if n > 0 and not self._batch:
            self._advance()
        first, self._asked = self._asked, min(self._asked + n, len(self._genomes))
        for place in range(first, self._asked):
            self._waiting.setdefault(self._genomes[place], deque()).append(place)
        return [Proposal(self._genomes[place], origin=self._origin(place)) for place in range(first, self._asked)]

    def _origin(self, place: int) -> str:
        """The origin of the individual at an index of the batch."""
        if self._batch > 1:
            return self._name
        return Origin.KNOWN if place < self._starts else Origin.SAMPLE

    def tell(self, trial: Trial, measurements: Sequence[Measurement]) -> None:
        self._settle(trial.proposal.genome, self._objective.score(measurements))

    def reject(self, proposal: Proposal, reason: str) -> None:
        self._settle(proposal.genome, -float("inf"))

    def _settle(self, genome: Genome, score: float) -> None:
        """Set the fitness of a proposal; the batch is over when all have theirs."""
        # Vectors of one batch may decode to the same genome. Their proposals are equal, so take the first that waits.
        place = self._waiting[genome].popleft()
        self._fitness[place] = self._penalty if score == -float("inf") else -score
        self._told += 1
        if self._told == len(self._genomes):
            self._advance()

    def _advance(self) -> None:
        """Give pygmo the fitness of its batch, and take the next batch from it."""
        vectors = self._pygmo.advance(self._fitness)
        self._done = vectors is None
        self._genomes = [] if vectors is None else [self._space.decode(vector) for vector in vectors]
        self._fitness = [self._penalty] * len(self._genomes)
        self._waiting.clear()
        self._asked = self._told = 0
        self._batch += 1

    @property
    def done(self) -> bool:
        return self._done


@dataclass(kw_only=True, frozen=True)
class Flight:
    """The movement of particles: the parameters of pygmo's `pso` and `pso_gen`, by their names there."""

    omega: Fraction = 0.7298
    eta1: Annotated[float, Between(0, 4)] = 2.05
    eta2: Annotated[float, Between(0, 4)] = 2.05
    max_vel: Annotated[float, Above(0), Between(0, 1)] = 0.5
    variant: Annotated[int, Between(1, 6)] = 5
    neighb_type: Annotated[int, Between(1, 4)] = 2
    neighb_param: Count = 4

    def check(self, population: int) -> None:
        """ValueError for values that pygmo does not check, with which it would read memory out of bounds."""
        ring, neighbours = self.neighb_type == 2, self.neighb_param
        if ring and neighbours < 2:
            raise ValueError(f"neighb_param={neighbours}: must be >= 2 for a ring (neighb_type=2)")
        if ring and neighbours > 2 * population:
            raise ValueError(f"neighb_param={neighbours}: must be <= twice the population, {2 * population}")


class ParticleSwarm(Swarm):
    """Particle swarm optimization; by default a whole generation at a time, so that it can be measured in parallel.

    Source: Kennedy and Eberhart, ICNN 1995; the constriction of variant 5: Clerc and Kennedy, IEEE Transactions on
    Evolutionary Computation 2002. `generational=false` is pygmo's `pso`, in which a particle uses what earlier ones
    found in the same generation, so proposals come one at a time.
    """

    def __init__(
        self,
        space: SearchSpace,
        objective: Objective,
        rng: np.random.Generator,
        *,
        individuals: Individuals = Individuals(),
        generational: bool = True,
        flight: Flight = Flight(),
    ) -> None:
        flight.check(individuals.population)
        algorithm = "pso_gen" if generational else "pso"
        super().__init__(space, objective, rng, "pso", algorithm, vars(flight), individuals)


@dataclass(kw_only=True, frozen=True)
class Colony:
    """The search of the ants: the parameters of pygmo's `gaco`, by their names there. `ker` None: the population."""

    ker: Annotated[int, Between(2, ENDLESS)] | None = 63
    q: Annotated[float, Above(0)] = 1.0
    oracle: float = 0.0
    acc: Annotated[float, AtLeast(0)] = 0.01
    threshold: Count = 1
    n_gen_mark: Count = 7
    impstop: Counted = 100_000
    evalstop: Counted = 100_000
    focus: Annotated[float, AtLeast(0)] = 0.0


class AntColony(Swarm):
    """Extended ant colony optimization: a generation is drawn around the solutions in an archive of the best.

    Source: Schlueter, Egea and Banga, "Extended ant colony optimization for non-convex mixed integer nonlinear
    programming", Computers & Operations Research 2009, as implemented in pygmo's `gaco`. A whole generation can be
    measured in parallel.
    """

    def __init__(
        self,
        space: SearchSpace,
        objective: Objective,
        rng: np.random.Generator,
        *,
        individuals: Individuals = Individuals(population=63),
        colony: Colony = Colony(),
    ) -> None:
        population, generations = individuals.population, individuals.generations
        if colony.ker is not None and colony.ker > population:
            raise ValueError(f"ker={colony.ker}: must be <= population={population}")
        if generations is not None and colony.threshold > generations:
            raise ValueError(f"threshold={colony.threshold}: must be <= generations={generations}")
        parameters = {**vars(colony), "ker": population if colony.ker is None else colony.ker}
        super().__init__(space, objective, rng, "gaco", "gaco", parameters, individuals)


class BeeColony(Swarm):
    """Artificial bee colony: changes one entry of a vector at a time, and keeps the change if it is better.

    Source: Karaboga and Basturk, "A powerful and efficient algorithm for numerical function optimization: artificial
    bee colony (ABC) algorithm", Journal of Global Optimization 2007. After the initial population, proposals come one
    at a time. A generation takes about two proposals per individual.
    """

    def __init__(
        self,
        space: SearchSpace,
        objective: Objective,
        rng: np.random.Generator,
        *,
        individuals: Individuals = Individuals(),
        limit: Count = 20,
    ) -> None:
        super().__init__(space, objective, rng, "abc", "bee_colony", {"limit": limit}, individuals)


class StoppedError(Exception):
    """Raised inside pygmo while it waits for a fitness that will never come, so that it returns."""


class Box:
    """The box [0, 1]^length in the form that pygmo needs: its problem, and its batch evaluator."""

    def __init__(self, length: int, measure: Callable[[np.ndarray], list[float]]) -> None:
        """`measure`: returns the fitness of every row of an array (n, `length`), and blocks until it is known."""
        self._length, self._measure = length, measure

    def get_bounds(self) -> tuple[list[float], list[float]]:
        return [0.0] * self._length, [1.0] * self._length

    def fitness(self, vector: np.ndarray) -> list[float]:
        return self._measure(vector.reshape(1, self._length))

    def __call__(self, problem: Any, vectors: np.ndarray) -> list[float]:
        return self._measure(vectors.reshape(-1, self._length))

    def __deepcopy__(self, memo: Any) -> "Box":
        # pygmo copies its problem with every population; all copies must share one `measure`.
        return self


Question = np.ndarray | BaseException | None


class AskTellThread:
    """Turns a function that calls for fitness into an ask-tell object: the function runs in its own thread, which
    `advance` resumes.

    One of the two threads always waits for the other, so that the result never depends on timing. This is a thread, not
    a coroutine, because pygmo's C++ frames lie between the function and the call for fitness. The thread ends with the
    function, or with `close`: at the latest when the owner of this object is garbage-collected, or the process ends.
    """

    def __init__(self, work: Callable[[Box], None], length: int) -> None:
        """`work` must not refer to the owner of this object, which could then not be garbage-collected."""
        self._questions: SimpleQueue[Question] = SimpleQueue()
        self._answers: SimpleQueue[list[float] | None] = SimpleQueue()
        arguments = (work, length, self._questions, self._answers)
        # A daemon, because Python waits for other threads before it runs the callback that would close this one.
        self._thread = threading.Thread(target=_converse, args=arguments, name="pygmo", daemon=True)
        self._started = False

    def advance(self, answer: list[float]) -> np.ndarray | None:
        """Start the function, or give it the fitness that it waits for; then wait until it calls for more.

        Returns the vectors, an array (n, length); None if the function has returned. Raises what the function raises.
        """
        if self._started:
            self._answers.put(answer)
        else:
            self._started = True
            self._thread.start()
        question = self._questions.get()
        if isinstance(question, BaseException):
            raise question
        return question

    def close(self) -> None:
        """End the thread and wait for it. Safe to call from any thread, and during garbage collection."""
        if self._started:
            self._answers.put(None)
            if self._thread is not threading.current_thread():
                self._thread.join()


def _converse(
    work: Callable[[Box], None],
    length: int,
    questions: "SimpleQueue[Question]",
    answers: "SimpleQueue[list[float] | None]",
) -> None:
    """The thread's function: runs `work`, whose calls for fitness become questions."""

    def measure(vectors: np.ndarray) -> list[float]:
        questions.put(vectors.copy())
        answer = answers.get()
        if answer is None:
            raise StoppedError
        return answer

    try:
        work(Box(length, measure))
        questions.put(None)
    except StoppedError:
        pass
    except BaseException as error:
        questions.put(error)
