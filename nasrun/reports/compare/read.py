"""Reads a finished run for a comparison from its journal, config, `environment.json` and `summary.json`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nasrun.core import Genome, Objective, Origin
from nasrun.core.options import flat, plain, shell_command
from nasrun.datasets.record import DataRecord
from nasrun.reports.summary import SIMULATED, SUMMARY
from nasrun.storage import journal
from nasrun.storage.events import RunStarted
from nasrun.storage.journal import JournalError
from nasrun.storage.paths import movable
from nasrun.storage.records import RunRecords, TrialRecord, read_run
from nasrun.storage.run_directory import how_to_continue, load_config

BENCHMARK = ("search_space", "dataset", "evaluator", "objective", "constraints")
"""Sections of the config that define the benchmark: they are the same in all runs of a comparison."""

SAME_RESULT = ("dataset.root", "dataset.mirrors", "evaluator.replicas", "evaluator.group_size", "objective.reference")
"""Keys in these sections that do not change results: the location of files, and what is trained together."""

DATA = "data"
"""The key of the data's fingerprint in a benchmark."""


@dataclass(frozen=True)
class ComparedRun:
    """A finished run.

    - `values`: the objective of every trial in the order of completion, float (trials,), NaN if a trial failed.
    - `seconds`: the time of each completion, from the start, without pauses; with a table that knows training times
      (`simulated`), the sum of these.
    - `samples`: the objective of each architecture that was drawn at random, once per architecture.
    - `final`: the metrics of the winner.
    - `data`: the run's record of its data; None for versions that recorded nothing.
    - `epochs`: epochs trained until each completion, float (trials,); None if not known.
    - `segmented`: whether trials are segments of training runs.
    - `scores`: with several objectives each of them, float (trials, objectives), as measured, NaN if a trial failed;
      `objectives`: the objectives.
    - `optimum`: the best value in the run's benchmark table; None if not known.
    - `parameters`, `flops`: of the winner; None if not known.
    """

    directory: Path
    choices: Mapping[str, str | None]
    config: Mapping[str, Any]
    objective: Objective
    values: np.ndarray
    seconds: np.ndarray
    simulated: bool
    samples: Mapping[Genome, float]
    final: Mapping[str, float]
    wall_seconds: float
    header: RunStarted
    data: DataRecord | None
    epochs: np.ndarray | None = None
    segmented: bool = False
    objectives: Sequence[Objective] = ()
    scores: np.ndarray | None = None
    optimum: float | None = None
    parameters: int | None = None
    flops: int | None = None

    @property
    def seed(self) -> int:
        """The seed of the run."""
        return int(self.config["seed"])

    @property
    def benchmark(self) -> dict[str, Any]:
        """The dotted keys, with values, that define the benchmark; data and teachers are given by their content, not
        their path."""
        keys = {key: value for key, value in self.config.items() if key.partition(".")[0] in BENCHMARK}
        found = {key: value for key, value in keys.items() if key not in SAME_RESULT}
        if self.data is None:
            return found
        for key in movable(self.header):
            if key.startswith("evaluator."):
                found[key] = self.header.facts.get(key.partition(".")[2])
            else:
                found.pop(key, None)
        return {**found, DATA: self.data.fingerprint}

    @property
    def table(self) -> str | None:
        """The name of the benchmark table that the trials were looked up in; None if they were trained."""
        named = self.header.facts.get("table")
        return str(named["name"]) if isinstance(named, dict) and "name" in named else None

    @property
    def own_files(self) -> Mapping[str, str]:
        """SHA-256 of the files of the user's own classes, by name; empty if the run had none, or recorded none."""
        recorded = self.header.code
        return {} if recorded is None else dict(recorded.get("files", {}))

    @property
    def timed(self) -> bool:
        """Whether `seconds` are times of training, not of look-ups in a table without times."""
        return self.simulated or self.table is None

    def value(self, key: str) -> Any:
        """The run's value of a key: the option chosen in a group, else the value in its config (None without any)."""
        return self.choices[key] if self.choices.get(key) is not None else self.config.get(key)


