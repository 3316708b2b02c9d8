"""Regret per strategy from the runs of a sweep over a benchmark table.

    nasrun experiment=nasbench201_all hydra.sweep.dir=outputs/nasbench201_all
    python scripts/make_regret_table.py outputs/nasbench201_all

Regret: the best value that the table holds less that of the run's best, in percent points; the best is chosen by
validation accuracy alone. p: one-sided exact Mann-Whitney U test of the validation regrets against those of random
search (scipy). Prints Markdown, one table per budget.
"""

import argparse
import statistics
from pathlib import Path

from scipy.stats import mannwhitneyu
from sweep_runs import SweepRun, by_strategy, sweep_runs

PAIRS = (("dqn", "dqn_single"), ("dqn_lstm", "dqn_lstm_single"))
"""Two networks against one: compared with each other, two-sided."""


def regrets(runs: list[SweepRun], kind: str) -> list[float]:
    """Regrets of the runs in percent points."""
    return [100 * run.summary["final"][f"{kind}_regret"] for run in runs]


def main() -> None:
    """Print the table of a sweep's folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sweep", type=Path)
    runs = sweep_runs(parser.parse_args().sweep)
    for place, trials in enumerate(sorted({run.config["trials"] for run in runs})):
        print("\n" * (place > 0), end="")
        print_table(by_strategy([run for run in runs if run.config["trials"] == trials]))


def print_table(groups: dict[str, list[SweepRun]]) -> None:
    """Print the table of the runs of one budget."""
    print("| strategy | seeds | trials | val. regret, mean +- sd | test regret, mean +- sd | distinct | p (random) |")
    print("|---|---|---|---|---|---|---|")
    for name, group in sorted(groups.items(), key=lambda item: statistics.fmean(regrets(item[1], "val"))):
        cells = []
        for kind in ("val", "test"):
            values = regrets(group, kind)
            cells.append(f"{statistics.fmean(values):.3f} +- {statistics.stdev(values):.3f}")
        trials = statistics.fmean(run.summary["trials"] for run in group)
        distinct = statistics.fmean(run.summary["distinct_architectures"] for run in group)
        p = "-"
        if "random" in groups and name != "random":
            test = mannwhitneyu(regrets(group, "val"), regrets(groups["random"], "val"), alternative="less")
            p = f"{test.pvalue:.2g}"
        print(f"| {name} | {len(group)} | {trials:.0f} | {cells[0]} | {cells[1]} | {distinct:.0f} | {p} |")
    for two, one in PAIRS:
        if two in groups and one in groups:
            test = mannwhitneyu(regrets(groups[two], "val"), regrets(groups[one], "val"))
            print(f"\n{two} against {one}: p = {test.pvalue:.2g} (two-sided).")


if __name__ == "__main__":
    main()
