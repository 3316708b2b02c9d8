"""The search loop's own cost per trial: ask, journal, evaluate, journal, tell, and the tables at the end.

    python scripts/bench_loop.py [--trials 1500] [--runs 7]

Times `Search.run` over aging evolution on `sequential_cnn` with the `synthetic` evaluator, whose own time is measured
separately and printed. For comparison it times, in the same run, the strategy without loop or journal, and one flushed
line per trial.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from nasrun.checkpoints.store import CheckpointStore
from nasrun.config.build import Setup, build
from nasrun.config.compose import compose_config, task_config
from nasrun.core import Job, Trial, seeding
from nasrun.core.environment import describe_environment
from nasrun.hardware.inline import InlineExecutor
from nasrun.reports.tables import write_tables
from nasrun.runner.search import Search, SearchOptions
from nasrun.storage.events import RunStarted
from nasrun.storage.records import Observer, RunLog, RunRecords


def new_setup(trials: int) -> Setup:
    """The main job's space and strategy at the population of the paper, on the synthetic landscape."""
    overrides = ["search_space=sequential_cnn", "evaluator=synthetic", f"trials={trials}"]
    overrides += ["strategy.population=100", "strategy.sample=25"]
    return build(task_config(compose_config(overrides)))


def search(trials: int, folder: Path) -> tuple[float, float]:
    """Seconds of a whole search with its journal, and of the tables after it."""
    return run_search(new_setup(trials), folder)


def run_search(setup: Setup, folder: Path) -> tuple[float, float]:
    """The same for any setup whose evaluator is prepared."""
    trials = setup.options.trials
    log = RunLog(folder / "journal.jsonl", RunRecords(folder, RunStarted()))
    runner = Search(
        setup.strategy,
        InlineExecutor(setup.evaluator),
        log,
        Observer(),
        CheckpointStore(folder, "none"),
        SearchOptions(objective=setup.objective, seed=0, trials=trials),
    )
    started = time.perf_counter()
    runner.run()
    log.close()
    searched = time.perf_counter()
    assert len(runner.records) == trials
    write_tables(folder, runner.records, setup.space, setup.objective, 0)
    return searched - started, time.perf_counter() - searched


def bare(trials: int, folder: Path) -> tuple[float, float]:
    """Seconds of strategy and evaluator alone, without the loop; and of the evaluator's share."""
    setup = new_setup(trials)
    evaluating = 0.0
    started = time.perf_counter()
    for number in range(trials):
        (proposal,) = setup.strategy.ask(1)
        trial = Trial(number, proposal)
        seed = seeding.integer(0, seeding.Purpose.JOB, number)
        before = time.perf_counter()
        measurements = list(setup.evaluator.evaluate([Job(trial, 0, seed)]))
        evaluating += time.perf_counter() - before
        setup.strategy.tell(trial, measurements)
    return time.perf_counter() - started, evaluating


def lines(trials: int, folder: Path) -> tuple[float, float]:
    """Seconds of writing and flushing one JSON line per trial."""
    started = time.perf_counter()
    with (folder / "lines.jsonl").open("w") as file:
        for number in range(trials):
            file.write(json.dumps({"trial": number, "value": 0.5}) + "\n")
            file.flush()
    return time.perf_counter() - started, 0.0


def main() -> None:
    """Run the three alternately and print microseconds per trial."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=1500)
    parser.add_argument("--runs", type=int, default=7)
    arguments = parser.parse_args()
    kinds: dict[str, Callable[[int, Path], tuple[float, float]]] = {"search": search, "bare": bare, "lines": lines}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in kinds}
    for _ in range(arguments.runs + 1):
        for name, function in kinds.items():
            with tempfile.TemporaryDirectory() as folder:
                times[name].append(function(arguments.trials, Path(folder)))
    per_trial = {
        "search, journal included": [first for first, _ in times["search"][1:]],
        "tables afterwards": [second for _, second in times["search"][1:]],
        "strategy and evaluator alone": [first for first, _ in times["bare"][1:]],
        "of it the evaluator": [second for _, second in times["bare"][1:]],
        "one flushed JSON line": [first for first, _ in times["lines"][1:]],
    }
    environment = describe_environment()
    print(
        f"{environment['processor']}, Python {environment['python']}; {arguments.trials} trials, "
        f"median of {arguments.runs} runs (min to max), microseconds per trial"
    )
    for name, seconds in per_trial.items():
        micro = [1e6 * value / arguments.trials for value in seconds]
        print(f"{name:<30} {statistics.median(micro):7.1f}  ({min(micro):.1f} to {max(micro):.1f})")
    overhead = [s[0] - b[1] for s, b in zip(times["search"][1:], times["bare"][1:], strict=True)]
    micro = [1e6 * value / arguments.trials for value in overhead]
    print(
        f"{'search without the evaluator':<30} {statistics.median(micro):7.1f}  ({min(micro):.1f} to {max(micro):.1f})"
    )


if __name__ == "__main__":
    main()
