"""The runs of a comparison: found below folders, read, checked to be of one benchmark, and grouped.

Only run directories are read: the journal, the config, `environment.json` and `summary.json`.
"""

import difflib
import hashlib
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from nasrun.core import Genome, Objective
from nasrun.core.options import ConfigError, flat, plain, shell_command, show
from nasrun.datasets.record import DataRecord, difference
from nasrun.reports.summary import SIMULATED, SUMMARY
from nasrun.storage import journal
from nasrun.storage.journal import Event, JournalError
from nasrun.storage.paths import movable
from nasrun.storage.records import assemble
from nasrun.storage.run_directory import holds_run, load_config

BENCHMARK = ("search_space", "dataset", "evaluator", "objective", "constraints")
"""Sections of the config that say what is measured: they are the same in all runs of a comparison."""

SAME_RESULT = ("dataset.root", "dataset.mirrors", "evaluator.replicas", "evaluator.group_size", "objective.reference")
"""Keys below them that change no result: where the files lie, and what is trained together."""

DATA = "data"
"""The key of the fingerprint of the data in a benchmark."""

ONE = "only runs of one search space, data set, evaluator and objective compare"

_NO_METHOD = (
    *("seed", "output", "hardware", "tracker", "vars", "debug", "dry_run", "resume", "max_failures", "recipe"),
    "changed_code",
)
"""Keys and sections that are part of neither the benchmark nor the method. What a recipe comes to is in the keys of the
evaluator."""

FEW_SEEDS = 5


@dataclass(frozen=True)
class ComparedRun:
    """A finished run.

    `values`: the objective of every trial in the order in which they were told, float (trials,), NaN where one failed.
    `seconds`: the time at which each was told, from the start, pauses left out; with a table that knows them
    (`simulated`), the training times that it holds, summed up. `samples`: the objective of each architecture that was
    drawn at random, once per architecture. `final`: the metrics of the winner. `data`: what the run recorded of its
    data; None of a version that recorded nothing.
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
    header: Event
    data: DataRecord | None

    @property
    def seed(self) -> int:
        """The seed of the run."""
        return int(self.config["seed"])

    @property
    def benchmark(self) -> dict[str, Any]:
        """The dotted keys, with values, of what is measured; what is known by its content, as data and teachers are,
        is in the place of its path."""
        keys = {key: value for key, value in self.config.items() if key.partition(".")[0] in BENCHMARK}
        found = {key: value for key, value in keys.items() if key not in SAME_RESULT}
        if self.data is None:
            return found
        for key in movable(self.header):
            if key.startswith("evaluator."):
                found[key] = self.header["facts"].get(key.partition(".")[2])
            else:
                found.pop(key, None)
        return {**found, DATA: self.data.fingerprint}

    @property
    def table(self) -> str | None:
        """The name of the benchmark table that the trials were looked up in; None where they were trained."""
        named = self.header["facts"].get("table")
        return str(named["name"]) if isinstance(named, dict) and "name" in named else None

    @property
    def own_files(self) -> Mapping[str, str]:
        """SHA-256 of the files of the user's own classes, by name; empty where the run had none, or recorded none."""
        recorded = self.header.get("code")
        return dict(recorded.get("files", {})) if isinstance(recorded, dict) else {}

    @property
    def timed(self) -> bool:
        """Whether `seconds` are those of trainings, and not of look-ups in a table that holds no times."""
        return self.simulated or self.table is None

    def value(self, key: str) -> Any:
        """What a run has for a key: the option chosen in a group, else the value in its config (None without any)."""
        return self.choices[key] if self.choices.get(key) is not None else self.config.get(key)


@dataclass(frozen=True)
class Comparison:
    """Runs of one benchmark in groups, by seed; `by`: the keys that tell the groups apart.

    `remarks`: what a reader must know, a line each (few seeds, runs left out).
    """

    groups: Mapping[str, Sequence[ComparedRun]]
    by: Sequence[str]
    objective: Objective
    benchmark: str
    remarks: Sequence[str] = field(default_factory=tuple)

    @property
    def runs(self) -> list[ComparedRun]:
        """All runs."""
        return [run for group in self.groups.values() for run in group]

    @property
    def seeds(self) -> list[int]:
        """The seeds that every group has: what is compared in pairs."""
        common = set.intersection(*({run.seed for run in group} for group in self.groups.values()))
        return sorted(common)


