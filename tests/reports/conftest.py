"""A small space and real journals for the reports: what they show was written by the journal and read back."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from nasrun.core import Cost, Genome, Measurement, Proposal, SearchSpace, Task, Token, Trial
from nasrun.storage.events import Asked, Ended, FinalTested, Measured, RunStarted, Told
from nasrun.storage.journal import NAME, Journal
from nasrun.storage.records import RunRecords, TrialRecord, read_run
from tests.reports.table_sweeps import DATASETS, SEEDS, TABLE, run

if TYPE_CHECKING:
    from playwright.sync_api import Browser


class NumbersSpace(SearchSpace):
    """Genomes of digits, written `d1-d2`; the order of the digits makes no difference to the network."""

    mutations = {}

    def __init__(self) -> None:
        self.formatted = 0

    def sample(self, rng: np.random.Generator) -> Genome:
        return tuple(int(x) for x in rng.integers(0, 10, 6))

    def crossover(self, first: Genome, second: Genome, rng: np.random.Generator) -> Genome:
        return first

    def choices(self, prefix: Genome) -> tuple[Token, ...]:
        return ()

    def encode(self, genome: Genome) -> np.ndarray:
        return np.array(genome) / 9

    def decode(self, vector: np.ndarray) -> Genome:
        return tuple(int(x) for x in np.rint(vector * 9))

    def key(self, genome: Genome) -> Any:
        return tuple(sorted(genome))

    def validate(self, genome: Genome) -> None:
        pass

    def format(self, genome: Genome) -> str:
        self.formatted += 1
        return "-".join(f"d{digit}" for digit in genome)

    def parse(self, text: str) -> Genome:
        parts = text.split("-")
        for position, part in enumerate(parts):
            if not (part.startswith("d") and part[1:].isdigit()):
                raise ValueError(f"position {position}: expected d and a digit, found {part!r}")
        return tuple(int(part[1:]) for part in parts)

    def cost(self, genome: Genome, task: Task) -> Cost:
        return Cost(1, 1)

    def build(self, genome: Genome, task: Task) -> Any:
        raise NotImplementedError


WriteRun = Callable[..., RunRecords]


def measured(
    trial: int, value: float, *, repeat: int = 0, metric: str = "val_accuracy", length: int = 0, **metrics: float
) -> Measurement:
    """A measurement that succeeded, with a history of `length` epochs."""
    rows = [{"train_loss": 1 / e, metric: value * e / length, "seconds": 0.5} for e in range(1, length + 1)]
    return Measurement(trial, repeat, "ok", {metric: value, **metrics}, None, 2.0, rows)


def make_records(count: int, *, metric: str = "val_accuracy", epochs: int = 3) -> dict[int, TrialRecord]:
    """A search of `count` trials with parents, reuse and failures, the same at every call."""
    rng = np.random.default_rng(5)
    space, records = NumbersSpace(), {}
    for number in range(count):
        parent = None if number < max(2, count // 5) else int(rng.integers(0, number))
        origin = "sample" if parent is None else ("swap", "filters", "add_layer")[number % 3]
        trial = Trial(number, Proposal(space.sample(rng), parent=parent, origin=origin))
        if number % 17 == 11:
            failed = Measurement(number, 0, "failed", error="out of memory", seconds=1.0)
            records[number] = TrialRecord(trial, [failed])
            continue
        size = float(int(10 ** rng.uniform(4, 6)))
        one = measured(number, float(rng.uniform(0.6, 0.9)), metric=metric, length=epochs, parameters=size, flops=9.0)
        records[number] = TrialRecord(trial, [one])
    return records


def as_trials(records: dict[int, TrialRecord]) -> list[tuple[Proposal, Sequence[Measurement]]]:
    """Records as `write_run` takes them."""
    return [(record.trial.proposal, record.measurements) for record in records.values()]


def write_journal(
    directory: Path,
    trials: Sequence[tuple[Proposal, Sequence[Measurement]]],
    final: dict[str, Any] | None = None,
    reason: str | None = None,
) -> RunRecords:
    """Write the journal of a run and read it back; one second passes with each event."""
    directory.mkdir(parents=True, exist_ok=True)
    journal, clock = Journal(directory / NAME), 1000.0
    journal.append(RunStarted(seed=0, nasrun="0", time=clock))
    for number, (proposal, measurements) in enumerate(trials):
        journal.append(Asked(n=1, first=number, proposals=[proposal], time=clock))
        for measurement in measurements:
            journal.append(Measured(measurement=measurement, time=clock))
        clock += 1
        journal.append(Told(trial=number, time=clock))
    if final is not None:
        journal.append(FinalTested(result=final, time=clock))
    if reason is not None:
        journal.append(Ended(reason=reason, time=clock))
    journal.close()
    return read_run(directory)


@pytest.fixture
def space() -> NumbersSpace:
    return NumbersSpace()


@pytest.fixture
def search() -> Callable[..., dict[int, TrialRecord]]:
    return make_records


@pytest.fixture
def ok() -> Callable[..., Measurement]:
    return measured


@pytest.fixture
def write_run(tmp_path: Path) -> WriteRun:
    def write(*arguments: Any, **named: Any) -> RunRecords:
        return write_journal(tmp_path / "run", *arguments, **named)

    return write


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    from playwright.sync_api import sync_playwright

    from tests.reports.browser import CHROMIUM

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="session")
def three_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two strategies on three data sets of a table."""
    folder = tmp_path_factory.mktemp("sweep")
    for dataset in DATASETS:
        for strategy in ("random", "local_search"):
            for seed in range(SEEDS):
                place = folder / f"{dataset}_{strategy}_{seed}"
                run(place, strategy, seed, *TABLE, "trials=20", dataset=dataset)
    return folder


@pytest.fixture
def one_table(three_tables: Path) -> list[Path]:
    """Its runs on one of them."""
    return sorted(three_tables.glob("cifar10_*"))
