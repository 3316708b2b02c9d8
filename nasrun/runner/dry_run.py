"""`dry_run=true`: shows what a run would do."""

import itertools
import statistics

from nasrun.config.build import Setup, check_budgets, sample_rng
from nasrun.core import Proposal, Trial
from nasrun.core.output import show
from nasrun.core.progress import progress
from nasrun.core.words import counted
from nasrun.datasets.overview import overview_of
from nasrun.evaluators.train.recipe import summary
from nasrun.reports.summary import duration
from nasrun.runner.clock import Clock, Instant
from nasrun.runner.time_budget import time_budget

SAMPLES = 200
TIMED = 3


def show_plan(setup: Setup, began: Instant) -> None:
    """Print the size of the space, the trials, the cost of sampled architectures, and the time a run may take.

    For a run with a time budget, which is spent from `began` on, print its plan.
    """
    space, task = setup.space, setup.dataset.task
    rng = sample_rng(setup.options.seed)
    drawn = (setup.steered.sample(rng) for _ in itertools.count())
    genomes = list(
        itertools.islice(
            (g for g in drawn if setup.constraints.allow(setup.constraints.price(space, g, task))), SAMPLES
        )
    )
    costs = [space.cost(genome, task) for genome in genomes]
    names = {group: setup.config[group]["_target_"].rpartition(".")[2] for group in ("search_space", "strategy")}
    size = "unknown" if space.size is None else counted(space.size, "architecture")
    size += f", {', '.join(space.scaled_settings)} included" if space.scaled_settings else ""
    pixels = f" x {task.height} x {task.width}" if task.kind == "regression" else ""
    prepared = _prepared(setup, genomes, began)  # reads the data
    overview = overview_of(setup.dataset)
    lines = [
        ("search space", f"{names['search_space']}: {size}"),
        ("strategy", names["strategy"]),
        ("trials", f"{setup.options.trials:,}{_repeats(setup.evaluator.repeats)}"),
        ("task", f"{task.name}: {task.channels} x {task.height} x {task.width} to {task.outputs}{pixels}"),
        ("parameters", _range([cost.parameters for cost in costs])),
        ("FLOPs", _range([cost.flops for cost in costs])),
        ("example", space.format(genomes[0])),
        *prepared,
    ]
    lines[4:4] = [("" if place else "data", line) for place, line in enumerate(overview.lines() if overview else ())]
    lines[3:3] = _budgets(setup)
    if setup.options.time is not None:
        lines[2:3] = []  # the plan has the number
    print("\n".join(f"{name:<13} {text}" for name, text in lines))


def _budgets(setup: Setup) -> list[tuple[str, str]]:
    """The budgets of a strategy that trains in steps, and the total epochs of its trials."""
    budgets, epochs = setup.strategy.budgets, setup.strategy.epochs(setup.options.trials)
    if not budgets or epochs is None:
        return []
    rungs = f"{', '.join(map(str, budgets))} epochs; each trial trains an architecture from one budget to the next"
    total = f"about {epochs:.0f} in all, as many as {epochs / budgets[-1]:.1f} training runs of {budgets[-1]}"
    return [("budgets", rungs), ("epochs", total)]


def _timed(setup: Setup, began: Instant) -> str:
    """The plan of a run with a time budget."""
    budget = time_budget(setup, Clock(setup.hardware.clock, began), None, show)
    assert budget is not None
    return budget.describe(budget.first_plan()[0])


def _range(values: list[int]) -> str:
    middle = round(statistics.median(values))
    return f"{min(values):,} to {max(values):,}, median {middle:,} ({len(values)} samples within the constraints)"


def _prepared(setup: Setup, genomes: list[tuple[int | str, ...]], began: Instant) -> list[tuple[str, str]]:
    """The lines that need a prepared evaluator: settings that depend on the data, and the time."""
    recipe = setup.evaluator.prepare().get("recipe")
    check_budgets(setup.strategy, setup.evaluator)
    time = _time(setup, genomes) if setup.options.time is None else _timed(setup, began)
    return [*([("training", summary(recipe))] if recipe else []), ("time", time)]


def _time(setup: Setup, genomes: list[tuple[int | str, ...]]) -> str:
    """An estimate of the time, from timing a few steps of the sampled architectures of medium cost."""
    ranked = sorted(genomes, key=lambda genome: setup.space.cost(genome, setup.dataset.task).flops)
    chosen = [ranked[(2 * i + 1) * len(ranked) // (2 * TIMED)] for i in range(TIMED)]
    epochs = setup.strategy.epochs(setup.options.trials)
    budget = None if epochs is None else 1
    proposals = [Proposal(genome, budget=budget) for genome in chosen]
    seconds = []
    with progress("timing architectures", len(proposals)) as tell:
        for number, proposal in enumerate(proposals):
            seconds.append(setup.evaluator.estimate(Trial(number, proposal)))
            tell(number + 1)
    known = [value for value in seconds if value is not None]
    if not known:
        return "microseconds per trial"
    per_trial = statistics.fmean(known) * setup.evaluator.repeats
    per_trial *= 1 if epochs is None else epochs / setup.options.trials
    workers = parallel(setup)
    before = setup.evaluator.estimate_start(chosen[TIMED // 2])
    total = before + per_trial * setup.options.trials / workers
    first = f", {duration(before)} before the first" if before else ""
    on = f" with {workers} workers" if workers > 1 else ""
    source = f"from timing {counted(len(known), 'architecture')}"
    return f"about {duration(per_trial)} per trial{first}, {duration(total)} for the search{on} ({source})"


def _repeats(count: int) -> str:
    return f", each trained {count} times" if count > 1 else ""


def parallel(setup: Setup) -> int:
    """Number of workers at work at a time: at most the number of repeats in flight."""
    return min(setup.hardware.workers, setup.hardware.trials_in_flight * setup.evaluator.repeats)