def read_compared(directory: Path) -> ComparedRun | str:
    """A run for a comparison, or the reason to leave it out."""
    try:
        run = read_run(directory)
    except FileNotFoundError:
        return "its journal is empty"
    except (OSError, JournalError) as error:
        return f"cannot be read ({error})"
    if run.end is None or not run.end.complete:
        reason = run.end.reason if run.end else "it was interrupted or is still running"
        return f"not finished ({reason}); {how_to_continue(directory)}"
    config = flat(plain(load_config(directory, run.changes, data_only=True)))
    with journal.reject_invalid_events(directory / journal.NAME):
        data = DataRecord.of_header(run.header.data)
    try:
        told = _Told.read(directory)
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"its {SUMMARY} or environment.json cannot be read ({error}); try: {shell_command('report', directory)}"
    objective, objectives = told.objective, told.objectives
    config |= told.keys()
    records = list(run.trials.values())
    if not any(record.status == "ok" for record in records):
        return "no trial succeeded"
    means = [record.mean(objective.metric) for record in records]
    values = np.array([np.nan if mean is None else mean for mean in means])
    simulated, seconds = _clock(run)
    final = {name: float(value) for name, value in run.final_metrics.items()}
    scores = [[record.mean(one.metric) for one in objectives] for record in records]
    return ComparedRun(
        directory,
        told.choices,
        config,
        objective,
        values,
        seconds,
        simulated,
        _samples(records, values),
        final,
        run.wall_seconds,
        run.header,
        data,
        _epochs(records),
        any(record.trial.proposal.budget is not None for record in records),
        objectives,
        np.array(scores, dtype=float) if objectives else None,
        _optimum(run, objective, final, config),
        told.parameters,
        told.flops,
    )


def _samples(records: Sequence[TrialRecord], values: np.ndarray) -> dict[Genome, float]:
    """The value of each architecture that was drawn at random, once per architecture."""
    samples: dict[Genome, float] = {}
    for record, value in zip(records, values.tolist(), strict=True):
        if record.trial.proposal.origin == Origin.SAMPLE and value == value:
            samples.setdefault(record.trial.proposal.genome, value)
    return samples


class _Told(NamedTuple):
    """The contents of a run's files besides its journal. `objectives`: if there are several; `parameters`, `flops`: of
    the winner, None if not known."""

    choices: Mapping[str, str | None]
    objective: Objective
    objectives: Sequence[Objective]
    parameters: int | None
    flops: int | None

    def keys(self) -> dict[str, Any]:
        """The config's keys of the objectives, with `auto` resolved."""
        if not self.objectives:
            return {"objective.metric": self.objective.metric, "objective.mode": self.objective.mode}
        metrics, modes = [one.metric for one in self.objectives], [one.mode for one in self.objectives]
        return {"objective.metric": metrics, "objective.mode": modes}

    @classmethod
    def read(cls, directory: Path) -> "_Told":
        """Read the files. OSError, ValueError, KeyError or TypeError if they are missing, or not as nasrun writes
        them."""
        summary = json.loads((directory / SUMMARY).read_text())
        choices = json.loads((directory / "environment.json").read_text()).get("choices") or {}
        best = summary.get("best") or {}
        price = (None if best.get(name) is None else round(best[name]) for name in ("parameters", "flops"))
        objectives = [Objective(**one) for one in summary.get("objectives") or []]
        return cls(choices, Objective(**summary["objective"]), objectives, *price)


def _clock(run: RunRecords) -> tuple[bool, np.ndarray]:
    """Whether a table knows the training times, and the time of each completion, float (trials,)."""
    records = list(run.trials.values())
    if all(record.values(SIMULATED) for record in records if record.status == "ok"):
        made = [0.0 if r.trial.proposal.reuse_of is not None else sum(r.values(SIMULATED)) for r in records]
        return True, np.cumsum(made)
    return False, np.array(run.told_at)


def _epochs(records: Sequence[TrialRecord]) -> np.ndarray | None:
    """Epochs trained until each completion; None if they are not known.

    A trial that continues another one has trained the difference of their budgets.
    """
    budgets = {record.trial.number: record.trial.proposal.budget or 0 for record in records}
    trained = []
    for record in records:
        proposal = record.trial.proposal
        length = proposal.budget or record.mean("epochs")
        if length is None and record.status == "ok":
            return None
        goes_on = proposal.warm_start == "continue" and proposal.parent is not None
        before = budgets.get(proposal.parent or 0, 0) if goes_on else 0
        trained.append(0.0 if proposal.reuse_of is not None else max((length or 0) - before, 0))
    return np.cumsum(np.array(trained, dtype=float))


def _optimum(
    run: RunRecords, objective: Objective, final: Mapping[str, float], config: Mapping[str, Any]
) -> float | None:
    """The best value of a run's table, from the regret of its winner; None if there is none, or the winner was tested
    at another training length than in the search."""
    winner = None if run.final is None else run.trials.get(-1 if run.final.trial is None else run.final.trial)
    value = None if winner is None else winner.mean(objective.metric)
    alike = config.get("evaluator.final_epochs") is None and config.get("evaluator.repeat") == "mean"
    if value is None or "val_regret" not in final or not alike:
        return None
    return value + final["val_regret"] if objective.mode == "max" else value - final["val_regret"]
