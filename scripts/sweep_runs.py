"""The finished runs of a sweep's folder, for the scripts that make tables of them."""

import csv
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from nasrun.storage.records import CONFIG


@dataclass(frozen=True)
class SweepRun:
    """A finished run: the options chosen in each group, its config, its summary, and its folder."""

    directory: Path
    choices: dict[str, str]
    config: dict[str, Any]
    summary: dict[str, Any]

    def values(self, metric: str) -> list[float | None]:
        """The metric of every trial in order; None where a trial gave none."""
        with (self.directory / "trials.csv").open() as file:
            return [float(row[metric]) if row[metric] else None for row in csv.DictReader(file)]


def sweep_runs(folder: Path) -> list[SweepRun]:
    """The runs below a folder, in the order of their names; the program ends where there are none."""
    found = []
    for path in sorted(folder.glob("*/summary.json")):
        environment = json.loads((path.parent / "environment.json").read_text())
        config = OmegaConf.to_container(OmegaConf.load(path.parent / CONFIG), resolve=True)
        assert isinstance(config, dict)
        content = {str(key): value for key, value in config.items()}
        found.append(SweepRun(path.parent, environment["choices"], content, json.loads(path.read_text())))
    if not found:
        print(f"{folder}: holds no finished runs", file=sys.stderr)
        sys.exit(2)
    return found


def by_strategy(runs: list[SweepRun]) -> dict[str, list[SweepRun]]:
    """The runs of each strategy, strategies in the order in which the sweep ran them, runs by seed."""
    groups: dict[str, list[SweepRun]] = {}
    for run in sorted(runs, key=lambda run: int(run.directory.name.partition("_")[0])):
        groups.setdefault(run.choices["strategy"], []).append(run)
    return {name: sorted(group, key=lambda run: run.config["seed"]) for name, group in groups.items()}
