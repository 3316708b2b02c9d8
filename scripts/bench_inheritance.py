"""The value of inherited weights: aging evolution on `staged_cnn` with and without morphisms, at equal cost.

    python scripts/bench_inheritance.py [--seeds 3] [--folder bench_inheritance] [--trials 30] [WORD...]

Both rows draw the same first networks and use the same mutations, which make networks larger; in one, children start
from their parents' weights (`strategy.inherit=morphisms`), in the other from new ones. A search costs the FLOPs of its
networks times their epochs; both are cut at the cost of the cheaper one of a seed. Prints the best validation accuracy
up to there, the test accuracy of that architecture when trained from new weights for 20 epochs on the same images, and
its size: means with 95 % intervals (Student's t), and the paired differences. Existing runs are not run again. WORDs
are further overrides of the config of all runs.
"""

import argparse
import csv
import json
from pathlib import Path

from bench_init import run
from bench_value import interval

ROWS = ("none", "morphisms")
COMMON = (
    "search_space=staged_cnn",
    "search_space.activations=[relu]",
    "search_space.blocks=[bb,er,cn]",  # whose time is in proportion to their FLOPs
    "dataset=fashion_mnist",
    "dataset.train_samples=1000",
    "dataset.validation=0.04",
    "constraints.flops=15000000",
    "constraints.steer=false",
    "evaluator.final_data=train",
    "output.plots=false",
)
SEARCH = (
    "strategy=aging_evolution",
    "strategy.population=8",
    "strategy.sample=4",
    "strategy.start=none",
    "strategy.mutations=[widen,deepen,kernel,expansion,add_stage]",
    "evaluator.epochs=2",
    "evaluator.final_epochs=1",
)


def costs(directory: Path) -> list[tuple[float, dict[str, str]]]:
    """The successful trials of a run, each with the FLOPs times epochs that had been spent when it was done."""
    spent, found = 0.0, []
    for row in csv.DictReader((directory / "trials.csv").open()):
        if row["status"] == "ok":
            spent += float(row["flops"] or 0) * float(row["epochs"] or 0)
            found.append((spent, row))
    return found


def main() -> None:
    """Run what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path("bench_inheritance"))
    parser.add_argument("--trials", type=int, default=30)
    arguments, words = parser.parse_known_args()
    folder = arguments.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    columns = ("validation", "test", "kparameters", "inherited")
    values: dict[tuple[str, str], list[float]] = {(row, name): [] for row in ROWS for name in columns}
    for seed in range(arguments.seeds):
        every = [*COMMON, f"seed={seed}", *words]
        for row in ROWS:
            place = folder / f"{row}_{seed}"
            run(place, *every, *SEARCH, f"trials={arguments.trials}", f"strategy.inherit={row}")
        trials = {row: costs(folder / f"{row}_{seed}") for row in ROWS}
        limit = min(done[-1][0] for done in trials.values())
        for row, done in trials.items():
            within = [trial for spent, trial in done if spent <= limit]
            best = max(within, key=lambda trial: float(trial["val_accuracy"]))
            place = folder / f"{row}_{seed}_again"
            genome = f"strategy.genomes=['{best['genome']}']"
            run(place, *every, "strategy=fixed", "trials=1", genome, "evaluator.epochs=1", "evaluator.final_epochs=20")
            test = json.loads((place / "summary.json").read_text())["final"]["test_accuracy"]
            children = [trial for trial in within if trial["parent"]]
            share = sum(bool(trial.get("inherited")) for trial in children) / max(1, len(children))
            found = (float(best["val_accuracy"]), test, float(best["parameters"]) / 1000, share)
            for name, value in zip(columns, found, strict=True):
                values[row, name].append(value)
    print("| inherit | n | best validation accuracy | test, trained anew | 1,000 parameters | children that inherit |")
    print("|---|---|---|---|---|---|")
    for row in ROWS:
        print(f"| {row} | {arguments.seeds} | {' | '.join(interval(values[row, name]) for name in columns)} |")
    gaps = [
        interval([ours - theirs for ours, theirs in zip(values[ROWS[1], name], values[ROWS[0], name], strict=True)])
        for name in columns
    ]
    print(f"| difference | {arguments.seeds} | {' | '.join(gaps)} |")


if __name__ == "__main__":
    main()