def compare_runs(folders: Sequence[Path], by: Sequence[str] = ()) -> Comparison:
    """The comparison of all runs in some folders. `by`: the keys to group by; by default `strategy`, or where all runs
    have the same one, whatever else differs between them.

    ConfigError where there is no finished run, where two runs are not of the same benchmark (it names the key), or
    where a group has a seed twice.
    """
    for key in by:
        if key.partition(".")[0] in ("dataset", "objective", "seed"):
            raise ConfigError(f"by={key}: runs that differ in it do not compare; group by what the method is")
    runs, remarks = _finished(find_runs(folders))
    for key in by:
        if all(key not in run.config and run.choices.get(key) is None for run in runs):
            known = {name for run in runs for name in (*run.config, *run.choices)}
            close = difflib.get_close_matches(key, sorted(known), n=1) or ["strategy", "strategy.KEY"]
            raise ConfigError(f"by={key}: no run has such a key; did you mean {' or '.join(close)}?")
    alike, doubts = _alike(runs)
    compared = [*by, *_of_recipe(runs)] if "recipe" in by else by
    check_benchmark(alike, compared)
    check_data(runs)
    runs = list(alike)
    remarks += doubts
    chosen = by or _differing(runs)
    groups: dict[str, list[ComparedRun]] = {}
    for run in runs:
        groups.setdefault(_label(run, chosen), []).append(run)
    for name, group in groups.items():
        group.sort(key=lambda run: run.seed)
        remarks += _check_group(name, group, chosen)
    remarks += _remarks(runs, groups, chosen)
    return Comparison(groups, chosen, runs[0].objective, benchmark_hash(runs[0], compared), remarks)


def find_runs(folders: Sequence[Path]) -> list[Path]:
    """The run directories among and below some folders, each once, numbers in names in the order of numbers."""
    found: dict[Path, Path] = {}
    for folder in folders:
        below = (
            [folder]
            if holds_run(folder)
            else sorted((path.parent for path in folder.rglob(journal.NAME)), key=lambda path: _numbered(str(path)))
        )
        if not below:
            raise ConfigError(f"{folder}: holds no run, nor does a folder in it (no {journal.NAME})")
        for directory in below:
            found.setdefault(directory.resolve(), directory)
    return list(found.values())


def _numbered(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name)]


def _finished(directories: Sequence[Path]) -> tuple[list[ComparedRun], list[str]]:
    """The runs that are finished, and a remark for each that is left out."""
    runs, remarks = [], []
    for directory in directories:
        run = read_compared(directory)
        if isinstance(run, str):
            remarks.append(f"left out {directory}: {run}")
        else:
            runs.append(run)
    if not runs:
        raise ConfigError(f"no finished run: {remarks[0]}" + (f" (and {len(remarks) - 1} more)" * (len(remarks) > 1)))
    return runs, remarks


