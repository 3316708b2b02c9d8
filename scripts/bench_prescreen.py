"""Regret with and without prescreening by number of evaluations: strategies on the table of NAS-Bench-201.

    python scripts/bench_prescreen.py [--strategies random aging_evolution] [--scores none flops naswot] [--seeds 3]
                                      [--table cifar10] [--pool 10] [--moves both] [--images 64] [--cache FILE]
                                      [--inputs flops] [WORD...]

Every strategy searches the table of `evaluator=table`; with a score, each draw is the best of a pool
(`prescreen.score`, `prescreen.pool`; `--moves` sets `prescreen.moves` to true, false or both). With `--inputs`, the
strategy `predictor` also has a row in which it reads that score (`prescreen.inputs`). Networks are scored in
the benchmark's training configuration, on images of CIFAR-10, also for the other data sets of the table; their initial
weights follow from seed 0 in all runs, so that a cell is scored once. Scores are kept in `--cache`, a JSON file that
later calls reuse. Regret: the best of the table less that of the run's best so far, in percentage points, by validation
accuracy, and on the test data for the cell that is best by validation. `found`: number of evaluations until the best
cell of the table by validation, the median over the seeds. WORDs are further overrides of the config.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nasrun.config.build import build as build_setup
from nasrun.config.build import wrap
from nasrun.config.compose import compose_config, task_config
from nasrun.config.sections import create
from nasrun.core import Genome, Job, Proposal, Strategy, Trial, seeding
from nasrun.evaluators.proxies.screening import Screening, rank_sums
from nasrun.strategies.prescreen import PrescreenedSpace, ScoredSpace

STEPS = (10, 20, 50, 100)
SAVED_EVERY = 50


class CachedScores:
    """Scores of cells, computed when they are first asked for and kept in a file."""

    def __init__(self, name: str, images: int, path: Path | None) -> None:
        setup = build_setup(task_config(compose_config(["search_space=nasbench201", "dataset=cifar10"])))
        self._space, self._path, self._key = setup.space, path, f"{name}, {images} images"
        self._screening = Screening(setup.space, setup.dataset, [name], images=images, seed=0)  # type: ignore[list-item]
        self._screening.prepare()
        self._all: dict[str, dict[str, float]] = json.loads(path.read_text()) if path and path.is_file() else {}
        self._known = self._all.setdefault(self._key, {})
        self._new = 0

    def best(self, genomes: Sequence[Genome]) -> Genome:
        """The genome with the highest score."""
        return genomes[int(np.argmax(rank_sums([[self.score(genome)] for genome in genomes])))]

    def score(self, genome: Genome) -> float:
        """The score of a cell."""
        text = self._space.format(genome)
        if text not in self._known:
            [self._known[text]] = self._screening.scores(genome)
            self._new += 1
            if self._new % SAVED_EVERY == 0:
                self.save()
        return self._known[text]

    def save(self) -> None:
        """Write all scores to the file, if there is one."""
        if self._path is not None:
            self._path.write_text(json.dumps(self._all))


def curve(
    words: Sequence[str],
    seed: int,
    scores: CachedScores | None,
    pool: int,
    moves: bool,
    inputs: CachedScores | None = None,
) -> np.ndarray:
    """Validation and test regret of one search after each evaluation, in percentage points: float (trials, 2)."""
    config = task_config(compose_config([*words, f"seed={seed}"]))
    setup = build_setup(config)
    setup.prepare()
    rng = seeding.generator(seed, seeding.Purpose.STRATEGY)
    space = setup.space if inputs is None else ScoredSpace(setup.space, lambda genome: (inputs.score(genome),))
    space = space if scores is None else PrescreenedSpace(space, scores.best, pool=pool, moves=moves)
    inner = create(setup.config, "strategy", Strategy, space, setup.objective, rng)  # type: ignore[type-abstract]
    strategy = wrap(inner, setup.space, setup.dataset, setup.options, setup.constraints)
    told: list[tuple[float, Genome]] = []
    rows: list[list[float]] = []
    while len(told) < setup.options.trials and not strategy.done:
        for proposal in strategy.ask(1):
            trial = Trial(len(told), proposal)
            measurements = list(setup.evaluator.evaluate([Job(trial, 0, 0)]))
            strategy.tell(trial, measurements)
            told.append((setup.objective.score(measurements), proposal.genome))
            better = not rows or told[-1][0] > max(score for score, _ in told[:-1])
            if better:
                final = setup.evaluator.final(Job(Trial(0, Proposal(proposal.genome)), 0, 0))["metrics"]
                rows.append([100 * final["val_regret"], 100 * final["test_regret"]])
            else:
                rows.append(rows[-1])
    rows += [rows[-1]] * (setup.options.trials - len(rows))
    return np.array(rows)


def row(name: str, curves: np.ndarray) -> str:
    """A line of the table; `curves` float (seeds, trials, 2)."""
    steps = [step for step in STEPS if step <= curves.shape[1]]
    cells = [f"{curves[:, step - 1, 0].mean():.2f} / {curves[:, step - 1, 1].mean():.2f}" for step in steps]
    hits = curves[:, :, 0] <= 1e-9
    first = np.where(hits.any(1), hits.argmax(1) + 1, curves.shape[1] + 1)
    median = float(np.median(first))
    found = f"{median:.0f}" if median <= curves.shape[1] else f"> {curves.shape[1]}"
    return f"| {name} | {' | '.join(cells)} | {found} |"


def main() -> None:
    """Search, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--strategies", nargs="+", default=["random", "aging_evolution"], metavar="NAME")
    parser.add_argument("--scores", nargs="+", default=["none", "flops", "naswot"], metavar="NAME")
    parser.add_argument("--table", default="cifar10", choices=("cifar10", "cifar100", "imagenet16"))
    parser.add_argument("--moves", default="both", choices=("true", "false", "both"))
    for name, default in (("seeds", 3), ("trials", 100), ("pool", 10), ("images", 64)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--inputs", metavar="NAME", help="a score that the strategy predictor reads")
    parser.add_argument("--cache", type=Path, metavar="FILE")
    parser.add_argument("words", nargs="*", metavar="WORD", help="further overrides of the config")
    arguments = parser.parse_intermixed_args()
    words = ["search_space=nasbench201", "evaluator=table", f"dataset={arguments.table}", "deduplicate=resample"]
    words += [f"trials={arguments.trials}", *arguments.words]
    steps = [step for step in STEPS if step <= arguments.trials]
    print(f"{arguments.table}, {arguments.seeds} seeds, pools of {arguments.pool}; mean regret, validation / test\n")
    print(f"| strategy | {' | '.join(f'after {step}' for step in steps)} | found |\n|---{'|---' * (len(steps) + 1)}|")
    read = None if arguments.inputs is None else CachedScores(arguments.inputs, arguments.images, arguments.cache)
    for strategy in arguments.strategies:
        for score in arguments.scores:
            scores = None if score == "none" else CachedScores(score, arguments.images, arguments.cache)
            moves = {"true": (True,), "false": (False,), "both": (True, False)}[arguments.moves]
            call = [*words, f"strategy={strategy}"]
            for move in moves if scores and strategy != "random" else (True,):
                for inputs in (None, read) if read is not None and strategy == "predictor" else (None,):
                    seeds = range(arguments.seeds)
                    curves = [curve(call, seed, scores, arguments.pool, move, inputs) for seed in seeds]
                    name = strategy if scores is None else f"{strategy}, {score}{'' if move else ', draws alone'}"
                    name += f", reads {arguments.inputs}" if inputs is not None else ""
                    print(row(name, np.array(curves)), flush=True)
            for one in (scores, read):
                if one is not None:
                    one.save()
    print(f"\n{' '.join(sys.argv)}")


if __name__ == "__main__":
    main()
