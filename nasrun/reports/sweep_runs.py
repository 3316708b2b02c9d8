"""The finished runs of a sweep's folder, for tables over them."""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from nasrun.core.options import ConfigError
from nasrun.reports.summary import SUMMARY
from nasrun.storage.records import CONFIG


@dataclass(frozen=True)
class SweepRun:
    """A finished run: its folder, its machine (`environment.json`), its config, and its summary."""

    directory: Path
    environment: Mapping[str, Any]
    config: Mapping[str, Any]
    summary: Mapping[str, Any]

    @property
    def choices(self) -> Mapping[str, str]:
        """The option chosen in each group."""
        choices: Mapping[str, str] = self.environment["choices"]
        return choices

    @property
    def rows(self) -> Sequence[Mapping[str, str]]:
        """The rows of `trials.csv`."""
        return list(_table(self.directory / "trials.csv"))

    def values(self, metric: str) -> list[float | None]:
        """The metric of every trial in order; None if a trial has none."""
        return [float(row[metric]) if row.get(metric) else None for row in self.rows]

    def repeats(self, genome: str, metric: str) -> list[float]:
        """The metric of every successful repeat of an architecture."""
        trials = {row["trial"] for row in self.rows if row["genome"] == genome}
        rows = (row for row in _table(self.directory / "measurements.csv") if row["trial"] in trials)
        return [float(row[metric]) for row in rows if row["status"] == "ok"]


def sweep_runs(folder: Path) -> list[SweepRun]:
    """The finished runs below a folder, in the order of their names; ConfigError if there are none."""
    found = []
    for path in sorted(folder.glob(f"*/{SUMMARY}")):
        environment = json.loads((path.parent / "environment.json").read_text())
        config = OmegaConf.to_container(OmegaConf.load(path.parent / CONFIG), resolve=True)
        assert isinstance(config, dict)
        content = {str(key): value for key, value in config.items()}
        found.append(SweepRun(path.parent, environment, content, json.loads(path.read_text())))
    if not found:
        raise ConfigError(f"{folder}: holds no finished runs")
    return found


def _table(path: Path) -> Iterator[dict[str, str]]:
    with path.open() as file:
        yield from csv.DictReader(file)