def read_compared(directory: Path) -> ComparedRun | str:
    """A run as a comparison needs it, or why it has to be left out."""
    try:
        events = journal.read(directory / journal.NAME)
    except (OSError, JournalError) as error:
        return f"cannot be read ({error})"
    if not events:
        return "its journal is empty"
    run = assemble(directory, events)
    if run.end is None or not run.end.get("complete"):
        reason = run.end.get("reason") if run.end else "it was interrupted or is still going"
        return f"not finished ({reason}); go on with: {shell_command('resume', directory)}"
    config = flat(plain(load_config(directory, events, data_only=True)))
    with journal.reject_invalid_events(directory / journal.NAME):
        data = DataRecord.of_header(events[0])
    try:
        summary = json.loads((directory / SUMMARY).read_text())
        objective, several = Objective(**summary["objective"]), summary.get("objectives") or []
        choices = json.loads((directory / "environment.json").read_text()).get("choices") or {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"its {SUMMARY} or environment.json cannot be read ({error}); try: {shell_command('report', directory)}"
    config |= {"objective.metric": objective.metric, "objective.mode": objective.mode}
    if several:
        config |= {f"objective.{key}": [one[key] for one in several] for key in ("metric", "mode")}
    records = list(run.trials.values())
    if not any(record.status == "ok" for record in records):
        return "no trial succeeded"
    means = [record.mean(objective.metric) for record in records]
    values = np.array([np.nan if mean is None else mean for mean in means])
    samples: dict[Genome, float] = {}
    for record, value in zip(records, values.tolist(), strict=True):
        if record.trial.proposal.origin == "sample" and value == value:
            samples.setdefault(record.trial.proposal.genome, value)
    simulated = all(record.values(SIMULATED) for record in records if record.status == "ok")
    if simulated:
        made = [0.0 if r.trial.proposal.reuse_of is not None else sum(r.values(SIMULATED)) for r in records]
        seconds = np.cumsum(made)
    else:
        seconds = told_at(events)
    final = {name: float(value) for name, value in ((run.final or {}).get("metrics") or {}).items()}
    wall = run.wall_seconds
    return ComparedRun(
        directory, choices, config, objective, values, seconds, simulated, samples, final, wall, events[0], data
    )


def told_at(events: Sequence[Event]) -> np.ndarray:
    """Seconds from the start of a run to each tell, without the time between a stop and a resume: float (tells,)."""
    times: list[float] = []
    gone, started = 0.0, float(events[0]["time"])
    last = started
    for event in events:
        now = max(last, float(event.get("time", last)))
        if event["event"] == "resume":
            gone += last - started
            started = now
        last = now
        if event["event"] == "tell":
            times.append(gone + now - started)
    return np.array(times)


def benchmark_hash(run: ComparedRun, by: Sequence[str] = ()) -> str:
    """Twelve hex digits that are equal for runs of the same benchmark (SHA-256 of its keys and values)."""
    kept = {key: value for key, value in run.benchmark.items() if not _below(key, by)}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:12]


def check_benchmark(runs: Sequence[ComparedRun], by: Sequence[str]) -> None:
    """ConfigError, naming the key and both values, where two runs are not of the same benchmark."""
    first = runs[0]
    for other in runs[1:]:
        one, two = first.benchmark, other.benchmark
        keys = [key for key in {**one, **two} if one.get(key) != two.get(key) and not _below(key, (*by, DATA))]
        if keys:
            key, more = keys[0], f" ({len(keys) - 1} more keys differ)" if len(keys) > 1 else ""
            raise ConfigError(
                f"{key}: {_given(one, key)} in {first.directory} but {_given(two, key)} in {other.directory}{more}; "
                + ONE
            )


def check_data(runs: Sequence[ComparedRun]) -> None:
    """ConfigError, saying what differs, where two runs recorded other data."""
    recorded = sorted((run.data.images is None, place) for place, run in enumerate(runs) if run.data is not None)
    for _, place in recorded[1:]:
        one, other = runs[recorded[0][1]], runs[place]
        assert one.data is not None
        assert other.data is not None
        found = difference(one.data, other.data, f"in {one.directory}", f"in {other.directory}")
        if found is not None:
            raise ConfigError(f"not the same data: {found}; {ONE}")


def _alike(runs: Sequence[ComparedRun]) -> tuple[Sequence[ComparedRun], list[str]]:
    """The runs, all with a record of their data or all without, and a remark where images were read without."""
    if all(run.data is not None for run in runs):
        return runs, []
    without = [run.directory for run in runs if run.data is None and "runtime" in run.header["facts"]]
    more = f" and {len(without) - 1} more" if len(without) > 1 else ""
    told = "recorded nothing of the data: whether they are those of the others is known by path and options alone"
    remarks = [f"{without[0]}{more}: {told}"] if without and len(runs) > 1 else []
    return [replace(run, data=None) for run in runs], remarks


def _given(config: Mapping[str, Any], key: str) -> str:
    return show(config[key]) if key in config else "not set"


