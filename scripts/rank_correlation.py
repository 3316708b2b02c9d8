"""How far scores with shared weights rank architectures as training them does: Kendall's tau on NAS-Bench-201.

    python scripts/rank_correlation.py [--channels 4] [--cells 1] [--epochs 20] [--architectures 200] [--samples 5000]
                                       [--validation 0.04] [--dataset cifar10] [--seeds 1] [--device cpu] [WORD...]

Trains a small network of all cells of NAS-Bench-201 on random draws (evenly, or as WORD says:
`evaluator.operation_weights=auto`), scores random cells with it on all validation data that is not held out (70 % of
`--validation`, a share of the training images), and compares with their accuracies after 200 epochs of training in the
shipped table (CIFAR-10, validation). Prints tau-b with a 95 % interval by bootstrap over the cells, by accuracy and by
less loss, for each seed, once for the untrained network and after each quarter of the epochs; beside it the tau of the
number of parameters. Seconds are those of the processor, with the scoring.
"""

import argparse
import sys
import time

import numpy as np

from nasrun.config.build import build
from nasrun.config.compose import compose_config, task_config
from nasrun.core import Evaluator, Genome, Job, Proposal, SharedEvaluator, Trial, seeding

RESAMPLES = 1000


def tau(first: np.ndarray, second: np.ndarray) -> float:
    """Kendall's tau-b: concordant less discordant pairs, over the geometric mean of the pairs not tied in each."""
    signs = [np.sign(values[:, None] - values[None, :]) for values in (first, second)]
    untied = [float((sign * sign).sum()) for sign in signs]
    return float((signs[0] * signs[1]).sum()) / (untied[0] * untied[1]) ** 0.5 if all(untied) else float("nan")


def interval(first: np.ndarray, second: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """The middle 95 % of tau over resamples of the architectures."""
    draws = rng.integers(len(first), size=(RESAMPLES, len(first)))
    found = np.nanquantile([tau(first[draw], second[draw]) for draw in draws], [0.025, 0.975])
    return float(found[0]), float(found[1])


def accuracies(genomes: list[Genome]) -> np.ndarray:
    """Validation accuracies of the table, after 200 epochs."""
    setup = build(task_config(compose_config(["search_space=nasbench201", "evaluator=table", "strategy=random"])))
    setup.evaluator.prepare()
    return scores(setup.evaluator, genomes, "val_accuracy")["val_accuracy"]


def scores(evaluator: Evaluator, genomes: list[Genome], *names: str) -> dict[str, np.ndarray]:
    """What an evaluator says of some architectures, by metric."""
    jobs = [Job(Trial(number, Proposal(genome)), 0, number) for number, genome in enumerate(genomes)]
    found = [measurement.metrics for measurement in evaluator.evaluate(jobs)]
    return {name: np.array([metrics[name] for metrics in found]) for name in names}


def main() -> None:
    """Train, score, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("channels", 4), ("cells", 1), ("epochs", 20), ("architectures", 200), ("samples", 5000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--validation", type=float, default=0.04)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("words", nargs="*", metavar="WORD", help="further overrides of the config: hardware.threads=1")
    parser.add_argument("--dataset", default="cifar10")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_intermixed_args()
    words = [
        "search_space=nasbench201",
        f"search_space.channels={arguments.channels}",
        f"search_space.cells={arguments.cells}",
        "evaluator=supernet",
        "evaluator.score=whole",
        "evaluator.batch_size=64",
        "evaluator.operation_weights=null",
        f"dataset={arguments.dataset}",
        f"dataset.train_samples={arguments.samples}",
        f"dataset.validation={arguments.validation}",
        f"hardware.device={arguments.device}",
        *arguments.words,
    ]
    setup = build(task_config(compose_config(words)))
    evaluator, space = setup.evaluator, setup.space
    assert isinstance(evaluator, SharedEvaluator)
    evaluator.prepare()
    rng = np.random.default_rng(0)
    genomes = [space.sample(rng) for _ in range(arguments.architectures)]
    truth = accuracies(genomes)
    sizes = np.array([space.cost(genome, setup.dataset.task).parameters for genome in genomes], dtype=float)
    low, high = interval(sizes, truth, np.random.default_rng(1))
    print(f"{len(genomes)} cells; parameters: tau {tau(sizes, truth):.3f} ({low:.3f} to {high:.3f})\n")
    columns = ("seed", "epochs", "training loss", "mean score", "tau", "95 % interval", "tau by loss", "95 % interval")
    print(f"| {' | '.join(columns)} | seconds |")
    print("|---|---|---|---|---|---|---|---|---|")

    def draw(rng: np.random.Generator) -> Genome:
        genome = evaluator.sample(rng)  # by `evaluator.operation_weights`
        return space.sample(rng) if genome is None else genome

    steps = sorted({0, *(round(arguments.epochs * quarter / 4) for quarter in range(1, 5))})
    for seed in range(arguments.seeds):
        started, loss = time.process_time(), float("nan")
        for epoch in range(arguments.epochs + 1):
            if epoch:
                rng = seeding.generator(seed, seeding.Purpose.SHARED, epoch)
                loss = evaluator.train_shared(draw, rng, epoch, arguments.epochs)["train_loss"]
            elif seed:
                continue  # the untrained network is the same
            if epoch in steps:
                found = scores(evaluator, genomes, "val_accuracy", "val_loss")
                cells = []
                for values in (found["val_accuracy"], -found["val_loss"]):
                    low, high = interval(values, truth, np.random.default_rng(1))
                    cells.append(f"{tau(values, truth):.3f} | {low:.3f} to {high:.3f}")
                cells = [f"{loss:.3f}", f"{found['val_accuracy'].mean():.3f}", *cells]
                print(f"| {seed} | {epoch} | {' | '.join(cells)} | {time.process_time() - started:.0f} |", flush=True)
    print(f"\n{' '.join(sys.argv)}")


if __name__ == "__main__":
    main()
