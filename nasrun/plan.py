"""`dry_run=true`: what a run would do, before it does it."""

import itertools
import statistics

from nasrun.config import Setup, sample_rng
from nasrun.protocols import Proposal, Trial

SAMPLES = 200
TIMED = 3


def show_plan(setup: Setup) -> None:
    """Print size of the space, trials, the price of a sample of architectures, and the time a run may take."""
    space, task = setup.space, setup.dataset.task
    rng = sample_rng(setup.options.seed)
    drawn = (space.sample(rng) for _ in itertools.count())
    genomes = list(itertools.islice((g for g in drawn if setup.constraints.allow(space.cost(g, task))), SAMPLES))
    costs = [space.cost(genome, task) for genome in genomes]
    names = {group: setup.config[group]["_target_"].rpartition(".")[2] for group in ("search_space", "strategy")}
    size = "unknown" if space.size is None else f"{space.size:,} architectures"
    pixels = f" x {task.height} x {task.width}" if task.kind == "regression" else ""
    lines = [
        ("search space", f"{names['search_space']}: {size}"),
        ("strategy", names["strategy"]),
        ("trials", f"{setup.options.trials} of {setup.evaluator.repeats} repeat(s)"),
        ("task", f"{task.name}: {task.channels} x {task.height} x {task.width} to {task.outputs}{pixels}"),
        ("parameters", _range([cost.parameters for cost in costs])),
        ("FLOPs", _range([cost.flops for cost in costs])),
        ("example", space.format(genomes[0])),
        ("time", _time(setup, genomes)),
    ]
    print("\n".join(f"{name:<13} {text}" for name, text in lines))


def _range(values: list[int]) -> str:
    middle = round(statistics.median(values))
    return f"{min(values):,} to {max(values):,}, median {middle:,} ({len(values)} samples within the constraints)"


def _time(setup: Setup, genomes: list[tuple[int | str, ...]]) -> str:
    """An estimate from timing a few steps of the sample's architectures of middling price."""
    setup.evaluator.prepare()
    ranked = sorted(genomes, key=lambda genome: setup.space.cost(genome, setup.dataset.task).flops)
    chosen = [ranked[(2 * i + 1) * len(ranked) // (2 * TIMED)] for i in range(TIMED)]
    seconds = [setup.evaluator.estimate(Trial(number, Proposal(genome))) for number, genome in enumerate(chosen)]
    known = [value for value in seconds if value is not None]
    if not known:
        return "microseconds per trial"
    per_trial = statistics.fmean(known) * setup.evaluator.repeats
    total = per_trial * setup.options.trials / 60
    return f"about {per_trial:.1f} s per trial, {total:.1f} min for the search (from timing {len(known)} architectures)"