def _of_recipe(runs: Sequence[ComparedRun]) -> set[str]:
    """The keys of the evaluator that recipes set."""
    return {f"evaluator.{key.partition('.')[2]}" for run in runs for key in run.config if key.startswith("recipe.")}


def _below(key: str, by: Sequence[str]) -> bool:
    return any(key == chosen or key.startswith(f"{chosen}.") for chosen in by)


def _method(runs: Sequence[ComparedRun], by: Sequence[str] = ()) -> list[str]:
    """The keys of the method that are not the same in all runs, without those of `by`."""
    keys = {key: None for run in runs for key in run.config}
    own = [key for key in keys if key.partition(".")[0] not in (*BENCHMARK, *_NO_METHOD) and key not in by]
    return [key for key in own if len({json.dumps(run.config.get(key)) for run in runs}) > 1]


def _differing(runs: Sequence[ComparedRun]) -> list[str]:
    """What to group by where nothing was said."""
    if len({run.value("strategy") for run in runs}) > 1:
        return ["strategy"]
    return _method(runs) or ["strategy"]


def _label(run: ComparedRun, by: Sequence[str]) -> str:
    named = [(key, run.value(key)) for key in by if key == "strategy" or key in run.config or len(by) == 1]
    return ", ".join(
        show(value) if key in run.choices else f"{key.split('.')[-1]}={show(value)}" for key, value in named
    )


def _check_group(name: str, group: Sequence[ComparedRun], by: Sequence[str]) -> list[str]:
    """Remarks on a group whose runs are not all of one method; ConfigError where it has a seed twice."""
    mixed = [key for key in _method(group, by) if key != "trials"]
    advice = f"separate them: by={','.join([*by, mixed[0]])}" if mixed else "leave one of them out"
    for one, two in itertools.pairwise(group):
        if one.seed == two.seed:
            raise ConfigError(f"{one.directory} and {two.directory}: both are {name} with seed={one.seed}; {advice}")
    if mixed:
        values = ", ".join(dict.fromkeys(show(run.config.get(mixed[0])) for run in group))
        return [f"{name} holds runs of different {mixed[0]} ({values}); {advice}"]
    return []


def _remarks(runs: Sequence[ComparedRun], groups: Mapping[str, Sequence[ComparedRun]], by: Sequence[str]) -> list[str]:
    """What a reader should know of the runs as a whole."""
    remarks = []
    few = {name: len(group) for name, group in groups.items() if len(group) < FEW_SEEDS}
    if few:
        listed = ", ".join(f"{name} ({count})" for name, count in few.items())
        remarks.append(f"below {FEW_SEEDS} seeds, so that intervals and tests say little: {listed}")
    if len({frozenset(run.seed for run in group) for group in groups.values()}) > 1:
        remarks.append("not all groups have the same seeds: ranks and tests are over those that all have")
    trials = sorted({len(run.values) for run in runs})
    if len({run.config.get("trials") for run in runs}) > 1 and not _below("trials", by):
        remarks.append(
            f"runs of {trials[0]} to {trials[-1]} trials: compared after {trials[0]}; test metrics are final"
        )
    places = {
        (run.header["environment"].get("processor"), json.dumps(run.header["facts"].get("runtime"))) for run in runs
    }
    untimed = sorted({str(run.table) for run in runs if not run.timed})
    if untimed:
        remarks.append(f"no training times in table {', '.join(untimed)}: there are no curves over time")
    elif len(places) > 1 and not runs[0].simulated:
        remarks.append("the runs were not made on the same hardware: their times do not compare")
    files = sorted({name for run in runs for name in run.own_files})
    changed = [name for name in files if len({run.own_files.get(name) for run in runs} - {None}) > 1]
    if changed:
        remarks.append(f"the code of own classes was changed between runs: {', '.join(changed)}")
    versions = {json.dumps(run.header["environment"].get("packages"), sort_keys=True) for run in runs}
    if len(versions) > 1:
        remarks.append("the runs were made with different versions of packages")
    return remarks
