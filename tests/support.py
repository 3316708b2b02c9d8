"""Helpers for several tests: checked configs as objects, and small searches in this process."""

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import DictConfig

from nasrun.checkpoints.store import CheckpointStore
from nasrun.config.build import Setup, build
from nasrun.config.compose import compose_config, task_config
from nasrun.core import Measurement, Proposal, SearchSpace, Strategy, StrategyWrapper, Trial, seeding
from nasrun.core.config_files import conf_dir
from nasrun.core.option_files import option_classes
from nasrun.core.options import gathered
from nasrun.datasets import Dataset
from nasrun.datasets.record import record_of
from nasrun.hardware.inline import InlineExecutor
from nasrun.runner.run import start
from nasrun.runner.search import Ending, Search, SearchOptions
from nasrun.storage import journal
from nasrun.storage.events import RunStarted, events_of
from nasrun.storage.journal import Line
from nasrun.storage.records import Observer, RunLog, RunRecords

Made = TypeVar("Made")


def options(group: str) -> list[str]:
    """The options of a config group: what contract tests run over, so that a new one enrols itself."""
    names = sorted(path.stem for path in (conf_dir() / group).glob("*.yaml"))
    assert names, f"no option in conf/{group}"
    return names


SEED = "seed="
MADE_UP = ("evaluator=synthetic", "dataset=synthetic", "search_space=sequential_cnn", "recipe=plain")

TINY_IMAGES = (
    "dataset=synthetic",
    "dataset.samples=200",
    "dataset.height=8",
    "dataset.width=8",
    "dataset.validation=0.4",
    "evaluator.pad_to=null",
    "hardware=cpu",
    "hardware.threads=1",
)
"""What shared weights are trained on in tests: 120 images of 8 x 8, by one thread."""
FOUR_CLASSES = (*TINY_IMAGES, "dataset.classes=4", "hardware.precision=fp32")
"""The same of four classes, in full precision."""

FITTING: dict[str, tuple[str, ...]] = {
    "abc": ("search_space=sequential_cnn", "deduplicate=resample"),
    "asnn": ("search_space=mlp", "strategy.rows=1000"),
    "derived": ("evaluator=darts", "search_space=nasbench201"),
    "grid": ("search_space=nasbench201",),
    "miha": ("search_space=training_recipe", "strategy.cycles=40"),
    "nao": ("search_space=nasbench201", "strategy.steps=120"),
    "pbt": ("search_space=training_recipe",),
    "successive_halving": ("search_space=sequential_cnn", "strategy.configurations=200"),
}
"""What strategies are tested with that do not run on every search space, or would take long at their defaults."""


SHORTER = {"nao": ("strategy.steps=5",)}
"""Settings of strategies that would learn for minutes where how well they learn does not matter."""


class EpochBeforeEachAsk(StrategyWrapper):
    """Wraps a strategy that follows derived architectures: as in the loop, it is told of one before each ask."""

    def __init__(self, inner: Strategy, space: SearchSpace, seed: int) -> None:
        super().__init__(inner)
        self._space, self._rng = space, seeding.generator(seed, seeding.Purpose.SHARED)

    def ask(self, n: int) -> list[Proposal]:
        self.tell_derived(self._space.sample(self._rng))
        return super().ask(n)


def strategy_setup(strategy: str, *overrides: str, learns: bool = False) -> Setup:
    """`setup_of` with a strategy, on the default search space unless that does not fit it.

    `learns`: what is tested is how well it learns, so that it has all of its settings.
    """
    shorter = () if learns else SHORTER.get(strategy, ())
    setup = setup_of(f"strategy={strategy}", *FITTING.get(strategy, ()), *shorter, *overrides)
    if not setup.strategy.follows_derived:
        return setup
    made_up = setup_of(*FITTING[strategy], "evaluator=synthetic", *overrides).evaluator
    return replace(
        setup, strategy=EpochBeforeEachAsk(setup.strategy, setup.space, setup.options.seed), evaluator=made_up
    )


def searching() -> list[str]:
    """The strategies that search by themselves, with any evaluator."""
    return [name for name, kind in option_classes("strategy").items() if not kind.follows_derived]


def setup_of(*overrides: str) -> Setup:
    """The objects of a config on the made-up landscape, on `sequential_cnn`, unless the overrides choose otherwise."""
    others = [word for word in overrides if not word.startswith(SEED)]
    config = _composed(*MADE_UP, *others)
    for word in overrides:
        if word not in others:
            config = config.copy()
            config.seed = int(word.removeprefix(SEED))
    return build(config)


@cache
def _composed(*overrides: str) -> DictConfig:
    # Composing takes fifty times as long as building; `build` does not change what it is given. Seeds are put in
    # afterwards, so that it is done once for all of them.
    return task_config(compose_config(overrides))


def made_run(directory: Path, *words: str) -> Path:
    """A directory with the run of these words, made in this process."""
    start(task_config(compose_config(words)), directory, unique=False)
    return directory


def with_options(cls: type[Made], *arguments: Any, **options: Any) -> Made:
    """An object of a class with options by the names that they have in its YAML."""
    return cls(*arguments, **gathered(cls, options))


def fingerprint(dataset: Dataset) -> str | None:
    """The record of a data set, as runs write it."""
    dataset.load()
    return record_of(dataset).fingerprint


def search_in(directory: Path, *overrides: str) -> tuple[Search, RunLog]:
    """A search in a directory and its journal, started or resumed: it is repaired and replayed first."""
    directory.mkdir(exist_ok=True)
    setup = setup_of(*overrides)
    path = directory / journal.NAME
    lines = list(journal.repair(path)) if path.exists() else []
    run = RunRecords(directory, RunStarted())
    for event in (events := events_of(lines, path)):
        run.take(event)
    log = RunLog(path, run)
    search = Search(
        setup.strategy,
        InlineExecutor(setup.evaluator),
        log,
        Observer(),
        CheckpointStore(directory, "none"),
        SearchOptions.of(setup),
    )
    search.replay(events)
    return search, log


def run_in(directory: Path, *overrides: str) -> tuple[Search, Ending]:
    """Run a search to its end."""
    search, log = search_in(directory, *overrides)
    with contextlib.closing(log):
        return search, search.run()


def trajectory(strategy: Strategy, setup: Setup, count: int) -> list[Proposal]:
    """The first `count` proposals of a strategy that is asked for one at a time and told the landscape's values."""
    proposals: list[Proposal] = []
    while len(proposals) < count and not strategy.done:
        asked = strategy.ask(1)
        if not asked:
            break
        for proposal in asked:
            trial = Trial(len(proposals), proposal)
            proposals.append(proposal)
            strategy.tell(trial, measure(setup, trial))
    return proposals


def measure(setup: Setup, trial: Trial) -> Sequence[Measurement]:
    """What the evaluator of a setup measures for a trial, with seeds that follow from its number."""
    from nasrun.core import Job

    seed = setup.options.seed
    jobs = [
        Job(trial, repeat, seeding.integer(seed, seeding.Purpose.JOB, trial.number, repeat))
        for repeat in range(setup.evaluator.repeats)
    ]
    return list(setup.evaluator.evaluate(jobs))


def without_time(events: Sequence[Line]) -> list[Line]:
    """Events without what depends on the clock, and without the marks of stops and resumes."""
    timeless = [{k: v for k, v in event.items() if k not in ("time", "seconds")} for event in events]
    return [event for event in timeless if event["event"] in ("ask", "measure", "tell", "final")]
