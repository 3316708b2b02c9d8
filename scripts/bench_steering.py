"""The effect of steering by limits: rejected proposals, and the share of the limit that networks use.

    python scripts/bench_steering.py [--trials 100] [--seeds 5] [--parameters 100000]

Searches on the synthetic landscape for images of CIFAR-10's size, with and without steering. Prints Markdown: rejected
proposals, and the share of the limit used by trials (10th percentile and median) and by the best of each seed.
"""

import argparse
from typing import NamedTuple

import numpy as np

from nasrun.config.build import build
from nasrun.config.compose import compose_config, task_config
from nasrun.core import Job, Trial, seeding
from nasrun.strategies.wrappers import Constrain

SPACES = ("staged_cnn", "sequential_cnn")
STRATEGIES = ("random", "aging_evolution", "genetic")
FIXED = (
    *("evaluator=synthetic", "evaluator.noise=0", "dataset=synthetic", "dataset.channels=3"),
    *("dataset.height=32", "dataset.width=32", "constraints.flops=null"),
)


class Searched(NamedTuple):
    """One search: the number of rejected proposals, and the share of the limit that each trial and the best one use."""

    turned_down: int
    usage: list[float]
    best: float


def searched(words: list[str], trials: int, parameters: int) -> Searched:
    """A search of so many trials on the landscape."""
    setup = build(task_config(compose_config((*FIXED, *words))))
    usage: list[float] = []
    scores: list[float] = []
    assert isinstance(setup.strategy, Constrain)
    while len(usage) < trials:
        for proposal in setup.strategy.ask(1):
            cost = setup.space.cost(proposal.genome, setup.dataset.task)
            trial = Trial(len(usage), proposal)
            job = Job(trial, 0, seeding.integer(setup.options.seed, seeding.Purpose.JOB, trial.number))
            measurements = list(setup.evaluator.evaluate([job]))
            setup.strategy.tell(trial, measurements)
            usage.append(cost.parameters / parameters)
            scores.append(setup.objective.score(measurements))
    return Searched(setup.strategy.turned_down, usage, usage[int(np.argmax(scores))])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--parameters", type=int, default=100_000)
    args = parser.parse_args()
    print("| space | strategy | steered | turned down | used: 10th percentile | median | by the best |")
    print("|---|---|---|---|---|---|---|")
    for space in SPACES:
        for strategy in STRATEGIES:
            for steer in ("false", "true"):
                words = [f"search_space={space}", f"strategy={strategy}", f"constraints.steer={steer}"]
                words += [f"constraints.parameters={args.parameters}", "deduplicate=never"]
                found = [searched([*words, f"seed={s}"], args.trials, args.parameters) for s in range(args.seeds)]
                down = sum(one.turned_down for one in found)
                usage = [share for one in found for share in one.usage]
                low, middle = np.percentile(usage, [10, 50])
                best = np.mean([one.best for one in found])
                print(
                    f"| `{space}` | `{strategy}` | {'yes' if steer == 'true' else 'no'} "
                    f"| {down / (down + len(usage)):.1%} | {low:.2f} | {middle:.2f} | {best:.2f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
